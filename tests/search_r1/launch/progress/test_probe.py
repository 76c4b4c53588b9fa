"""The probe with a real, tiny model, in both compute types."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.questions import Question
from data_prep.rows import make_rows, write_rows
from search_r1.launch.progress import probe
from search_r1.runs.progress import read_progress

pytestmark = pytest.mark.slow  # imports torch


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from tests.tiny_model import save_tiny_model  # imports torch

    folder = tmp_path_factory.mktemp("probe")
    save_tiny_model(folder / "model")
    questions = [("tiny", Question(str(i), "who wrote Dracula?", ("Stoker",))) for i in range(3)]
    write_rows(make_rows(questions, "train", "search_r1"), folder / "train.parquet")
    return {
        "search_r1": {"top_k": 1, "loop": {"max_calls": 1}, "run_dir": str(folder)},
        "data": {"train_files": str(folder / "train.parquet"), "train_batch_size": 2},
        "actor_rollout_ref": {
            "model": {"path": str(folder / "model")},
            "actor": {"ppo_epochs": 1},
            "rollout": {"n": 4, "val_kwargs": {"n": 1}},
        },
        "algorithm": {"adv_estimator": "grpo"},
        "critic": {"enable": None},
        "trainer": {"total_training_steps": 2, "val_before_train": False},
    }


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_policy_is_timed_in_the_runs_compute_type(
    dtype: str,
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("_TRAIN_S", "_READ_S", "_WRITE_S"):
        monkeypatch.setattr(probe, name, 0.0)
    config["search_r1"]["compute_dtype"] = dtype
    path = Path(config["search_r1"]["run_dir"]) / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert probe.main([str(path)]) == 0
    left = json.loads((path.parent / "estimate.json").read_text())
    assert left["compute_dtype"] == dtype
    assert all(speed > 0 for speed in left["speeds_tokens_per_s"].values())
    assert list(left["parts_s"]) == ["training"]
    assert left["prompt_tokens"] > len("who wrote Dracula?"), "the whole prompt counts"
    assert capsys.readouterr().out == left["line"] + "\n"
    progress = read_progress(path.parent)
    assert progress is not None
    assert (progress.stage, progress.done, progress.total) == ("probe", 4, 4)


def test_a_wrong_command_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main([]) == 2
    assert "CONFIG.yaml" in capsys.readouterr().err
