"""Live progress on the terminal, read from the files a run writes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from search_r1.launch import runs
from search_r1.launch.evaluations import evaluation_path, read_scores

Metrics = dict[str, Any]
_MINUTE_S = 60


def say(message: str) -> None:
    """Print one line at once."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


class Progress:
    """Prints a line for each new line of a run's metrics file.

    Args:
        run_dir: Folder of the run.
        total_steps: Steps the run is meant to have, if known.
    """

    def __init__(self, run_dir: Path, total_steps: int | None) -> None:
        self._run_dir = run_dir
        self._path = run_dir / runs.METRICS
        self._total_steps = total_steps
        self._offset = self._path.stat().st_size if self._path.exists() else 0
        self._step_s: list[float] = []
        self.first_line_at: float | None = None

    def update(self) -> bool:
        """Print what is new, and tell whether anything was; half a line waits for the next call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read()
        except OSError:
            return False
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self.first_line_at = self.first_line_at or time.monotonic()
            say(self.describe(json.loads(line)))
        return bool(whole)

    def describe(self, metrics: Metrics) -> str:
        """Put one line of metrics into plain words."""
        step = int(metrics["step"])
        parts = [f"step {step}" + (f" of {self._total_steps}" if self._total_steps else "")]
        parts += [text.format(metrics[key]) for key, text in _WORDS.items() if key in metrics]
        if "timing_s/step" in metrics:
            self._step_s.append(metrics["timing_s/step"])
            parts.append(self._time(step, metrics))
        em = evaluation_em(self._run_dir, step)
        if em is not None:
            parts.append(f"held-out EM {100 * em[0]:.1f} % of {em[1]} questions")
        return "  " + ", ".join(parts)

    def _time(self, step: int, metrics: Metrics) -> str:
        text = f"{metrics['timing_s/step']:.0f} s"
        if self._total_steps and step < self._total_steps:
            left_s = (self._total_steps - step) * sum(self._step_s) / len(self._step_s)
            text += (
                f", about {left_s / _MINUTE_S:.0f} min of training left"
                if left_s >= _MINUTE_S
                else ""
            )
        return text


_WORDS = {
    "reward/em": "EM {:.2f}",
    "reward/total": "reward {:.2f}",
    "search/searches_per_trajectory": "{:.1f} searches per trajectory",
    "search/valid_turn_rate": "{:.0%} of turns valid",
}


def evaluation_em(run_dir: Path, step: int) -> tuple[float, int] | None:
    """Give EM and number of questions of the validation after a step, or None if there was none."""
    path = evaluation_path(run_dir, step)
    if not path.exists():
        return None
    scores, _ = read_scores(path)
    return (sum(scores.values()) / len(scores), len(scores)) if scores else None
