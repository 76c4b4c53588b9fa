"""What each format reads as arguments, writes around results, and asks of a server."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_r1.parsers import ParseStatus, get_tool_parser
from search_r1.parsers.requests import adjust_for_tools
from tests.search_r1.parsers.outputs import TOOLS

FORMATS = ["hermes", "llama3_json", "mistral", "pythonic", "qwen3_xml"]
MARKERS = {
    "hermes": ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"],
    "llama3_json": ["<|start_header_id|>", "<|eot_id|>", "<|python_tag|>"],
    "mistral": ["[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"],
    "pythonic": ["<|start_header_id|>", "<|eot_id|>", "<|python_start|>", "<|python_end|>"],
    "qwen3_xml": [
        *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
        *("<function=", "</function>", "<parameter=", "</parameter>"),
    ],
}


def parse(name, text):
    return get_tool_parser(name)(tools=TOOLS).extract_tool_calls(text)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("[f(a=1, b=-1.5, c=+2, d=None, e=True, g=false, h=null)]",
         {"a": 1, "b": -1.5, "c": 2, "d": None, "e": True, "g": False, "h": None}),
        ("[f(a='''it's ] \"here\"''', b='', c=\"\", d='x' \"y\")]",
         {"a": "it's ] \"here\"", "b": "", "c": "", "d": "xy"}),
        ("[f(a=r'\\d', b='\\d\\'', c='[(')]", {"a": "\\d", "b": "\\d'", "c": "[("}),
        ("[f(a=(1, 2), b={'x', 'y'}, c={'k': [1, {}]})]",
         {"a": [1, 2], "b": ["x", "y"], "c": {"k": [1, {}]}}),
    ],
)  # fmt: skip
def test_pythonic_arguments_are_python_literals(text, arguments):
    parsed = parse("pythonic", text)
    assert parsed.error is None
    assert parsed.tool_calls[0].arguments == arguments


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("<|python_start|>[now()]<|python_end|>", ""),
        ("<|python_start|>[now()]", ""),
        ("<|python_start|>\n[ now()]\n<|python_end|>\n", ""),
        ("I look.<|python_start|>[now()]<|python_end|> So.", "I look.So."),
        ("[now()]<|python_end|>", ""),
    ],
)
def test_llama_4_writes_pythonic_calls_between_tags(text, content):
    parsed = parse("pythonic", text)
    assert (parsed.error, parsed.content) == (None, content)
    assert [call.name for call in parsed.tool_calls] == ["now"]
    assert text[parsed.end :].strip() in ("", "So.")


@pytest.mark.parametrize(
    ("text", "error", "unfinished"),
    [
        ('<|python_start|>print("x")<|python_end|>', "the calls are not one list", None),
        ("a <|python_start|>[now(", "was not closed by ]", 2),
        ("<|python_start|>", "was not closed by ]", 0),
        ("a<|python_end|>", "<|python_end|> closes a list that was never opened", None),
    ],
)
def test_what_llama_4s_tags_hold_must_be_calls(text, error, unfinished):
    parsed = parse("pythonic", text)
    assert (parsed.status, parsed.unfinished) == (ParseStatus.MALFORMED, unfinished)
    assert error in parsed.error
    assert parsed.content == text


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("text", "5", "5"),
        ("text", "\n a\n\nb \n", " a\n\nb "),
        ("count", "\n5\n", 5),
        ("count", "many", "many"),
        ("count", "5.5", 5.5),
        ("ratio", "1e2", 100.0),
        ("is_new", "True", True),
        ("is_new", "yes", "yes"),
        ("tags", '["a", 1]', ["a", 1]),
        ("tags", "[broken", "[broken"),
        ("where", '{"a": {}}', {"a": {}}),
        ("maybe", "null", None),
        ("maybe", "nothing", "nothing"),
        ("maybe", "5", "5"),
        ("level", "2", 2),
        ("level", "low", "low"),
        ("either", "2", 2),
        ("unknown", "5", "5"),
    ],
)
def test_qwen3_values_are_read_as_their_schema_says(key, written, value):
    text = f"<function=mixed><parameter={key}>{written}</parameter></function>"
    assert parse("qwen3_xml", text).tool_calls[0].arguments == {key: value}


def test_the_tools_of_a_request_take_the_place_of_the_parsers_own():
    parser = get_tool_parser("qwen3_xml")()
    text = "<function=f><parameter=n>5</parameter></function>"
    tool = {"function": {"name": "f", "parameters": {"properties": {"n": {"type": "integer"}}}}}
    as_object = SimpleNamespace(tools=[SimpleNamespace(model_dump=lambda: tool)])
    assert parser.extract_tool_calls(text).tool_calls[0].arguments == {"n": "5"}
    flat = {"type": "function"} | tool["function"]
    for request in ({"tools": [tool]}, {"tools": [flat]}, as_object):
        assert parser.extract_tool_calls(text, request).tool_calls[0].arguments == {"n": 5}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        5,
        {"function": None},
        {"function": {"name": "f", "parameters": []}},
        {"function": {"name": "f", "parameters": {"properties": {"n": {"type": [{}]}}}}},
        {"function": {"name": "f", "parameters": {"properties": {"n": {"anyOf": 5}}}}},
        {"function": {"name": "f", "parameters": {"properties": {"n": "integer"}}}},
    ],
)
def test_a_schema_that_is_no_schema_leaves_values_as_text(schema):
    tools = [schema if isinstance(schema, dict) else {"function": {"name": "f", "x": schema}}]
    parser = get_tool_parser("qwen3_xml")(tools=tools)
    parsed = parser.extract_tool_calls("<function=f><parameter=n>5</parameter></function>")
    assert parsed.tool_calls[0].arguments == {"n": "5"}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (
            "hermes",
            "\n<tool_response>\na\n</tool_response>\n<tool_response>\nb\n</tool_response>\n",
        ),
        ("mistral", "[TOOL_RESULTS]a[/TOOL_RESULTS][TOOL_RESULTS]b[/TOOL_RESULTS]"),
        (
            "llama3_json",
            "<|start_header_id|>ipython<|end_header_id|>\n\na<|eot_id|>"
            "<|start_header_id|>ipython<|end_header_id|>\n\nb<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ],
)
def test_results_are_written_as_the_template_would(name, written):
    assert get_tool_parser(name)().format_results(["a", "b"]) == written


def test_formats_name_the_markers_that_a_result_must_not_bring():
    for name in FORMATS:
        markers = get_tool_parser(name).markers
        assert all(any(one in marker for one in markers) for marker in MARKERS[name]), name
    tags = get_tool_parser("search_tags")(search_tag="ask", information_tag="found")
    assert set(tags.markers) == {"<ask>", "</ask>", "<found>", "</found>"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@given(text=st.text())
def test_no_result_closes_its_block_early(name, text):
    parser = get_tool_parser(name)()
    hostile = text.join(["", *MARKERS[name], ""])
    written, plain = parser.format_results([hostile]), parser.format_results(["x"])
    for marker in MARKERS[name]:
        assert written.count(marker) == plain.count(marker), marker
    assert "".join(written.split()) == "".join(parser.write_results([hostile]).split())


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_shows_a_call_that_parses_once_it_is_filled_in(name):
    parser = get_tool_parser(name)()
    written = parser.format_error("the sky fell")
    assert parser.explain("the sky fell") in written
    assert parser.explain("x").endswith("\nTo answer, write <answer>answer</answer>.")
    assert "the sky fell" in written
    assert written.endswith(parser.format_results(["x"]).partition("x")[2])
    filled = parser.syntax.replace("{...}", "{}").replace('"..."', '"now"')
    assert parser.extract_tool_calls(filled).status is ParseStatus.CALL


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_that_quotes_the_model_cannot_close_its_block(name):
    parser = get_tool_parser(name)()
    closing = parser.format_results(["x"]).partition("x")[2].strip()
    error = parser.format_error(f"there was {closing} in it")
    assert error.count(closing) == 1
    assert error.rstrip().endswith(closing)


@pytest.mark.parametrize("name", ["hermes", "qwen3_xml"])
def test_a_model_that_does_not_end_its_turns_can_be_stopped_at_a_call(name):
    assert get_tool_parser(name)().stop == ()
    assert get_tool_parser(name)(is_single_call=True).stop == ("</tool_call>",)


@pytest.mark.parametrize("name", FORMATS)
def test_serving_keeps_special_tokens_where_they_are_markers(name):
    request = SimpleNamespace(tools=TOOLS, tool_choice="auto", skip_special_tokens=True, stop=[])
    assert get_tool_parser(name)().adjust_request(request) is request
    assert request.skip_special_tokens is False
    assert request.stop == []
    assert not hasattr(request, "include_stop_str_in_output")


def test_stop_strings_are_added_to_an_object_and_to_a_dictionary():
    request = SimpleNamespace(tools=TOOLS, stop="x")
    adjust_for_tools(request, ["</y>"], has_special_markers=False)
    assert (request.stop, request.include_stop_str_in_output) == (["x", "</y>"], True)
    plain = adjust_for_tools({"tools": TOOLS}, ["</y>"], has_special_markers=True)
    assert plain["stop"] == ["</y>"]
    assert plain["include_stop_str_in_output"] is True
    assert plain["skip_special_tokens"] is False


@pytest.mark.parametrize("name", FORMATS)
def test_a_request_without_tools_is_left_alone(name):
    for request in ({"stop": "x"}, {"tools": None}, {"tools": TOOLS, "tool_choice": "none"}):
        assert get_tool_parser(name)().adjust_request(dict(request)) == request
