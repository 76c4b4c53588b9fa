import asyncio
import contextlib
import re

import pytest

from search_r1.errors import ToolError, ToolFailedError
from search_r1.tools.base import OutcomeStatus, ToolLimits, ToolResult
from search_r1.tools.toolbox import ToolBox
from search_r1.types import Passage, ToolCall

X = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


class Mute(Exception):  # noqa: N818
    def __str__(self):
        raise ValueError("no words")


async def never(_arguments):
    await asyncio.sleep(1000)


def raising(error):
    async def action(_arguments):
        raise error

    return action


def giving(result):
    async def action(_arguments):
        return result

    return action


async def test_calls_of_a_turn_run_side_by_side_and_keep_their_order(tool_of):
    is_done = [asyncio.Event() for _ in range(5)]
    is_done[4].set()

    async def echo_last_first(arguments):
        await is_done[arguments["x"] + 1].wait()
        is_done[arguments["x"]].set()
        return ToolResult(f"{arguments['x']}")

    tool = tool_of(action=echo_last_first)
    outcomes = await ToolBox([tool]).run([ToolCall("echo", {"x": i}) for i in range(4)], {})
    assert [outcome.text for outcome in outcomes] == ["0", "1", "2", "3"]
    assert tool.most_busy == 4
    assert all(outcome.status is OutcomeStatus.OK for outcome in outcomes)
    assert outcomes[0].seconds > outcomes[3].seconds > 0


async def test_two_hundred_calls_keep_to_the_places_there_are(tool_of):
    async def pause(arguments):
        await asyncio.sleep(0.002)
        return ToolResult(str(arguments["x"]))

    tool = tool_of(action=pause, max_concurrent=16)
    box = ToolBox([tool])
    turns = await asyncio.gather(
        *(
            box.run([ToolCall("echo", {"x": 2 * i}), ToolCall("echo", {"x": 2 * i + 1})], {})
            for i in range(100)
        )
    )
    assert [int(outcome.text) for turn in turns for outcome in turn] == list(range(200))
    assert tool.calls == 200
    assert tool.most_busy == 16


async def test_unknown_tool_is_told_which_there_are(tool_of):
    box = ToolBox([tool_of("search"), tool_of("calc")])
    (outcome,) = await box.run([ToolCall("serach" * 100, {})], {})
    assert outcome.status is OutcomeStatus.UNKNOWN_TOOL
    assert outcome.text.endswith("The tools are: search, calc.")
    assert len(outcome.text) < 200
    assert not outcome.is_infrastructure


async def test_bad_arguments_are_told_and_the_tool_is_not_called(tool_of):
    tool = tool_of(parameters=X)
    box = ToolBox([tool])
    calls = [ToolCall("echo", {}), ToolCall("echo", {"x": "1"}), ToolCall("echo", {"x": 1})]
    outcomes = await box.run(calls, {})
    assert [outcome.status for outcome in outcomes] == ["bad_arguments", "bad_arguments", "ok"]
    assert outcomes[0].text == (
        'The call of echo is wrong: argument "x" is missing; expected integer. '
        "Its arguments are: x (integer, required)."
    )
    assert tool.calls == 1


@pytest.mark.parametrize("rule", [{"multipleOf": 0.5}, {"type": "string"}, {"enum": ["a"]}])
async def test_a_call_that_cannot_even_be_checked_takes_no_other_with_it(tool_of, rule):
    checked = tool_of("checked", parameters={"type": "object", "properties": {"x": rule}})
    box = ToolBox([checked, tool_of("good")])
    for value in (10**400, 10**5000, float("inf"), float("nan"), "\ud83d", {"\ud83d": {}}):
        bad, good = await box.run([ToolCall("checked", {"x": value}), ToolCall("good", {})], {})
        assert good.status is OutcomeStatus.OK
        if isinstance(value, int) and "multipleOf" in rule:
            assert bad.text == (
                "The call of checked is wrong: a number is too large. Its arguments are: "
                "x (a value as described)."
            )


async def test_call_limit_counts_earlier_turns_and_this_one(tool_of):
    tool = tool_of(parameters=X, max_calls=3)
    good, bad = ToolCall("echo", {"x": 1}), ToolCall("echo", {})
    outcomes = await ToolBox([tool]).run([good, bad, good, good], {"echo": 1, "other": 9})
    assert [outcome.status for outcome in outcomes] == ["ok", "bad_arguments", "ok", "call_limit"]
    assert (
        outcomes[3].text == "echo may be called 3 times, and that has been done. Go on without it."
    )
    assert tool.calls == 2


@pytest.mark.parametrize(
    ("error", "status", "text", "detail"),
    [
        (ToolError("no such city"), "tool_error", "no such city", ""),
        (ToolFailedError("db down"), "failed", "", "db down"),
        (ValueError("boom"), "failed", "", r"ValueError: boom \(.*test_toolbox.py"),
        (TimeoutError(), "timeout", "", "echo gave up waiting"),
        (asyncio.CancelledError(), "failed", "", "echo cancelled itself"),
        (SystemExit(3), "failed", "", r"echo raised SystemExit\(3\)"),
        (RecursionError("deep"), "failed", "", "RecursionError: deep"),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), "failed", "", "echo raised BaseExc"),
        (Mute(), "failed", "", r"Mute: \(it has no message\)"),
    ],
)
async def test_whatever_a_tool_raises_becomes_an_outcome(
    tool_of, run_one, error, status, text, detail
):
    outcome = await run_one(tool_of(action=raising(error)))
    assert outcome.status == status
    assert outcome.text == text
    assert outcome.is_infrastructure is (not text)
    assert re.match(detail, outcome.detail)


async def test_failures_are_told_where_the_model_is_to_blame(tool_of, run_one):
    crash = await run_one(tool_of(action=raising(ValueError("boom")), is_failure_told=True))
    assert (crash.status, crash.text) == ("failed", "echo failed: ValueError: boom")
    assert crash.detail
    assert not crash.is_infrastructure
    hang = await run_one(tool_of(action=never, timeout_s=0.05, is_failure_told=True))
    assert (hang.status, hang.text) == ("timeout", "echo gave no result within 0.05 s")


async def test_a_tool_that_hangs_times_out_and_holds_up_nobody(tool_of):
    box = ToolBox([tool_of("slow", never, timeout_s=0.1, max_concurrent=1), tool_of("fast")])
    slow, fast, slow_again = await box.run(
        [ToolCall("slow", {}), ToolCall("fast", {"x": "y"}), ToolCall("slow", {})], {}
    )
    assert (slow.status, slow_again.status) == ("timeout", "timeout")
    assert slow.detail == "slow gave no result within 0.1 s"
    assert slow.is_infrastructure
    assert fast.text == "y"
    assert fast.seconds < slow.seconds < slow_again.seconds  # it waited for the place
    assert slow.seconds >= 0.1


async def test_a_tool_that_ignores_its_cancellation_is_left_behind(tool_of, run_one):
    is_over = asyncio.Event()

    async def stubborn(_arguments):
        while not is_over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await is_over.wait()
        return ToolResult("late")

    outcome = await run_one(tool_of(action=stubborn, timeout_s=0.05))
    assert outcome.status is OutcomeStatus.TIMEOUT
    is_over.set()


async def test_cancelling_the_turn_cancels_its_calls(tool_of):
    tool = tool_of(action=never)
    turn = asyncio.create_task(ToolBox([tool]).run([ToolCall("echo", {})] * 3, {}))
    while tool.busy < 3:
        await asyncio.sleep(0)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    while tool.busy:
        await asyncio.sleep(0)


async def test_ten_megabytes_are_cut(tool_of, run_one):
    outcome = await run_one(
        tool_of(action=giving(ToolResult("é" * 10_000_000)), max_result_chars=100)
    )
    assert outcome.is_truncated
    assert outcome.text == "é" * 100 + "\n[cut after 100 characters]"
    refused = await run_one(tool_of(action=raising(ToolError("no" * 5_000_000))))
    assert refused.is_truncated
    assert len(refused.text) < 3000


async def test_long_passages_share_the_limit(tool_of, run_one):
    passages = tuple(Passage(str(i), "T" * 10, "x" * 50) for i in range(3))
    tool = tool_of(action=giving(ToolResult(passages=passages)), max_result_chars=90)
    outcome = await run_one(tool)
    assert outcome.is_truncated
    assert [(p.id, len(p.title), len(p.text)) for p in outcome.passages] == [
        ("0", 10, 50),
        ("1", 10, 20),
    ]
    whole = await run_one(tool_of(action=giving(ToolResult(passages=passages))))
    assert whole.passages == passages
    assert not whole.is_truncated
    none = await run_one(tool_of(action=giving(ToolResult(passages=()))))
    assert none.passages == ()


async def test_halves_of_characters_reach_no_tokenizer(tool_of, run_one):
    halves = ToolResult(passages=(Passage("1", "a\ud83d", "b\ude00"),))
    for result in (ToolResult("a\ud83d"), halves):
        outcome = await run_one(tool_of(action=giving(result)))
        texts = [outcome.text, *(p.title + p.text for p in outcome.passages or ())]
        assert "".join(texts).encode()
    (told,) = await ToolBox([tool_of(parameters=X)]).run([ToolCall("echo", {"x": "\ud83d"})], {})
    assert told.text.encode()


async def test_a_result_of_another_kind_is_a_failure(tool_of, run_one):
    outcome = await run_one(tool_of(action=giving("text")))
    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.detail == "echo returned str; a tool's call gives a ToolResult."


async def test_a_tool_cannot_change_the_record(tool_of):
    async def change(arguments):
        arguments["x"].append(1)
        return ToolResult("done")

    (outcome,) = await ToolBox([tool_of(action=change)]).run([ToolCall("echo", {"x": []})], {})
    assert outcome.call == ToolCall("echo", {"x": []})


async def test_no_calls_give_no_outcomes(tool_of):
    assert await ToolBox([tool_of()]).run([], {}) == []


async def test_closing_closes_every_tool_also_after_a_failure(tool_of):
    async def broken():
        raise OSError("gone")

    first, second = tool_of("a"), tool_of("b")
    first.aclose = broken
    with pytest.raises(OSError, match="gone"):
        await ToolBox([first, second]).aclose()
    assert second.is_closed


def test_names_and_schemas_are_as_given(tool_of):
    box = ToolBox([tool_of("b"), tool_of("a")])
    assert box.names == ["b", "a"]
    assert [schema["type"] for schema in box.schemas] == ["function"] * 2
    assert box.schemas[0]["function"] == tool_of("b").schema


def test_two_tools_of_one_name_are_refused(tool_of):
    with pytest.raises(ValueError, match="two tools are named 'a'"):
        ToolBox([tool_of("a"), tool_of("a")])
    wrong = tool_of("a")
    wrong.name = "b"
    with pytest.raises(ValueError, match="tool 'b' has the schema of 'a'"):
        ToolBox([wrong])
    with pytest.raises(ValueError, match="no JSON schema"):
        ToolBox([tool_of(parameters={"type": "object", "properties": {"x": {"type": "it"}}})])


def test_limits_out_of_range_are_refused():
    for wrong in ({"timeout_s": 0}, {"max_concurrent": 0}, {"max_calls": -1}):
        with pytest.raises(ValueError, match="expected"):
            ToolLimits(**wrong)
