import json
import os
import subprocess
import sys
from pathlib import Path

from search_r1.runs.progress import FOLDER, ProgressFile, read_progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def write_state(run_dir: Path, name: str, **state: object) -> None:
    folder = run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"step": None, "counts": {}} | state))


def test_a_report_is_read_back(tmp_path: Path) -> None:
    ProgressFile(tmp_path, "trainer", Clock()).report("rollout", 3, 48, step=2, steps=8, searches=4)
    state = read_progress(tmp_path)
    assert state is not None
    assert (state.stage, state.done, state.total) == ("rollout", 3, 48)
    assert (state.step, state.steps, state.counts) == (2, 8, {"searches": 4})
    assert state.began_at == state.written_at == 1000.0
    assert [p.name for p in (tmp_path / FOLDER).iterdir()] == [f"trainer-{os.getpid()}.json"]


def test_reports_in_quick_succession_are_dropped_unless_they_matter(tmp_path: Path) -> None:
    clock = Clock()
    file = ProgressFile(tmp_path, "agent", clock)

    def seen(done: int, total: int = 10, stage: str = "rollout", is_forced: bool = False) -> int:
        file.report(stage, done, total, is_forced=is_forced)
        state = read_progress(tmp_path)
        assert state is not None
        return state.done

    assert seen(1) == 1
    clock.now += 0.4
    assert seen(2) == 1  # too soon
    clock.now += 0.2
    assert seen(3) == 3
    assert seen(4, is_forced=True) == 4
    assert seen(10) == 10  # all of it
    assert seen(0, stage="update") == 0  # another stage


def test_a_stage_keeps_the_time_it_began(tmp_path: Path) -> None:
    clock = Clock()
    file = ProgressFile(tmp_path, "agent", clock)
    file.report("update", 1, 4, step=1)
    clock.now += 30
    file.report("update", 2, 4, step=1)
    state = read_progress(tmp_path)
    assert state is not None
    assert (state.began_at, state.written_at) == (1000.0, 1030.0)


def test_processes_of_the_same_stage_and_step_are_added_up(tmp_path: Path) -> None:
    write_state(
        tmp_path, "trainer-1", stage="rollout", done=0, total=48, step=3, steps=8,
        began_at=10.0, written_at=10.0,
    )  # fmt: skip
    for number, (done, searches) in enumerate(((5, 7), (6, 2))):
        write_state(
            tmp_path, f"agent-{number}", stage="rollout", done=done, total=0, step=3,
            counts={"searches": searches}, began_at=11.0, written_at=20.0 + number,
        )  # fmt: skip
    write_state(
        tmp_path, "agent-9", stage="rollout", done=48, total=0, step=2,
        counts={"searches": 99}, began_at=1.0, written_at=9.0,
    )  # fmt: skip
    state = read_progress(tmp_path)
    assert state is not None
    assert (state.done, state.total, state.step, state.steps) == (11, 48, 3, 8)
    assert state.counts == {"searches": 9}
    assert (state.began_at, state.written_at) == (10.0, 21.0)


def test_the_newest_stage_counts(tmp_path: Path) -> None:
    write_state(tmp_path, "a-1", stage="rollout", done=9, total=9, began_at=1, written_at=5)
    write_state(tmp_path, "b-2", stage="update", done=1, total=4, began_at=6, written_at=6)
    state = read_progress(tmp_path)
    assert state is not None
    assert (state.stage, state.done) == ("update", 1)


def test_torn_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "torn-1.json").write_text('{"stage": "roll')
    (folder / "empty-2.json").write_text("")
    (folder / "list-3.json").write_text("[1]")
    (folder / "other-4.json").write_text('{"phase": "rollout"}')
    (folder / "half-5.partial").write_text("{")
    assert read_progress(tmp_path) is None
    ProgressFile(tmp_path, "trainer").report("update", 1, 4)
    state = read_progress(tmp_path)
    assert state is not None
    assert state.stage == "update"


def test_a_disk_that_takes_nothing_does_not_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    ProgressFile(tmp_path, "trainer").report("update", 1, 4)
    ProgressFile(None, "trainer").report("update", 1, 4)
    assert read_progress(tmp_path) is None


def test_what_an_earlier_process_reported_is_passed_over(tmp_path: Path) -> None:
    write_state(tmp_path, "a-1", stage="update", done=4, total=4, began_at=1, written_at=5)
    assert read_progress(tmp_path, since=6) is None
    write_state(tmp_path, "b-2", stage="update", done=1, total=4, began_at=7, written_at=7)
    state = read_progress(tmp_path, since=6)
    assert state is not None
    assert (state.done, state.began_at) == (1, 7)


def test_reading_and_writing_needs_no_engine() -> None:
    code = (
        "import sys, search_r1.runs.progress; "
        "print([n for n in ('torch', 'verl', 'vllm', 'ray') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
