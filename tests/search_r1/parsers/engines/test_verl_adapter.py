"""Every tool parser of verl, used as a parser of rollouts."""

import asyncio

import pytest

from search_r1.parsers import ParseStatus, get_tool_parser
from search_r1.types import ToolCall

pytestmark = pytest.mark.slow  # importing verl takes seconds

WANTED = ToolCall("get_weather", {"city": "Dublin", "days": 2})


@pytest.fixture(scope="module")
def parsers(samples, marked_tokenizer):
    return {
        name: get_tool_parser(f"verl:{name}")(marked_tokenizer, [samples.WEATHER])
        for name in samples.VERL_SAMPLES
    }


def test_every_parser_of_verl_is_known_here(samples):
    from verl.experimental.agent_loop.tool_parser import ToolParser

    assert set(ToolParser._registry) == set(samples.VERL_SAMPLES)


def test_every_parser_reads_a_call_of_its_format(samples, parsers):
    for name, text in samples.VERL_SAMPLES.items():
        found = parsers[name].extract_tool_calls(text)
        assert (found.status, found.tool_calls) == (ParseStatus.CALL, [WANTED]), name
        assert (found.end, found.unfinished) == (len(text), None), name


def test_it_works_inside_a_running_event_loop(samples, parsers):
    async def parse():
        return parsers["hermes"].extract_tool_calls(samples.VERL_SAMPLES["hermes"])

    assert asyncio.run(parse()).tool_calls == [WANTED]


def test_no_parser_raises_on_junk_or_on_half_a_call(samples, parsers):
    for name, sample in samples.VERL_SAMPLES.items():
        for text in ["", "{", "é😀", *(sample[:end] for end in range(0, len(sample), 5))]:
            found = parsers[name].extract_tool_calls(text)
            assert (found.error is None) == (found.status is not ParseStatus.MALFORMED), (
                name,
                text,
            )


def test_a_call_that_verl_drops_in_silence_is_malformed(samples, parsers):
    text = samples.VERL_SAMPLES["hermes"] + "<tool_call>{broken</tool_call>"
    found = parsers["hermes"].extract_tool_calls(text)
    assert (found.status, found.tool_calls) == (ParseStatus.MALFORMED, [WANTED])


def test_stop_tokens_are_verls(parsers, marked_tokenizer):
    close = marked_tokenizer.convert_tokens_to_ids("<tool_call|>")
    assert parsers["gemma4"].stop_token_ids == (close,)
    assert parsers["hermes"].stop_token_ids == ()


def test_streamed_pieces_add_up_to_the_call(samples, parsers):
    text, content, calls = "", "", []
    for char in "I look. " + samples.VERL_SAMPLES["hermes"]:
        delta = parsers["hermes"].extract_tool_calls_streaming(text, text + char, char, [], [], [])
        text += char
        content += delta.content if delta else ""
        calls += delta.tool_calls if delta else ()
    assert content == "I look. "
    assert [(call.index, call.name, call.arguments) for call in calls] == [
        (0, "get_weather", '{"city": "Dublin", "days": 2}')
    ]


def test_results_cannot_bring_markers_and_errors_say_how_to_answer(parsers):
    hermes = parsers["hermes"]
    assert {"<tool_call>", "</tool_call>", "</tool_response>"} <= set(hermes.markers)
    assert "<tool_call>" not in hermes.format_results(["a <tool_call> b"])
    assert hermes.explain("x").endswith("To answer, write <answer>answer</answer>.")


def test_what_cannot_be_used_is_refused(samples, marked_tokenizer):
    with pytest.raises(ValueError, match=r"verl has no tool parser 'qwen'; it has .*hermes"):
        get_tool_parser("verl:qwen")
    with pytest.raises(ValueError, match="pass tokenizer="):
        get_tool_parser("verl:hermes")()
    nested = {"type": "object", "properties": {"at": {"anyOf": [{"type": "string"}]}}}
    tool = {"type": "function", "function": {"name": "go", "parameters": nested}}
    with pytest.raises(ValueError, match="'go' does not fit verl's tool schema"):
        get_tool_parser("verl:hermes")(marked_tokenizer, [tool])
