"""What the trainer does with a batch's trajectories; verl's queue holds what a test puts there."""

from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from search_r1.verl_plugin import trainer
from tests.run_readers import read_lines

KEPT = {"uid": "a_0", "stop_reason": "answer", "reward": {"total": 1.0}, "metadata": {}}
LOST = KEPT | {"uid": "b_0", "stop_reason": "retriever_failed", "reward": {"total": 0.0}}
LOST["metadata"] = {"retriever_error": "it is down"}


@pytest.fixture
def recorder(tmp_path):
    trainer_class = trainer.recording_trainer("sync")
    made = trainer_class.__new__(trainer_class)
    made.reward_loop_manager = SimpleNamespace(reward_loop_worker_handles=None)
    made.global_steps, made._run_dir, made._records = 4, tmp_path, []
    return made


@pytest.fixture
def record(recorder, monkeypatch):
    """Have a recorder see a batch of these trajectories."""

    def see(*records, partition_id="train"):
        fields = {"extra_fields": [{"trajectory": dict(each)} for each in records]}
        monkeypatch.setattr(trainer.tq, "kv_batch_get", lambda **_: fields)
        recorder._record(SimpleNamespace(keys=[], partition_id=partition_id))

    return see


def test_a_step_whose_trajectories_were_all_lost_ends_the_run(record, tmp_path):
    with pytest.raises(RuntimeError, match=r"all 2 trajectories .* because it is down\. Mend that"):
        record(LOST, LOST)
    assert not (tmp_path / "trajectories").exists()


def test_a_step_goes_on_with_what_was_not_lost(recorder, record, tmp_path):
    record(LOST, KEPT)
    assert recorder._records == [KEPT, LOST]
    assert read_lines(tmp_path / "trajectories" / "step_000004.jsonl") == [KEPT, LOST]


def test_a_validation_may_lose_all_and_is_no_part_of_the_step(recorder, record, tmp_path):
    record(LOST, partition_id="val")
    assert recorder._records == []
    assert read_lines(tmp_path / "eval" / "step_000004.jsonl") == [LOST]


def test_a_validation_leaves_out_what_infrastructure_ended(recorder):
    """As the summary does; verl's own average counts a missing score as 0."""
    uids = ["a", "b", "c", "d"]
    scores = {
        "reward": [1.0, 0.0, 1.0, 0.0],
        "acc": [1.0, 0.0, 1.0, 0.0],
        "lost": [0.0, 0.0, 0.0, 1.0],
    }
    expected = {("nq", uid): 1 for uid in uids}
    averaged = recorder._val_metrics_update(
        ["nq"] * 4, uids, scores, [2] * 4, expected_acc_counts=expected
    )
    assert averaged["val-core/nq/acc/mean@1"] == pytest.approx(2 / 3)
    assert averaged["val-aux/nq/reward/mean@1"] == pytest.approx(2 / 3)
    assert averaged["val-aux/nq/lost/mean@1"] == 0.25


@pytest.mark.parametrize(("mode", "most_s"), [("sync", 0.5), ("separate_async", 2.0)])
def test_a_synchronous_step_goes_on_soon_after_its_last_trajectory(
    monkeypatch, tmp_path, mode, most_s
):
    """verl's asynchronous trainers read the interval as what counts as having waited."""

    def build(self, config):
        self.replay_buffer = SimpleNamespace(poll_interval=2.0)

    monkeypatch.setattr(trainer.PPOTrainer, "__init__", build)
    monkeypatch.setattr(trainer.TrajectoryRecorder, "__abstractmethods__", frozenset())
    config = OmegaConf.create(
        {"trainer": {"v1": {"trainer_mode": mode}}, "search_r1": {"run_dir": str(tmp_path)}}
    )
    made = trainer.TrajectoryRecorder(config)
    assert made.replay_buffer.poll_interval <= most_s
    assert (made.replay_buffer.poll_interval == 2.0) == (mode != "sync")
