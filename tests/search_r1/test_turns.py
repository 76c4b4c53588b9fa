"""How a turn ends and what it holds, where parsers and tools are not our own."""

import asyncio

import pytest

from search_r1.errors import RetrieverError
from search_r1.loop import LoopConfig, SearchLoop
from search_r1.parsers import get_tool_parser
from search_r1.policies.scripted import ScriptedPolicy
from search_r1.tokens import HfCodec
from search_r1.tools.search import SearchTool
from search_r1.tools.toolbox import ToolBox
from search_r1.turns import Answer, Mistake, TurnReader
from search_r1.types import FinishReason, StopReason, Turn

SEARCH = '<tool_call>\n{"name": "search", "arguments": {"query": "Dracula"}}\n</tool_call>'
ANSWER = "<answer>Bram Stoker</answer>"


@pytest.fixture(scope="session")
def chat_codec(tokenizer):
    return HfCodec(tokenizer)


def test_whose_failure_it_is_does_not_depend_on_the_tools_name(chat_codec, searcher_of):
    call = SEARCH.replace("search", "wiki")
    policy = ScriptedPolicy([call], chat_codec)

    async def roll():
        tools = ToolBox([SearchTool(searcher_of(error=RetrieverError("down")), name="wiki")])
        parser = get_tool_parser("hermes")()
        loop = SearchLoop(policy, chat_codec, parser, tools, LoopConfig())
        return await loop.run(chat_codec.encode("who?"))

    trajectory = asyncio.run(roll())
    assert trajectory.stop_reason is StopReason.RETRIEVER_FAILED
    assert "down" in trajectory.metadata["retriever_error"]


def test_a_parser_that_raises_has_read_a_broken_call(chat_codec, searcher_of):
    class Broken(get_tool_parser("hermes")):
        def extract_tool_calls(self, text, request=None):
            raise RecursionError("of the plugin")

    async def roll():
        loop = SearchLoop(
            ScriptedPolicy([SEARCH], chat_codec),
            chat_codec,
            Broken(),
            ToolBox([SearchTool(searcher_of())]),
            LoopConfig(max_nudges=0),
        )
        return await loop.run(chat_codec.encode("who?"))

    trajectory = asyncio.run(roll())
    assert trajectory.stop_reason is StopReason.NO_ACTION
    assert trajectory.turns[0].is_malformed_call


def test_a_stop_string_that_is_a_special_token_stops_as_a_token(chat_codec, tokenizer, searcher_of):
    special = next(t for t in chat_codec.special_ids if t != tokenizer.eos_token)

    class Stopping(get_tool_parser("hermes")):
        forbidden = (special,)

    policy = ScriptedPolicy([ANSWER], chat_codec)

    async def roll():
        tools = ToolBox([SearchTool(searcher_of())])
        loop = SearchLoop(policy, chat_codec, Stopping(), tools, LoopConfig())
        await loop.run(chat_codec.encode("who?"))

    asyncio.run(roll())
    assert special not in policy.requests[0].stop
    assert chat_codec.special_ids[special] in policy.requests[0].stop_token_ids


def test_a_token_of_the_format_ends_a_turn_and_is_no_part_of_it(byte_codec):
    class Ending(get_tool_parser("hermes")):
        stop_token_ids = (ord("!"),)

    reader = TurnReader(byte_codec, Ending(), is_message_answer=True)
    ids = byte_codec.encode("Bram Stoker!")
    assert ord("!") in reader.stop_token_ids, "the engine must be told"
    reason = reader.finish_reason(ids, "Bram Stoker!", budget=99)
    assert reason is FinishReason.EOS
    found = reader.find_action(Turn("Bram Stoker!", 0, len(ids), reason, 0.0))
    assert found == Answer("Bram Stoker")


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        ("search_tags", "<information>"),
        ("hermes", "<tool_response>"),
        ("qwen3_xml", "<tool_response>"),
        ("mistral", "[TOOL_RESULTS]"),
        ("llama3_json", "<|start_header_id|>"),
        ("pythonic", "<|start_header_id|>"),
    ],
)
def test_a_turn_that_writes_its_own_result_is_stopped_and_refused(byte_codec, parser, text):
    reader = TurnReader(byte_codec, get_tool_parser(parser)(), is_message_answer=False)
    assert text in reader.stop
    written = f"I found it. {text}"
    reason = reader.finish_reason(byte_codec.encode(written), written, budget=99)
    assert reason is FinishReason.STOP
    turn = Turn(f"{written} Stoker {ANSWER}", 0, 1, reason, 0.0)
    assert reader.find_action(turn) == Mistake(f"{text} is written for you, not by you")
