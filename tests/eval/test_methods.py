"""What a method makes the first turn begin with."""

import pytest

from eval.methods import DECODINGS, METHODS
from search_r1.answers import find_answer
from search_r1.parsers import get_tool_parser
from search_r1.types import ToolCall

SEARCH = ToolCall("search", {"query": "Dracula's author"})


def test_a_model_left_alone_begins_as_it_likes():
    assert METHODS["search"].opening(get_tool_parser("pythonic")()) == ""


@pytest.mark.parametrize("parser", ["search_tags", "hermes"])
def test_a_forced_answer_begins_with_its_tag(parser):
    opening = METHODS["search_never"].opening(get_tool_parser(parser)())
    assert find_answer(f"{opening}Paris</answer>")[0] == "Paris"


@pytest.mark.parametrize(
    ("name", "options", "opening"),
    [
        ("search_tags", {}, "<search>"),
        ("search_tags", {"search_tag": "ask"}, "<ask>"),
        ("hermes", {}, '<tool_call>\n{"name": "search", "arguments": {"query": "'),
    ],
)
def test_a_forced_search_begins_as_its_format_writes_one(name, options, opening):
    parser = get_tool_parser(name)(**options)
    assert METHODS["search_always"].opening(parser) == opening
    written = parser.write_call(SEARCH)
    assert written.startswith(opening)
    rest = written.removeprefix(opening)
    assert parser.extract_tool_calls(opening + rest).tool_calls == [SEARCH]


def test_a_format_that_writes_no_calls_cannot_be_made_to_search():
    with pytest.raises(ValueError, match="does not write calls"):
        METHODS["search_always"].opening(get_tool_parser("mistral")())


def test_decodings_are_greedy_and_as_in_training():
    assert {name: one.temperature for name, one in DECODINGS.items()} == {
        "greedy": 0.0,
        "sampled": 1.0,
    }
