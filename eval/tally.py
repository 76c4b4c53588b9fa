"""How far an evaluation is: for a run's launcher as a file, for a person as a line that moves."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from search_r1.metrics import INFRASTRUCTURE
from search_r1.runs.progress import ProgressFile
from search_r1.statistics import wilson_interval
from search_r1.types import Trajectory

_LINE_EVERY_S = 10.0  # where there is no terminal


class Tally:
    """Counts trajectories over all models and methods, and tells who waits.

    Args:
        total: Trajectories there will be.
        report: File that a run's launcher reads; with one, nothing is printed.
    """

    def __init__(self, total: int, report: ProgressFile | None = None) -> None:
        self._total, self._report = total, report
        self._done = self._searches = self._right = self._sound = 0
        self._line_at = self._began_at = time.monotonic()
        self._is_terminal = sys.stderr.isatty()
        self._bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=report is not None or not self._is_terminal,
        )
        self._task = self._bar.add_task("", total=total, words="")
        self._tell()

    def begin(self, words: str) -> None:
        """Say what is done from now on; EM is counted anew."""
        self._right = self._sound = 0
        self._bar.start()
        self._bar.update(self._task, description=words)
        if self._report is None and not self._is_terminal:
            sys.stderr.write(f"  {words}\n")

    def add(self, trajectory: Trajectory) -> None:
        """Count a trajectory that ended."""
        self._done += 1
        self._searches += trajectory.num_searches
        if trajectory.stop_reason not in INFRASTRUCTURE:
            self._sound += 1
            self._right += trajectory.reward["em"] > 0
        self._tell()

    def close(self) -> None:
        """Give the terminal back."""
        self._bar.stop()

    def _tell(self) -> None:
        if self._report is not None:
            self._report.report("evaluate", self._done, self._total, searches=self._searches)
            return
        self._bar.update(self._task, completed=self._done, words=self._words())
        is_time = time.monotonic() - self._line_at >= _LINE_EVERY_S
        if not self._is_terminal and self._done and (is_time or self._done == self._total):
            self._line_at = time.monotonic()
            sys.stderr.write(f"  {self._done} of {self._total}, {self._words()}{self._left()}\n")

    def _left(self) -> str:
        """Say how long the rest takes at the pace so far, where there is a rest."""
        left_s = (time.monotonic() - self._began_at) / self._done * (self._total - self._done)
        return f", about {max(1, round(left_s / 60))} min left" if left_s else ""

    def _words(self) -> str:
        if not self._sound:
            return ""
        low, high = wilson_interval(self._right / self._sound, self._sound)
        return f"EM {self._right / self._sound:.1%} ({low:.1%} to {high:.1%})"
