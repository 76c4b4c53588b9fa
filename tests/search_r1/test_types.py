import hashlib
import json
import struct
from dataclasses import asdict

import pytest

from search_r1.types import (
    CallRecord,
    FinishReason,
    Generation,
    Passage,
    StopReason,
    ToolCall,
    Trajectory,
    Turn,
    digest,
)


@pytest.fixture
def trajectory():
    record = Trajectory("u1", "who?", ["a", "é"], [1, 2])
    record.append_model([5, 6, 7], [-0.1, -0.2, -0.3])
    record.append_observation([8, 9])
    record.append_model([10], [-0.4])
    first = Turn(
        "abc",
        0,
        3,
        FinishReason.STOP,
        0.5,
        call=ToolCall("search", {"query": "q"}),
        calls=[CallRecord("search", {"query": "q"}, "ok", 0.1, True)],
        well_formed=True,
    )
    first.num_observation_ids, first.observation_text = 2, "found"
    record.turns = [first, Turn("d", 5, 1, FinishReason.EOS, 0.25)]
    record.stop_reason = StopReason.NO_ACTION
    return record


def test_reasons_are_written_as_dumps_and_metrics_have_them():
    assert {reason.name: reason.value for reason in FinishReason} == {
        "STOP": "stop",
        "EOS": "eos",
        "LENGTH": "length",
        "ABORT": "abort",
    }
    assert {reason.name: reason.value for reason in StopReason} == {
        "ANSWER": "answer",
        "NO_ACTION": "no_action",
        "SEARCH_LIMIT": "search_limit",
        "RESPONSE_LENGTH": "response_length",
        "RETRIEVER_FAILED": "retriever_failed",
        "TOOL_FAILED": "tool_failed",
        "ABORTED": "aborted",
    }


def test_a_new_turn_has_done_nothing_yet():
    assert asdict(Turn("text", 3, 4, FinishReason.EOS, 0.5)) == {
        "model_text": "text",
        "start": 3,
        "num_ids": 4,
        "stop_reason": FinishReason.EOS,
        "generate_s": 0.5,
        "context_digest": "",
        "call": None,
        "calls": [],
        "well_formed": False,
        "is_malformed_call": False,
        "error": None,
        "overrun": False,
        "observation_text": "",
        "num_observation_ids": 0,
        "observation_truncated": False,
        "passage_ids": [],
        "tool_s": 0.0,
        "opening": "",
    }


def test_a_new_trajectory_holds_its_prompt_and_nothing_else():
    assert asdict(Trajectory("u", "q", ["g"], [1])) == {
        "uid": "u",
        "question": "q",
        "gold_answers": ["g"],
        "prompt_ids": [1],
        "response_ids": [],
        "response_mask": [],
        "response_logprobs": [],
        "turns": [],
        "prediction": None,
        "stop_reason": None,
        "reward": {},
        "step": -1,
        "metadata": {},
    }


def test_what_is_not_said_of_a_call_a_passage_or_a_generation_is_nothing():
    assert CallRecord("add", {}, "ok", 0.1).is_search is False
    assert Passage("1", "T", "x").score is None
    assert asdict(Generation([1], [-0.5])) == {
        "ids": [1],
        "logprobs": [-0.5],
        "context_digest": "",
        "metadata": {},
        "finish": None,
    }


def test_calls_and_searches_are_counted_over_the_turns_whose_results_were_read():
    def turn(*calls, num_observation_ids=9):
        made = Turn("", 0, 1, FinishReason.STOP, 0.0, calls=list(calls))
        made.num_observation_ids = num_observation_ids
        return made

    found, failed = CallRecord("s", {}, "ok", 0.1, True), CallRecord("s", {}, "timeout", 0.1, True)
    added = CallRecord("add", {}, "ok", 0.1)
    record = Trajectory("u", "q", [], [1])
    record.turns = [
        turn(added, found, failed),
        turn(found, found, num_observation_ids=1),
        turn(found, added, num_observation_ids=0),
    ]
    assert (record.num_calls, record.num_searches) == (5, 3)


def test_ids_mask_and_logprobs_grow_together(trajectory):
    assert trajectory.response_ids == [5, 6, 7, 8, 9, 10]
    assert trajectory.response_mask == [1, 1, 1, 0, 0, 1]
    assert trajectory.response_logprobs == [-0.1, -0.2, -0.3, 0.0, 0.0, -0.4]
    assert trajectory.context_ids == [1, 2, 5, 6, 7, 8, 9, 10]
    assert trajectory.model_text == "abcd"
    assert trajectory.num_searches == 1


def test_context_ids_are_a_copy(trajectory):
    trajectory.context_ids.append(99)
    assert trajectory.prompt_ids == [1, 2]
    assert trajectory.response_ids[-1] == 10


def test_a_call_without_an_observation_is_no_answered_search(trajectory):
    trajectory.turns[0].num_observation_ids = 0
    assert trajectory.num_searches == 0


def test_ids_without_their_logprobs_are_refused(trajectory):
    with pytest.raises(ValueError, match="2 ids but 1 logprobs in 'u1'"):
        trajectory.append_model([1, 2], [-0.1])
    with pytest.raises(ValueError, match="returned 2 ids but 0 logprobs; ask the engine"):
        Generation([1, 2], [])
    assert len(trajectory.response_ids) == 6


def test_only_infrastructure_is_not_the_models_fault():
    blameless = {reason for reason in StopReason if reason.is_infrastructure}
    assert blameless == {
        StopReason.RETRIEVER_FAILED,
        StopReason.TOOL_FAILED,
        StopReason.ABORTED,
    }


def test_a_dump_is_plain_json_with_the_documented_keys(trajectory):
    trajectory.reward = {"total": 1.0, "em": 1.0}
    record = json.loads(json.dumps(trajectory.to_json()))
    assert {
        *("uid", "step", "question", "gold_answers", "prediction", "prompt_ids", "response_ids"),
        *("response_mask", "response_logprobs", "turns", "stop_reason", "reward"),
    } <= record.keys()
    turn = record["turns"][0]
    assert {
        "model_text",
        "call",
        "observation_text",
        "stop_reason",
        "generate_s",
        "tool_s",
    } <= turn.keys()
    assert turn["call"] == {"name": "search", "arguments": {"query": "q"}}
    assert (turn["stop_reason"], record["stop_reason"]) == ("stop", "no_action")
    assert record["gold_answers"] == ["a", "é"]


def test_a_dump_holds_plain_strings_for_every_reason(trajectory):
    record = trajectory.to_json()
    reasons = [record["stop_reason"], *(turn["stop_reason"] for turn in record["turns"])]
    assert [(type(reason), reason) for reason in reasons] == [
        (str, "no_action"),
        (str, "stop"),
        (str, "eos"),
    ]


def test_an_unfinished_trajectory_can_be_dumped():
    assert Trajectory("u", "q", [], [1]).to_json()["stop_reason"] is None


def test_a_dump_does_not_share_lists_with_the_trajectory(trajectory):
    record = trajectory.to_json()
    trajectory.append_model([11], [-1.0])
    assert len(record["response_ids"]) == 6


def test_digest_is_sha256_of_little_endian_32_bit_integers():
    ids = [0, 1, 256, 151_643, 2**31 - 1]
    assert digest(ids) == hashlib.sha256(struct.pack("<5i", *ids)).hexdigest()[:16]
    assert digest([]) == "e3b0c44298fc1c14"
    assert digest([1, 2]) != digest([2, 1])
