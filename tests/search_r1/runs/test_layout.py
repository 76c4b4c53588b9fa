from pathlib import Path

import pytest

from search_r1.errors import LaunchError
from search_r1.runs import layout
from search_r1.summary.records import read_metrics


def checkpoint(run_dir: Path, step: int) -> Path:
    (run_dir / "checkpoints").mkdir(parents=True)
    (run_dir / "checkpoints" / "latest_checkpointed_iteration.txt").write_text(str(step))
    return run_dir


def test_the_newest_unfinished_run_with_a_checkpoint_is_continued(tmp_path: Path) -> None:
    folder = tmp_path / "quickstart"
    checkpoint(folder / "2026-01-01_00-00-00", 5)
    wanted = checkpoint(folder / "2026-01-02_00-00-00", 10)
    finished = checkpoint(folder / "2026-01-03_00-00-00", 10)
    (finished / "summary.json").write_text("{}")
    (folder / "2026-01-04_00-00-00").mkdir()  # died before its first checkpoint
    assert layout.find_unfinished(tmp_path, "quickstart") == wanted
    assert layout.last_checkpoint(wanted) == 10
    assert layout.find_unfinished(tmp_path, "grpo_3b_8gpu") is None


def test_a_run_is_over_when_its_evaluation_is(tmp_path: Path) -> None:
    run_dir = checkpoint(tmp_path / "quickstart" / "2026-01-01_00-00-00", 10)
    (run_dir / "summary.json").write_text("{}")
    part = {"run_id": "1"}
    layout.write_notes(run_dir, part, layout.EVALUATION, estimate={"step_s": 3})
    assert layout.find_unfinished(tmp_path, "quickstart") == run_dir
    layout.write_notes(run_dir, {"run_id": "2"}, None, estimate=None)
    assert layout.find_unfinished(tmp_path, "quickstart") is None
    notes = layout.read_notes(run_dir)
    assert notes["parts"] == [part, {"run_id": "2"}]
    assert notes["estimate"] == {"step_s": 3}, "what a later part does not know is kept"


def test_a_run_somebody_works_on_is_left_alone(tmp_path: Path) -> None:
    run_dir = checkpoint(tmp_path / "quickstart" / "2026-01-01_00-00-00", 5)
    with layout.occupy(run_dir):
        assert layout.find_unfinished(tmp_path, "quickstart") is None
        with (
            pytest.raises(LaunchError, match="another launcher is working"),
            layout.occupy(run_dir),
        ):
            pass
    assert layout.find_unfinished(tmp_path, "quickstart") == run_dir


def test_new_runs_never_share_a_folder(tmp_path: Path) -> None:
    first = layout.new_run_dir(tmp_path, "quickstart")
    first.mkdir(parents=True)
    assert layout.new_run_dir(tmp_path, "quickstart") != first


def test_trajectories_after_the_checkpoint_are_set_aside(tmp_path: Path) -> None:
    for step in (5, 6):
        path = tmp_path / "trajectories" / f"step_{step:06d}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}\n")
    layout.set_abandoned_aside(tmp_path, 5)
    assert [p.name for p in (tmp_path / "trajectories").iterdir()] == ["step_000005.jsonl"]
    assert len(list((tmp_path / "abandoned").iterdir())) == 1


def test_metrics_after_the_checkpoint_and_torn_lines_are_set_aside(tmp_path: Path) -> None:
    """What a resumed run writes begins on a line of its own, and nothing later outlives it."""
    path = tmp_path / "metrics.jsonl"
    whole = "".join(f'{{"step": {step}, "reward/em": 0.5}}\n' for step in (0, 5, 6, 7))
    path.write_text(whole + '{"step": 8, "rew')
    layout.set_abandoned_aside(tmp_path, 5)
    with path.open("a") as file:  # as the logger appends
        file.write('{"step": 6, "reward/em": 1.0}\n')
    assert list(read_metrics(tmp_path)) == [0, 5, 6]
    assert read_metrics(tmp_path)[6]["reward/em"] == 1.0
    (aside,) = (tmp_path / "abandoned").iterdir()
    assert aside.read_text() == whole + '{"step": 8, "rew'


def test_a_torn_line_of_the_checkpoints_own_metrics_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 5}\n{"step": 6')
    layout.set_abandoned_aside(tmp_path, 6)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 5}\n'


def test_an_unfinished_evaluation_of_the_checkpoints_own_step_is_set_aside_too(
    tmp_path: Path,
) -> None:
    for kind in ("trajectories", "eval"):
        (tmp_path / kind).mkdir()
        for step in (0, 5):
            (tmp_path / kind / f"step_{step:06d}.jsonl").write_text("{}\n")
    layout.set_abandoned_aside(tmp_path, 5, is_evaluated=True)
    assert not (tmp_path / "abandoned").exists()
    layout.set_abandoned_aside(tmp_path, 5, is_evaluated=False)
    assert [p.name for p in (tmp_path / "eval").iterdir()] == ["step_000000.jsonl"]
    assert len(list((tmp_path / "trajectories").iterdir())) == 2
