"""What a trajectory's record says of its turns and calls, and what it takes from the policy."""

import asyncio
import itertools

import pytest

from search_r1.demo import ByteCodec
from search_r1.errors import RetrieverError, ToolError
from search_r1.loop import LoopConfig, SearchLoop
from search_r1.parsers.formats.hermes import HermesParser
from search_r1.policies.scripted import ScriptedPolicy
from search_r1.tools.base import ToolLimits, ToolResult
from search_r1.tools.schema import make_schema
from search_r1.tools.search import SearchTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import Generation, StopReason, ToolCall

ANSWER = "<answer>Bram Stoker</answer>"
CODEC = ByteCodec()


def call(name, argument="x"):
    value = f'{{"name": "{name}", "arguments": {{"query": "{argument}"}}}}'
    return f"<tool_call>\n{value}\n</tool_call>"


class Named:
    """A tool of any name that says what it was given, or raises that."""

    def __init__(self, name, **limits):
        self.name = name
        parameters = {"type": "object", "properties": {"query": {"type": "string"}}}
        self.schema = make_schema(name, "Say it.", parameters)
        self.limits = ToolLimits(**limits)
        self.asked = []

    async def call(self, arguments):
        self.asked.append(arguments["query"])
        if arguments["query"].startswith("broken"):
            raise RuntimeError(arguments["query"])
        if arguments["query"] == "no":
            raise ToolError("It said no.")
        return ToolResult(f"It said {arguments['query']}.")

    async def aclose(self):
        pass


@pytest.fixture
def roll(searcher_of, passages):
    """Run a script with a search and two other tools; gives the trajectory and the searcher."""

    def run(script, *, searcher=None, tools=(), policy=None, given=None, **limits):
        searcher = searcher or searcher_of(passages)
        box = ToolBox([SearchTool(searcher, 1), *(tools or (Named("one"), Named("two")))])
        policy = policy or ScriptedPolicy(script, CODEC)
        loop = SearchLoop(policy, CODEC, HermesParser(), box, LoopConfig(**limits))
        return asyncio.run(loop.run(CODEC.encode("who?"), **given or {})), searcher

    return run


def statuses(trajectory):
    return [[record.status for record in turn.calls] for turn in trajectory.turns]


def test_the_limits_are_search_r1s_unless_others_are_given():
    assert LoopConfig() == LoopConfig(
        max_calls=4,
        max_nudges=1,
        max_turn_tokens=500,
        max_response_tokens=4096,
        max_observation_tokens=500,
        min_answer_tokens=16,
        is_message_answer=False,
    )


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("max_calls", 0),
        ("max_nudges", 0),
        ("max_turn_tokens", 1),
        ("max_response_tokens", 1),
        ("max_observation_tokens", 1),
        ("min_answer_tokens", 1),
    ],
)
def test_a_limit_may_be_the_least_that_makes_sense_and_no_less(name, least):
    assert getattr(LoopConfig(**{name: least}), name) == least
    with pytest.raises(ValueError, match=f"^{name} is {least - 1}; it must be at least {least}.$"):
        LoopConfig(**{name: least - 1})


def test_a_trajectory_is_named_as_it_was_asked_for(roll):
    given = {"uid": "u7", "question": "who?", "gold_answers": ("Bram Stoker",)}
    trajectory, _ = roll([ANSWER], given=given)
    assert (trajectory.uid, trajectory.question) == ("u7", "who?")
    assert trajectory.gold_answers == ["Bram Stoker"]
    assert trajectory.prompt_ids == CODEC.encode("who?")
    nameless, _ = roll([ANSWER])
    assert (nameless.uid, nameless.question, nameless.gold_answers) == ("", "", [])


class Sampling:
    """A policy that gives what the test wrote."""

    def __init__(self, *generations):
        self.left = iter(generations)

    async def generate(self, context_ids, *, max_tokens, stop, stop_token_ids=()):
        return next(self.left)


def sampled(text, **facts):
    ids = CODEC.encode(text)
    return Generation(ids, [-0.25] * len(ids), metadata=facts)


def test_what_the_engine_says_of_itself_is_kept_the_latest_of_each(roll):
    policy = Sampling(sampled(call("one"), version=1, first=True), sampled(ANSWER, version=2))
    trajectory, _ = roll([], policy=policy)
    assert trajectory.metadata == {"version": 2, "first": True}


def test_an_engine_that_gives_nothing_is_heard_all_the_same(roll):
    trajectory, _ = roll([], policy=Sampling(Generation([], [], metadata={"aborted": 1})))
    assert trajectory.stop_reason is StopReason.ABORTED
    assert trajectory.metadata == {"aborted": 1}


def test_more_tokens_than_were_asked_for_are_refused(roll):
    with pytest.raises(ValueError, match="sampled 28 tokens, but max_tokens was 27"):
        roll([], policy=Sampling(sampled(ANSWER)), max_turn_tokens=27)
    trajectory, _ = roll([], policy=Sampling(sampled(ANSWER)), max_turn_tokens=28)
    assert trajectory.prediction == "Bram Stoker"


def test_times_are_from_before_to_after(roll, monkeypatch):
    ticks = itertools.count(100.0)
    monkeypatch.setattr("search_r1.loop.time.perf_counter", lambda: next(ticks))
    trajectory, _ = roll([call("one"), ANSWER])
    first, last = trajectory.turns
    assert (first.generate_s, last.generate_s, last.tool_s) == (1.0, 1.0, 0.0)
    assert first.tool_s == 3.0  # the tool looks at the same clock twice
    assert first.calls[0].seconds == 1.0


def test_every_call_of_a_turn_is_recorded(roll):
    trajectory, searcher = roll([call("search", "q") + call("one", "a") + call("two", "b"), ANSWER])
    first = trajectory.turns[0]
    assert first.call == ToolCall("search", {"query": "q"})
    assert [(one.name, one.arguments, one.is_search) for one in first.calls] == [
        ("search", {"query": "q"}, True),
        ("one", {"query": "a"}, False),
        ("two", {"query": "b"}, False),
    ]
    assert searcher.asked == [(["q"], 1)]
    assert first.well_formed is True
    assert first.observation_truncated is False
    for said in ("Doc 1(", "It said a.", "It said b."):
        assert first.observation_text.count(said) == 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_any_of_several_calls_that_fails_for_good_ends_the_trajectory(roll, place):
    calls = [call("one", "a"), call("one", "b")]
    calls.insert(place, call("two", "broken wire"))
    trajectory, _ = roll(["".join(calls)])
    assert trajectory.stop_reason is StopReason.TOOL_FAILED
    assert trajectory.metadata["tool_error"].startswith("two: RuntimeError: broken wire")
    assert trajectory.turns[0].observation_text == ""
    assert sorted(statuses(trajectory)[0]) == ["failed", "ok", "ok"]
    assert trajectory.response_mask == [1] * len(trajectory.response_ids)


def test_a_retriever_that_fails_beside_a_tool_that_works_is_the_retrievers_failure(
    roll, searcher_of
):
    down = searcher_of(error=RetrieverError("down"))
    trajectory, _ = roll([call("one", "a") + call("search")], searcher=down)
    assert trajectory.stop_reason is StopReason.RETRIEVER_FAILED
    assert trajectory.metadata == {"retriever_error": "down"}


@pytest.mark.parametrize(
    ("calls", "is_well_formed"),
    [
        (call("one", "no"), True),  # refused by the tool, not written wrongly
        (call("one") + call("none"), False),
        (call("none") + call("one"), False),
    ],
)
def test_one_wrongly_written_call_makes_the_turn_not_well_formed(roll, calls, is_well_formed):
    trajectory, _ = roll([calls, ANSWER])
    assert trajectory.turns[0].well_formed is is_well_formed
    assert trajectory.stop_reason is StopReason.ANSWER


def test_calls_beyond_the_limit_are_counted_and_told_and_no_mistake(roll):
    one = Named("one")
    script = [call("one", "a"), "".join(call("one", text) for text in "bcde"), call("one")]
    trajectory, _ = roll(script, tools=[one], max_calls=3)
    assert one.asked == ["a", "b", "c"]
    assert statuses(trajectory) == [["ok"], ["ok", "ok", "call_limit", "call_limit"], []]
    assert "2 not called: at most 3 calls are answered." in trajectory.turns[1].observation_text
    assert trajectory.turns[1].well_formed is True
    assert "not called" not in trajectory.turns[0].observation_text
    assert trajectory.stop_reason is StopReason.SEARCH_LIMIT
    assert trajectory.turns[2].call == ToolCall("one", {"query": "x"})


def test_a_tools_own_limit_counts_what_reached_that_tool_in_all_turns_before(roll):
    one, two = Named("one", max_calls=3), Named("two", max_calls=1)
    mistyped = '<tool_call>\n{"name": "one", "arguments": {"query": 3}}\n</tool_call>'
    script = [call("one", "a") + call("two", "x"), mistyped + call("one", "b")]
    script += [call("one", "c") + call("two", "y"), call("one", "d"), ANSWER]
    trajectory, _ = roll(script, tools=[one, two], max_calls=20)
    assert (one.asked, two.asked) == (["a", "b", "c"], ["x"])
    assert statuses(trajectory) == [
        ["ok", "ok"],
        ["bad_arguments", "ok"],
        ["ok", "call_limit"],
        ["call_limit"],
        [],
    ]


@pytest.mark.parametrize(("room", "asked"), [(0, []), (1, [(["x"], 1)])])
def test_nothing_is_called_when_no_result_could_be_read(roll, room, asked):
    total = len(call("search")) + 1 + 16 + room  # its end-of-text token, the answer's tokens
    trajectory, searcher = roll([call("search")], max_response_tokens=total, max_turn_tokens=900)
    assert trajectory.stop_reason is StopReason.RESPONSE_LENGTH
    assert searcher.asked == asked
    assert trajectory.turns[0].num_observation_ids == 0


@pytest.mark.parametrize(("length", "is_truncated"), [(100, False), (101, True)])
@pytest.mark.parametrize("before", ["", call("one", "a")])
def test_a_result_that_its_tool_had_to_cut_is_a_truncated_observation(
    roll, length, is_truncated, before
):
    two = Named("two", max_result_chars=len("It said .") + 100)
    trajectory, _ = roll([before + call("two", "x" * length), ANSWER], tools=[Named("one"), two])
    assert trajectory.turns[0].observation_truncated is is_truncated


def test_a_result_cut_to_its_cap_is_a_truncated_observation(roll):
    trajectory, _ = roll([call("one", "x" * 300), ANSWER], max_observation_tokens=100)
    first = trajectory.turns[0]
    assert first.observation_truncated is True
    assert first.num_observation_ids == 100
    assert first.passage_ids == []


def test_a_nudge_is_an_observation_without_passages_or_cuts(roll):
    trajectory, _ = roll(["Hm.", ANSWER])
    told = trajectory.turns[0]
    assert told.num_observation_ids == len(told.observation_text.encode()) > 0
    assert (told.passage_ids, told.observation_truncated) == ([], False)
    assert (told.call, told.calls, told.tool_s) == (None, [], 0.0)


def test_who_watches_is_told_of_each_turn_once_it_is_answered(roll):
    told = []

    def on_turn(turn):
        told.append((turn.model_text, bool(turn.observation_text)))

    script = [call("search"), "What now?", ANSWER]
    trajectory, _ = roll(script, given={"on_turn": on_turn})
    assert [text for text, _ in told] == [turn.model_text for turn in trajectory.turns]
    assert [is_answered for _, is_answered in told] == [True, True, False]
