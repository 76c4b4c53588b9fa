import pytest

from search_r1.metrics import searches_of, trajectory_metrics
from search_r1.tools.base import OutcomeStatus
from search_r1.types import CallRecord, FinishReason, StopReason, ToolCall, Trajectory, Turn

CALL = ToolCall("search", {"query": "q"})


def turn(num_ids, stop=FinishReason.STOP, observation=0, status=OutcomeStatus.OK, **fields):
    calls = []
    if "call" in fields:
        calls = [CallRecord("search", {"query": "q"}, status.value, fields["tool_s"], True)]
    return Turn("x", 0, num_ids, stop, 0.1, num_observation_ids=observation, calls=calls, **fields)


def record(stop_reason, logprobs, mask, turns, **reward):
    trajectory = Trajectory(
        "u", "q", ["g"], [1], turns=turns, stop_reason=stop_reason, reward=reward
    )
    trajectory.metadata["retriever_retries"] = 3
    trajectory.response_ids = list(range(len(mask)))
    trajectory.response_mask, trajectory.response_logprobs = mask, logprobs
    return trajectory.to_json()


@pytest.fixture
def batch():
    """Two searches and an answer; an answer after a nudge; a turn cut short; one that was lost."""
    searched = [
        turn(
            2,
            observation=3,
            call=CALL,
            well_formed=True,
            overrun=True,
            observation_truncated=True,
            tool_s=0.2,
        ),
        turn(1, observation=1, call=CALL, well_formed=True, tool_s=0.4),
        turn(1, well_formed=True),
    ]
    nudged = [
        turn(1, FinishReason.EOS, observation=2, error="e", is_malformed_call=True),
        turn(1, well_formed=True),
    ]
    cut = [turn(4, FinishReason.LENGTH, error="e")]
    lost = [
        turn(1, observation=5, call=CALL, well_formed=True, tool_s=0.6),
        turn(1, call=CALL, well_formed=True, tool_s=2.0, status=OutcomeStatus.FAILED),
    ]
    return [
        record(
            StopReason.ANSWER,
            [-1.0, -1.0, 0, 0, 0, -1.0, 0, -1.0],
            [1, 1, 0, 0, 0, 1, 0, 1],
            searched,
            total=1.0,
            em=1.0,
        ),
        record(StopReason.ANSWER, [-2.0, 0, 0, -2.0], [1, 0, 0, 1], nudged, total=0.5, em=0.0),
        record(
            StopReason.NO_ACTION, [-3.0, -3.0, -3.0, -3.0], [1, 1, 1, 1], cut, total=0.0, em=0.0
        ),
        record(StopReason.RETRIEVER_FAILED, [-9.0, 0, -9.0], [1, 0, 1], lost, total=0.0, em=0.0),
    ]


def test_a_batch_worked_by_hand(batch):
    metrics = trajectory_metrics(batch)
    expected = {
        "search/stop/answer": 2 / 4,
        "search/stop/no_action": 1 / 4,
        "search/stop/search_limit": 0,
        "search/stop/response_length": 0,
        "search/stop/retriever_failed": 1 / 4,
        "search/stop/aborted": 0,
        "retriever/failure_rate": 1 / 4,
        "search/stop/tool_failed": 0,
        "tools/calls_per_trajectory": 4 / 4,
        "tools/outcome/ok": 3 / 4,
        "tools/outcome/failed": 1 / 4,
        "tools/outcome/timeout": 0,
        "tools/outcome/unknown_tool": 0,
        "tools/outcome/bad_arguments": 0,
        "tools/outcome/call_limit": 0,
        "tools/outcome/tool_error": 0,
        "tools/search/calls": 4,
        "tools/search/latency_mean_s": (0.2 + 0.4 + 0.6 + 2.0) / 4,
        "tools/search/latency_max_s": 2.0,
        "search/searches_per_trajectory": 2 / 3,
        "search/no_search_rate": 2 / 3,
        "retriever/retries_total": 3,
        "search/valid_call_rate": 2 / 3,
        "search/valid_turn_rate": 4 / 6,
        "search/turns_per_trajectory": 6 / 3,
        "search/overrun_rate": 1 / 6,
        "search/turn_truncated_rate": 1 / 6,
        "search/model_tokens": (4 + 2 + 4) / 3,
        "search/observation_tokens": (4 + 2 + 0) / 3,
        "search/observation_truncated_rate": 1 / 2,
        "search/sampled_entropy_nats": (4 * 1 + 2 * 2 + 4 * 3) / 10,
        "reward/total": 1.5 / 3,
        "reward/em": 1 / 3,
    }
    assert metrics == pytest.approx(expected)


def test_a_lost_trajectory_says_nothing_about_the_model(batch):
    with_it, without_it = trajectory_metrics(batch), trajectory_metrics(batch[:3])
    behaviour = [
        name
        for name in without_it
        if name.startswith(("search/", "reward/")) and "/stop/" not in name
    ]
    assert len(behaviour) > 10
    for name in behaviour:
        assert with_it[name] == without_it[name]


def test_a_batch_of_failures_reports_only_the_failures(batch):
    metrics = trajectory_metrics(batch[3:])
    assert metrics["retriever/failure_rate"] == 1.0
    assert not any(name.startswith("reward/") for name in metrics)


def test_without_a_call_there_is_no_latency(batch):
    assert not any("latency" in name for name in trajectory_metrics(batch[1:3]))


def test_the_order_of_trajectories_does_not_matter(batch):
    assert trajectory_metrics(batch) == pytest.approx(trajectory_metrics(batch[::-1]))


def test_no_trajectory_at_all_is_refused():
    with pytest.raises(ValueError, match="got no trajectory; pass at least one"):
        trajectory_metrics([])


def test_the_loops_own_records_are_read(byte_codec, rollout):
    trajectory, _, _ = rollout(byte_codec, ["<search>a</search>", "<answer>b</answer>"])
    trajectory.reward = {"total": 0.0}
    metrics = trajectory_metrics([trajectory.to_json()])
    assert metrics["search/searches_per_trajectory"] == 1
    assert metrics["search/sampled_entropy_nats"] == 0.5  # every scripted logprob is -0.5
    assert metrics["search/model_tokens"] == len("<search>a</search><answer>b</answer>")


def test_known_and_unknown_questions_are_told_apart():
    def asked(knowledge, em, searches):
        turns = [turn(1, observation=2, call=CALL, well_formed=True, tool_s=0.1)] * searches
        made = record(StopReason.ANSWER, [-1.0], [1], [*turns, turn(1)], em=em)
        made["metadata"]["knowledge"] = knowledge
        return made

    batch = [asked("known", 1.0, 0), asked("known", 0.0, 2), asked("known", 1.0, 0)]
    batch += [asked("unknown", 1.0, 1), asked("", 0.0, 1)]
    metrics = trajectory_metrics(batch)
    assert metrics["knowledge/known/searched"] == pytest.approx(1 / 3)
    assert metrics["knowledge/known/em"] == pytest.approx(2 / 3)
    assert metrics["knowledge/unknown/searched"] == 1.0
    assert metrics["knowledge/unknown/em"] == 1.0
    assert metrics["search/searches_per_trajectory"] == pytest.approx(4 / 5)
    assert not any(name.startswith("knowledge/") for name in trajectory_metrics(batch[-1:]))


def test_a_search_counts_when_it_was_answered_and_read():
    read = turn(1, observation=2, call=CALL, tool_s=0.1)
    unread = turn(1, call=CALL, tool_s=0.1)
    failed = turn(1, observation=2, call=CALL, tool_s=0.1, status=OutcomeStatus.FAILED)
    made = record(StopReason.ANSWER, [-1.0], [1], [read, read, unread, failed])
    assert searches_of(made) == 2
