"""Calls written for demonstrations are read back as they were meant, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_r1.parsers import get_tool_parser, tool_parser_names
from search_r1.types import ToolCall

WRITERS = {
    "search_tags": get_tool_parser("search_tags")(),
    "own tags": get_tool_parser("search_tags")(search_tag="ask", information_tag="found"),
    "hermes": get_tool_parser("hermes")(),
    "hermes, single": get_tool_parser("hermes")(is_single_call=True),
}
TAGS = ["<search>", "</search>", "<ask>", "</ask>", "<tool_call>", "</tool_call>", "<b>", "{", '"}']
texts = st.lists(
    st.one_of(st.text(max_size=12), st.sampled_from([*TAGS, '"', "\\", "\n", "é 富士山 🐋"])),
    max_size=5,
).map("".join)


def search(query):
    return ToolCall("search", {"query": query})


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("search_tags", "<search>Dracula's author</search>"),
        ("own tags", "<ask>Dracula's author</ask>"),
        (
            "hermes",
            '<tool_call>\n{"name": "search", "arguments": {"query": "Dracula\'s author"}}\n'
            "</tool_call>",
        ),
    ],
)
def test_a_call_is_written_as_the_format_has_it(name, written):
    assert WRITERS[name].write_call(search("Dracula's author")) == written


@pytest.mark.parametrize("name", WRITERS)
@given(query=texts)
def test_what_is_written_is_read_as_the_same_call_or_not_written(name, query):
    parser = WRITERS[name]
    try:
        written = parser.write_call(search(query))
    except ValueError:
        assert "<" in query or not query.strip(), "every plain query can be written"
        return
    parsed = parser.extract_tool_calls(written)
    meant = query if name.startswith("hermes") else " ".join(query.split())
    assert parsed.tool_calls == [search(meant)]
    assert (parsed.end, parsed.content.strip(), parsed.error) == (len(written), "", None)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("search_tags", search("a</search>b")),
        ("search_tags", search("a <b> c")),
        ("search_tags", search(" \n")),
        ("search_tags", search("x" * 2001)),
        ("search_tags", ToolCall("add", {"query": "a"})),
        ("search_tags", ToolCall("search", {"query": "a", "top_k": 3})),
        ("search_tags", ToolCall("search", {})),
        ("hermes", search("a</tool_call>b")),
    ],
)
def test_a_call_the_format_cannot_hold_is_refused(name, call):
    with pytest.raises(ValueError, match=r"Parser cannot write ToolCall.*leave its question out"):
        WRITERS[name].write_call(call)


def test_hermes_writes_any_tool_with_any_arguments():
    call = ToolCall("add", {"a": 1, "b": [2.5, None, {"c": "é"}]})
    parser = WRITERS["hermes"]
    assert parser.extract_tool_calls(parser.write_call(call)).tool_calls == [call]


@pytest.mark.parametrize("name", sorted({*tool_parser_names()} - {"search_tags", "hermes"}))
def test_other_formats_say_which_can(name):
    with pytest.raises(ValueError, match=r"does not write calls, .*choose search_tags or hermes"):
        get_tool_parser(name)().write_call(search("a"))
