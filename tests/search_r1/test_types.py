import hashlib
import json
import struct

import pytest

from search_r1.types import (
    CallRecord,
    FinishReason,
    Generation,
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
