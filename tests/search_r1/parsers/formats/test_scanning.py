"""What holds for every format: streaming is parsing, nothing raises, nothing is quadratic."""

import itertools
import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_r1.parsers import ParseStatus, get_tool_parser
from search_r1.types import ToolCall
from tests.search_r1.parsers.outputs import SURROUNDINGS, TOOLS, WRITERS, outputs

FORMATS = sorted(WRITERS)
MARKERS = {
    "hermes": ["<tool_call>", "</tool_call>"],
    "llama3_json": ["<|python_tag|>", '{"name"', '"parameters"', ";"],
    "mistral": ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "search"],
    "pythonic": [
        "<|python_start|>",
        "<|python_end|>",
        "\n[",
        "search(",
        "a=",
        "'''",
        '"',
        "'",
        ")",
        "(",
        "]",
    ],
    "qwen3_xml": [
        *("<tool_call>", "</tool_call>", "<function=", "</function>"),
        *("<parameter=", "</parameter>", ">"),
    ],
    "search_tags": ["<search>", "</search>"],
}
SHARED = ["\n", " ", "é🐋", "\\", '"', "{", "}", "[", "]", ",", ":", "1", "x", "<", "{}", "\ud800"]


def parser_of(name):
    return get_tool_parser(name)(tools=TOOLS)


def stream(parser, pieces):
    """Stream a turn and end it; gives the content and the calls."""
    content, names, arguments, sofar = "", {}, {}, ""
    deltas = []
    for piece in pieces:
        deltas.append(parser.extract_tool_calls_streaming(sofar, sofar + piece, piece, [], [], []))
        sofar += piece
    deltas.append(parser.finish_streaming())
    for delta in filter(None, deltas):
        content += delta.content
        for call in delta.tool_calls:
            assert (call.name is None) == (call.index in names), "a name is given once, and first"
            names.setdefault(call.index, call.name)
            arguments[call.index] = arguments.get(call.index, "") + call.arguments
    assert list(names) == list(range(len(names)))
    return content, [ToolCall(name, json.loads(arguments[i])) for i, name in names.items()]


def check_streamed(parser, text, pieces):
    parsed = parser.extract_tool_calls(text)
    assert stream(parser, pieces) == (parsed.content, parsed.tool_calls)


def cut(text, places):
    places = sorted({0, len(text), *places})
    return [text[start:end] for start, end in itertools.pairwise(places)]


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_streaming_says_the_same_at_every_split_in_two(name):
    parser = parser_of(name)
    for output in outputs(name):
        if output.calls and "around" not in output.name:
            continue  # those with text around hold these
        text = output.text
        parsed = parser.extract_tool_calls(text)
        expected = parsed.content, parsed.tool_calls
        for place in range(len(text) + 1):
            assert stream(parser, [text[:place], text[place:]]) == expected, (text, place)


@pytest.mark.parametrize("name", FORMATS)
def test_streaming_says_the_same_character_by_character_and_in_odd_pieces(name):
    parser = parser_of(name)
    chance = random.Random(0)
    for output in outputs(name):
        check_streamed(parser, output.text, list(output.text))
        places = [chance.randint(0, len(output.text)) for _ in range(6)]
        check_streamed(parser, output.text, cut(output.text, places))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@given(chosen=st.data())
def test_nothing_raises_and_no_split_changes_what_is_said(name, chosen):
    pieces = st.lists(st.sampled_from([*MARKERS[name], *SHARED])).map("".join)
    valid = st.sampled_from([output.text for output in outputs(name)])
    mixed = st.tuples(valid, pieces, valid).map("".join)
    text = chosen.draw(st.one_of(st.text(), pieces, mixed))
    parser = parser_of(name)
    parsed = parser.extract_tool_calls(text)
    assert (parsed.error is not None) == (parsed.status is ParseStatus.MALFORMED)
    if parsed.status is not ParseStatus.MALFORMED:
        assert parsed.tools_called == (parsed.status is ParseStatus.CALL)
    assert bool(parsed.end) == parsed.tools_called
    if parsed.unfinished is not None:
        assert parsed.status is ParseStatus.MALFORMED
        assert parsed.end <= parsed.unfinished < len(text)
    for call in parsed.tool_calls:
        assert json.loads(json.dumps(call.arguments, allow_nan=False)) == call.arguments
        (call.name + json.dumps(call.arguments, ensure_ascii=False)).encode()
    parser.format_error(parsed.error or "")
    places = chosen.draw(st.lists(st.integers(0, len(text)), max_size=8))
    assert stream(parser, cut(text, places)) == (parsed.content, parsed.tool_calls)
    assert stream(parser, text) == (parsed.content, parsed.tool_calls)


@pytest.mark.parametrize("name", FORMATS)
def test_a_valid_output_gives_its_calls_and_the_text_around_them(name):
    parser = parser_of(name)
    for output in outputs(name):
        if output.calls is None:
            continue
        parsed = parser.extract_tool_calls(output.text)
        if name == "search_tags":
            assert len(parsed.tool_calls) <= 1
            continue
        assert parsed.status is ParseStatus.CALL, output.name
        assert parsed.tool_calls == output.calls, output.name
        assert (parsed.error, parsed.unfinished) == (None, None)
        before, _, after = SURROUNDINGS[output.name.rpartition(", ")[2]].partition("{}")
        assert parsed.content == (before + after.lstrip()).format()
        assert output.text[parsed.end :] == after


@pytest.mark.parametrize("name", FORMATS)
def test_a_call_cut_at_any_character_is_never_another_call(name):
    parser = parser_of(name)
    for output in outputs(name):
        if output.calls is None or "text before" not in output.name:
            continue
        whole = parser.extract_tool_calls(output.text).tool_calls
        for place in range(len(output.text)):
            parsed = parser.extract_tool_calls(output.text[:place])
            assert parsed.tool_calls == whole[: len(parsed.tool_calls)], output.text[:place]
            if parsed.unfinished is not None:
                assert parsed.status is ParseStatus.MALFORMED
                kept = parser.extract_tool_calls(output.text[: parsed.unfinished])
                assert kept.unfinished is None
                assert kept.tool_calls == parsed.tool_calls


@pytest.mark.parametrize("name", FORMATS)
def test_text_is_streamed_at_once_unless_it_may_become_a_call(name):
    parser = parser_of(name)
    words = ["The ", "count of ", "Transylvania", ", that is.", "\n", "Nobody."]
    sofar = ""
    for word in words:
        delta = parser.extract_tool_calls_streaming(sofar, sofar + word, word, [], [], [])
        assert delta is not None
        assert delta.content == word
        sofar += word


@pytest.mark.parametrize("name", FORMATS)
def test_an_instance_can_stream_one_turn_after_another(name):
    parser = parser_of(name)
    text = outputs(name)[0].text
    parsed = parser.extract_tool_calls(text)
    for _ in range(2):
        check_streamed(parser, text, list(text))
        parser.extract_tool_calls_streaming("", text[:5], text[:5], [], [], [])  # broken off
    assert parsed.tools_called


@pytest.mark.parametrize("name", FORMATS)
def test_a_turn_of_thousands_of_calls_is_stopped(name):
    text = "\n".join(
        [next(iter(WRITERS[name].values()))([ToolCall("search", {"query": "x"})])] * 500
    )
    parsed = parser_of(name).extract_tool_calls(text)
    if name == "search_tags":
        assert len(parsed.tool_calls) == 1
    else:
        assert len(parsed.tool_calls) == 128
        assert parsed.error == "there are more than 128 calls in one turn; write fewer"


SIZE = 100_000
HOSTILE = {
    "hermes": [
        '<tool_call>{"name":"now","arguments":{}}</tool_call>',
        '<tool_call>{"name":"f","arguments":' + '{"a":' * SIZE,
        '<tool_call>{"name":"f","arguments":{"a":[' + "1," * 45_000 + "1]}}</tool_call>",
    ],
    "llama3_json": [
        '{"name":1}',
        "{" + " " * 31,
        '{"name":"f","parameters":{"a":' + "[" * SIZE,
        '{"name":"' + '\\"' * SIZE,
        '{"name":"f","parameters":{"a":' + "9" * SIZE,
        '{"name":"f","parameters":{"a":[' + "[]," * 30_000 + "1]}}",
    ],
    "mistral": [
        "[TOOL_CALLS]now{}",
        "[TOOL_CALLS]f[CALL_ID]",
        "[TOOL_CALLS]" + "a" * SIZE,
        "[TOOL_CALLS][" + '{"name":"now","arguments":{}},' * 3000 + "{}]",
    ],
    "pythonic": [
        "\n[now()]",
        "\n[f(",
        "[f(a=" + "[" * SIZE,
        "[f(a=" + "-" * 99_000 + "1)]",
        "[f(a=[" + "1," * 49_000 + "1])]",
        "[f" + ".a" * 49_000 + "()]",
        "[f(a='" + "''" * 49_000 + "')]",
        "[f(a=" + "9" * 30_000 + ")]",
        "[f(a=x" + "()" * 16_000 + ")]",
        "[f(a=" + "not " * 8_000 + "1)]",
    ],
    "qwen3_xml": [
        "<tool_call></tool_call>",
        "<tool_call><function=f>" + "<parameter=a>1</parameter>" * 3700 + "</function></tool_call>",
        "<function=f>" + "<parameter=a>" * 7_600 + "</function>",
        "<tool_call><function=f>" + " " * 90_000 + "x</function></tool_call>",
    ],
    "search_tags": ["<search>" + "x " * SIZE, "<search></search>", "<search>" + "<" * SIZE],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_hostile_text_of_100_kb_costs_its_length_and_not_its_square(name):
    parser = parser_of(name)

    def seconds(unit, size):
        text = (unit * (size // len(unit) + 1))[:size]
        started = time.process_time()
        parser.extract_tool_calls(text)
        stream(parser, cut(text, range(0, size, 64)))
        return time.process_time() - started

    for unit in [*MARKERS[name], *SHARED[:-1], *HOSTILE[name]]:
        took = seconds(unit, SIZE)
        # Slow machines take longer over both; of a square a quarter takes a sixteenth.
        assert took < 1.0 or took < 10 * seconds(unit, SIZE // 4), unit[:40]
