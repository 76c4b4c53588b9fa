"""Several tools, several calls in a turn, results as chat messages: the same loop."""

import asyncio
import copy
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_r1.chat_template import ChatTemplate
from search_r1.errors import ToolError
from search_r1.loop import LoopConfig, SearchLoop
from search_r1.parsers import get_tool_parser
from search_r1.policies.scripted import ScriptedPolicy, ScriptedTurn
from search_r1.styles import ChatStyle, RawStyle
from search_r1.tokens import HfCodec
from search_r1.tools.base import ToolLimits, ToolResult
from search_r1.tools.schema import make_schema
from search_r1.tools.search import SearchTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import FinishReason, StopReason

CHAT = (
    "{% for m in messages %}<T>{{ m.role }}\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<T>assistant\n{% endif %}"
).replace("<T>", "")
SEARCH = '<tool_call>\n{"name": "search", "arguments": {"query": "Dracula"}}\n</tool_call>'
ADD = '<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 3}}\n</tool_call>'
ANSWER = "<answer>Bram Stoker</answer>"


class Add:
    """Adds, unless told to fail; keeps what it was asked."""

    name = "add"
    schema = make_schema(
        "add",
        "Add two numbers.",
        {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    )

    def __init__(self, error=None, **limits):
        self.error = error
        self.limits = ToolLimits(**limits)
        self.asked = []

    async def call(self, arguments):
        self.asked.append(dict(arguments))
        if self.error is not None:
            raise self.error
        return ToolResult(f"The sum is {arguments['a'] + arguments['b']}.")

    async def aclose(self):
        pass


@pytest.fixture(scope="session")
def chat_codec(tokenizer):
    return HfCodec(tokenizer)


@pytest.fixture(scope="session")
def run_tools(tokenizer, chat_codec, searcher_of, passages):
    """Run a script of hermes turns; gives the trajectory, the policy and the adding tool."""
    chat = copy.deepcopy(tokenizer)  # others share it
    chat.chat_template = CHAT

    def run(script, *, style="chat", add=None, parser_options=None, **limits):
        add = add or Add()
        parser = get_tool_parser("hermes")(**(parser_options or {}))
        made = RawStyle(chat_codec, parser)
        if style == "chat":
            made = ChatStyle(ChatTemplate(chat, chat_codec, [], ("tool", "user")), parser)
        policy = ScriptedPolicy(script, chat_codec)

        async def roll():
            tools = ToolBox([SearchTool(searcher_of(passages), 1), add])
            loop = SearchLoop(policy, chat_codec, parser, tools, LoopConfig(**limits), made)
            prompt = made.prompt_ids([{"role": "user", "content": "who?"}])
            return await loop.run(prompt)

        return asyncio.run(roll()), policy, add

    return run


@pytest.mark.slow
@pytest.mark.parametrize("style", ["chat", "raw"])
def test_calls_of_one_turn_run_and_are_answered_in_order(run_tools, chat_codec, check_exact, style):
    trajectory, policy, add = run_tools([f"{SEARCH}\n{ADD}", ANSWER], style=style)
    assert trajectory.stop_reason is StopReason.ANSWER
    first = trajectory.turns[0]
    assert [call.name for call in first.calls] == ["search", "add"]
    assert {call.status for call in first.calls} == {"ok"}
    assert (trajectory.num_calls, trajectory.num_searches) == (2, 1)
    assert add.asked == [{"a": 2, "b": 3}]
    found, summed = (
        first.observation_text.find("Doc 1(Title: "),
        first.observation_text.find("is 5."),
    )
    assert 0 < found < summed
    assert first.passage_ids == ["p01"]
    check_exact(trajectory, policy, chat_codec)


def test_chat_results_are_tool_messages_and_mistakes_user_messages(
    run_tools, chat_codec, tokenizer
):
    eos = tokenizer.eos_token
    trajectory, _, _ = run_tools([ADD, "I do not know.", ANSWER], max_nudges=1)
    called, told, _ = trajectory.turns
    assert called.observation_text == f"\ntool\nThe sum is 5.{eos}\nassistant\n"
    assert told.observation_text.startswith("\nuser\n")
    assert "<tool_call>" in told.observation_text
    assert told.observation_text.endswith(f"{eos}\nassistant\n")
    whole = chat_codec.decode(trajectory.prompt_ids + trajectory.response_ids)
    assert whole.lstrip().startswith(
        f"user\nwho?{eos}\nassistant\n{ADD}{eos}\ntool\nThe sum is 5.{eos}\n"
    )


def test_a_turn_that_a_stop_string_ended_is_closed_for_the_model(run_tools, chat_codec, tokenizer):
    trajectory, _, _ = run_tools([ADD, ANSWER], parser_options={"is_single_call": True})
    first = trajectory.turns[0]
    assert first.stop_reason is FinishReason.STOP
    assert first.observation_text.startswith(f"{tokenizer.eos_token}\ntool\n")
    closing = trajectory.response_ids[first.num_ids]
    assert closing in chat_codec.eos_ids
    assert trajectory.response_mask[first.num_ids] == 0


@pytest.mark.parametrize(
    ("turn", "status", "said"),
    [
        (ADD.replace("add", "subtract"), "unknown_tool", "The tools are: search, add."),
        (ADD.replace("2", '"two"'), "bad_arguments", "is wrong"),
    ],
)
def test_a_wrong_call_is_told_in_one_observation(run_tools, turn, status, said):
    trajectory, _, add = run_tools([turn, ANSWER])
    first = trajectory.turns[0]
    assert [call.status for call in first.calls] == [status]
    assert said in first.observation_text
    assert not first.well_formed
    assert add.asked == []
    assert trajectory.stop_reason is StopReason.ANSWER


def test_what_a_tool_says_is_read_and_what_breaks_it_is_not(run_tools):
    trajectory, _, _ = run_tools([ADD, ANSWER], add=Add(ToolError("Too large.")))
    assert "Too large." in trajectory.turns[0].observation_text
    trajectory, _, _ = run_tools([ADD, ANSWER], add=Add(RuntimeError("disk on fire")))
    assert trajectory.stop_reason is StopReason.TOOL_FAILED
    assert "disk on fire" in trajectory.metadata["tool_error"]
    assert trajectory.turns[0].num_observation_ids == 0
    trajectory, _, _ = run_tools(
        [ADD, ANSWER], add=Add(RuntimeError("on fire"), is_failure_told=True)
    )
    assert trajectory.stop_reason is StopReason.ANSWER


def test_calls_beyond_the_limit_are_refused_and_then_end_it(run_tools):
    trajectory, _, add = run_tools([f"{ADD}\n{ADD}\n{ADD}", ADD], max_calls=2)
    assert len(add.asked) == 2
    assert trajectory.turns[0].observation_text.count("1 not called: at most 2 calls") == 1
    statuses = [call.status for call in trajectory.turns[0].calls]
    assert statuses == ["ok", "ok", "call_limit"]
    assert trajectory.stop_reason is StopReason.SEARCH_LIMIT


def test_every_result_keeps_to_the_cap_however_many_calls_there_are(run_tools, chat_codec):
    class Wordy(Add):
        async def call(self, arguments):
            return ToolResult("word " * 500)

    unknown = ADD.replace("add", "nothing")
    alone, _, _ = run_tools([ADD, ANSWER], add=Wordy(), max_observation_tokens=90)
    limits = {"max_observation_tokens": 90, "max_calls": 9}
    beside, _, _ = run_tools([ADD + unknown * 4, ANSWER], add=Wordy(), **limits)
    words = [t.turns[0].observation_text.count("word") for t in (alone, beside)]
    assert words[0] == words[1] > 10


def test_thoughts_that_were_closed_hold_no_action(run_tools):
    thought = f"<think>Shall I write {ADD} or <tool_call> or not?</think>\n"
    trajectory, _, add = run_tools([f"{thought}{ADD}", f"{thought}{ANSWER}"])
    assert len(add.asked) == 1
    assert trajectory.prediction == "Bram Stoker"
    trajectory, _, _ = run_tools([f"{thought}It is 5."], is_message_answer=True)
    assert trajectory.prediction == "It is 5."


def test_a_tools_own_limit_counts_over_the_turns(run_tools):
    trajectory, _, add = run_tools([ADD, ADD, ANSWER], add=Add(max_calls=1))
    assert [call.status for turn in trajectory.turns for call in turn.calls] == ["ok", "call_limit"]
    assert len(add.asked) == 1


def test_an_endless_result_is_cut_to_the_observation_cap(run_tools, chat_codec):
    class Endless(Add):
        async def call(self, arguments):
            return ToolResult("word " * 2_000_000)

    trajectory, _, _ = run_tools([ADD, ANSWER], add=Endless(), max_observation_tokens=80)
    first = trajectory.turns[0]
    assert first.observation_truncated
    assert 60 < first.num_observation_ids <= 80
    assert trajectory.stop_reason is StopReason.ANSWER


def test_a_message_without_a_call_is_an_answer_where_that_is_asked_for(run_tools):
    trajectory, _, _ = run_tools([ADD, "It is 5."], is_message_answer=True)
    assert (trajectory.stop_reason, trajectory.prediction) == (StopReason.ANSWER, "It is 5.")
    cut = ScriptedTurn("It is", has_eos=False)
    trajectory, _, _ = run_tools([cut], is_message_answer=True, max_turn_tokens=50, max_nudges=0)
    assert trajectory.prediction is None


def test_an_answer_inside_a_call_that_breaks_off_is_no_answer(run_tools):
    turn = '<tool_call>\n{"name": "add", "arguments": {"a": "<answer>5</answer>'
    trajectory, _, _ = run_tools([turn], max_nudges=0)
    assert trajectory.prediction is None
    assert trajectory.turns[0].is_malformed_call


pieces = st.sampled_from(
    [SEARCH, ADD, ANSWER, "<tool_call>", "</tool_call>", "naïve 富士山 🐋", "\n", "{", "a b"]
)
scripts = st.lists(st.lists(pieces, min_size=1, max_size=4).map("".join), min_size=1, max_size=4)


@pytest.mark.slow
@settings(max_examples=60)
@given(script=scripts, style=st.sampled_from(["chat", "raw"]), budget=st.integers(5, 120))
def test_no_token_that_is_there_ever_changes(
    run_tools, chat_codec, check_exact, script, style, budget
):
    """Whatever the model writes, every request begins with the whole of the one before it."""
    trajectory, policy, _ = run_tools(
        [*script, *[ANSWER] * 5],
        style=style,
        max_turn_tokens=budget,
        max_nudges=2,
        max_response_tokens=900,
        max_observation_tokens=120,
    )
    check_exact(trajectory, policy, chat_codec)
    contexts = [request.context_ids for request in policy.requests]
    for before, after in itertools.pairwise(contexts):
        assert after[: len(before)] == before
