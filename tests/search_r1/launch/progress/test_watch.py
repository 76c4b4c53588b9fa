"""What a person who waits sees: on a terminal (a real one, a pty), and anywhere else."""

import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_r1.launch.progress import screen as screen_module
from search_r1.launch.progress import watch as progress_module
from search_r1.launch.progress.forecast import StageForecast
from search_r1.launch.progress.screen import Screen, wait_shown
from search_r1.launch.progress.watch import StepLines, describe, left_text, watch
from search_r1.runs.progress import Progress, ProgressFile

NOW = 1_000_000.0


def state(stage: str, done: int = 0, total: int = 0, **rest: object) -> Progress:
    values = {"began_at": NOW, "written_at": NOW} | rest
    return Progress(stage, done, total, **values)  # type: ignore[arg-type]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal:
    """A pseudo-terminal, and what was written to it."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        self.stream = os.fdopen(self._slave, "w")

    def read(self) -> str:
        self.stream.flush()
        raw = b""
        while select.select([self._master], [], [], 0.1)[0]:
            raw += os.read(self._master, 65536)
        return raw.decode().replace("\r\n", "\n")

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    opened = Terminal()
    yield opened
    opened.close()


def seen(raw: str) -> list[str]:
    """Play what a terminal was sent: the lines it shows in the end."""
    lines = [""]
    for piece in re.split(r"(\n|\r\x1b\[K)", raw):
        if piece == "\n":
            lines.append("")
        elif piece == "\r\x1b[K":
            lines[-1] = ""
        else:
            lines[-1] += piece
    return lines


def test_a_terminal_shows_one_live_line_below_the_lines_that_stay(terminal: Terminal) -> None:
    screen = Screen(terminal.stream)
    screen.say("Training ...")
    screen.show("  step 1: rollout, 1 of 48", "a")
    screen.show("  step 1: rollout, 2 of 48", "b")
    screen.say("  step 1 of 8, EM 0.25")
    screen.show("  step 2: rollout, 0 of 48", "c")
    first = terminal.read()
    assert seen(first) == ["Training ...", "  step 1 of 8, EM 0.25", "  step 2: rollout, 0 of 48"]
    screen.show("  step 2: rollout, 0 of 48", "c")
    screen.clear()
    assert terminal.read() == "\r\x1b[K", "a line that says the same is not written again"


def test_a_live_line_never_wraps(terminal: Terminal) -> None:
    screen = Screen(terminal.stream)
    screen.show("x" * 500, "x")
    assert len(terminal.read()) < 100


def test_elsewhere_a_line_comes_at_most_every_ten_seconds_and_only_with_news() -> None:
    stream, clock = io.StringIO(), Clock()
    screen = Screen(stream, clock)
    for second in range(41):
        clock.now = float(second)
        done = min(second, 20)  # nothing happens after 20 seconds
        screen.show(f"{done} done ({second} s)", done)
    screen.say("a step")
    screen.clear()
    assert stream.getvalue() == "0 done (0 s)\n10 done (10 s)\n20 done (20 s)\na step\n"


def test_a_dumb_terminal_gets_plain_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen(terminal.stream)
    screen.show("evaluation, 1 of 96", 1)
    assert terminal.read() == "evaluation, 1 of 96\n"


@pytest.mark.parametrize(
    ("progress", "left_s", "line"),
    [
        (None, 240.0, "  starting Ray, about 4 min left (1:05)"),
        (
            state("rollout", 31, 48, step=3, steps=8, counts={"turns": 60, "searches": 22}),
            540.0,
            "  step 3 of 8: rollout, 31 of 48 trajectories, 22 searches, about 9 min left (1:05)",
        ),
        (
            state("rollout", 0, 48, step=3, steps=8, counts={"turns": 1, "searches": 0}),
            None,
            "  step 3 of 8: rollout, 0 of 48 trajectories, 1 turn (1:05)",
        ),
        (
            state("update", 2, 6, step=3, steps=8),
            20.0,
            "  step 3 of 8: update, 2 of 6 micro-batches, less than a minute left (1:05)",
        ),
        (state("weight_sync", step=3, steps=8), None, "  step 3 of 8: weight sync (1:05)"),
        (
            state("evaluate", 40, 96, step=0, steps=8, counts={"searches": 1}),
            None,
            "  evaluation before training, 40 of 96 questions, 1 search (1:05)",
        ),
        (state("cold_start", 12, 40), None, "  cold start, 12 of 40 updates (1:05)"),
        (state("own_stage", 1, 2), None, "  own stage, 1 of 2 (1:05)"),
    ],
)
def test_what_is_done_is_put_into_one_line(
    progress: Progress | None, left_s: float | None, line: str
) -> None:
    assert describe(progress, "starting Ray", NOW + 65, NOW, left_s)[0] == line


def test_an_evaluation_of_its_own_says_of_what() -> None:
    line, _ = describe(state("evaluate", 3, 24), "evaluation of cold start", NOW + 65, NOW)
    assert line == "  evaluation of cold start, 3 of 24 questions (1:05)"


def test_a_start_counts_from_before_its_first_report() -> None:
    up = state("start", 1, 3, began_at=NOW + 40)
    line, _ = describe(up, "starting Ray", NOW + 65, NOW, 400.0, starting_s=120.0)
    assert line == "  starting, 1 of 3 parts up, about 7 min left (1:05 of about 2:00)"


def test_the_time_that_passes_is_no_news() -> None:
    rollout = state("rollout", 31, 48, step=3)
    early = describe(rollout, "", NOW + 1, NOW, 100.0)[1]
    assert describe(rollout, "", NOW + 9, NOW, 20.0)[1] == early
    assert describe(state("rollout", 32, 48, step=3), "", NOW + 9, NOW, 20.0)[1] != early


def test_what_is_left_is_said_roughly() -> None:
    assert left_text(59) == "less than a minute left"
    assert left_text(149) == "about 2 min left"


class FakeChild:
    """A child that reports as it is polled, then ends."""

    def __init__(self, run_dir: Path, polls: int) -> None:
        self._file = ProgressFile(run_dir, "worker")
        self._polls = polls
        self._done = 0

    def poll(self) -> int | None:
        if self._done == self._polls:
            return 3
        self._done += 1
        self._file.report("cold_start", self._done, self._polls, is_forced=True)
        return None


def test_a_child_is_watched_to_its_end(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "_POLL_S", 0.0)
    write_old(tmp_path)
    ticks: list[int] = []
    code = watch(
        FakeChild(tmp_path, 3),  # type: ignore[arg-type]
        tmp_path,
        "cold start",
        StageForecast(),
        lambda: ticks.append(1),
        Screen(terminal.stream),
    )
    raw = terminal.read()
    assert code == 3
    assert len(ticks) == 3
    assert "cold start, 1 of 3 updates" in raw
    assert "cold start, 3 of 3 updates" in raw
    assert "99" not in raw, "what an earlier process left is not shown"
    assert seen(raw) == [""], "nothing is left in front of an error"


def write_old(run_dir: Path) -> None:
    past = ProgressFile(run_dir, "old", lambda: time.time() - 100)
    past.report("cold_start", 99, 99)


def test_the_live_line_goes_when_the_watching_is_broken_off(
    terminal: Terminal, tmp_path: Path
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(
            FakeChild(tmp_path, 3),  # type: ignore[arg-type]
            tmp_path,
            "cold start",
            StageForecast(),
            stop,
            Screen(terminal.stream),
        )
    assert seen(terminal.read()) == [""]


def test_waiting_for_an_answer_writes_nothing_where_nobody_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen_module, "_TICK_S", 0.01)
    code = "import sys, time; time.sleep(0.1); print(sys.stdin.read().upper(), end='')"
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe)
    assert wait_shown(child, b"a preset", "composing") == (b"A PRESET", b"")
    assert capsys.readouterr().out == ""


def test_half_a_line_of_metrics_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = tmp_path / "metrics.jsonl"
    lines = StepLines(tmp_path, 8)
    assert not lines.update()
    metrics.write_text('{"step": 1, "reward/em": 0.25, "timing_s/step": 41.2}\n{"step": 2, ')
    assert lines.update()
    assert capsys.readouterr().out == "  step 1 of 8, EM 0.25, 41 s\n"
    assert not lines.update()


def test_an_alarm_stands_below_the_step_that_gave_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = '{"step": %d, "timing_s/step": 1.0, "search/no_search_rate": 1.0}\n'
    lines = StepLines(tmp_path, 8)
    (tmp_path / "metrics.jsonl").write_text("".join(line % step for step in range(1, 6)))
    assert lines.update()
    shown = capsys.readouterr().out.splitlines()
    assert [text.split()[0] for text in shown] == ["step", "step", "step", "step", "alarm:", "step"]
    assert "100% of the trajectories did not search, over 4 steps" in shown[4]


def test_a_step_that_has_no_number_for_something_is_shown_with_an_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = StepLines(tmp_path, None)
    line = '{"step": 1, "timing_s/step": 1.0, "reward/em": null, "actor/grad_norm": null}\n'
    (tmp_path / "metrics.jsonl").write_text(line)
    assert lines.update()
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "  step 1, EM nan, 1 s"
    assert shown[1].startswith("  alarm: actor/grad_norm is nan")
