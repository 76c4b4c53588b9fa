"""Which folder a run goes to, what of an earlier one it goes on with, and where paths lead."""

import json
from pathlib import Path

import pytest

from search_r1.launch import plan


def make(tmp_path: Path, *overrides: str) -> plan.Plan:
    return plan.make_plan("grpo_3b_8gpu", overrides, tmp_path)


@pytest.mark.slow
def test_a_plain_start_is_a_new_run_and_resuming_is_explicit(tmp_path: Path) -> None:
    old = tmp_path / "grpo_3b_8gpu" / "2026-01-01_00-00-00"
    (old / "checkpoints").mkdir(parents=True)
    (old / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("100")
    earlier = ["trainer.total_training_steps=200", "actor_rollout_ref.rollout.n=8"]
    (old / "launch.json").write_text(json.dumps({"overrides": earlier}))
    fresh = make(tmp_path)
    assert fresh.run_dir != str(old)
    assert fresh.config["trainer"]["resume_mode"] == "disable"
    resumed = make(tmp_path, "trainer.resume_mode=auto", "trainer.total_training_steps=300")
    assert (resumed.run_dir, resumed.resumed_step, resumed.is_trained) == (str(old), 100, False)
    assert resumed.config["trainer"]["default_local_dir"] == str(old / "checkpoints")
    assert resumed.config["trainer"]["total_training_steps"] == 300, "the later override counts"
    assert resumed.config["actor_rollout_ref"]["rollout"]["n"] == 8, "the earlier one is kept"


@pytest.mark.slow
def test_a_run_whose_evaluation_alone_is_left_trains_no_more_unless_it_is_asked_to(
    tmp_path: Path,
) -> None:
    old = tmp_path / "grpo_3b_8gpu" / "2026-01-01_00-00-00"
    (old / "checkpoints").mkdir(parents=True)
    (old / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("500")
    (old / "summary.json").write_text("{}")
    (old / "launch.json").write_text(json.dumps({"overrides": [], "unfinished": "evaluation"}))
    resumed = make(tmp_path, "trainer.resume_mode=auto")
    assert (resumed.run_dir, resumed.is_trained) == (str(old), True)
    more = make(tmp_path, "trainer.resume_mode=auto", "trainer.total_training_steps=600")
    assert (more.run_dir, more.is_trained) == (str(old), False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "metrics", "overrides", "is_evaluated_again"),
    [
        (50, "", [], True),
        (50, '{"step": 50, "timing_s/step": 1.0, "val-core/nq/acc/mean@1": 0.3}', [], False),
        (50, '{"step": 50, "timing_s/step": 1.0}', [], True),
        (40, "", [], False),
        (60, "", ["trainer.total_training_steps=60"], True),
        (50, "", ["trainer.test_freq=-1"], False),
        (50, "", ["trainer.val_before_train=false"], False),
        (40, "", ["trainer.val_before_train=true"], True),
    ],
)
def test_a_resumed_run_does_the_evaluation_its_checkpoint_lacks(
    tmp_path: Path, step: int, metrics: str, overrides: list[str], is_evaluated_again: bool
) -> None:
    old = tmp_path / "grpo_3b_8gpu" / "2026-01-01_00-00-00"
    (old / "checkpoints").mkdir(parents=True)
    (old / "checkpoints" / "latest_checkpointed_iteration.txt").write_text(str(step))
    if metrics:
        (old / "metrics.jsonl").write_text(metrics + "\n")
    resumed = make(tmp_path, "trainer.resume_mode=auto", *overrides)
    assert resumed.resumed_step == step
    assert resumed.config["trainer"]["val_before_train"] == is_evaluated_again


@pytest.mark.slow
def test_relative_paths_are_taken_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "rows.py", "global_step_5"):
        (tmp_path / name).touch()
    paths = [
        "reward.custom_reward_function.path=mine.py",
        "data.custom_cls.path=rows.py",
        "trainer.resume_from_path=global_step_5",
    ]
    config = make(tmp_path, *paths).config
    assert config["reward"]["custom_reward_function"]["path"] == str(tmp_path / "mine.py")
    assert config["data"]["custom_cls"]["path"] == str(tmp_path / "rows.py")
    assert config["trainer"]["resume_from_path"] == str(tmp_path / "global_step_5")
    package = "pkg://search_r1.verl_plugin.reward"
    config = make(tmp_path, f"reward.custom_reward_function.path={package}").config
    assert config["reward"]["custom_reward_function"]["path"] == package


@pytest.mark.slow
def test_artifacts_may_live_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_R1_ARTIFACTS", "/somewhere")
    config = make(tmp_path).config
    assert config["data"]["train_files"][0] == "/somewhere/questions/nq/train.parquet"
    assert config["actor_rollout_ref"]["model"]["path"] == "Qwen/Qwen2.5-3B", "a hub name stays"
