"""What a run is doing, in words: read from the files its processes write."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Protocol

from search_r1.launch.progress.screen import SCREEN, Screen, say
from search_r1.processes.service import Service
from search_r1.runs import layout
from search_r1.runs.progress import Progress, read_progress
from search_r1.summary.alarms import Alarms
from search_r1.summary.evaluations import evaluation_path, read_scores

Metrics = dict[str, Any]
_MINUTE_S = 60
_POLL_S = 0.5


class Forecast(Protocol):
    """Tells how long is left."""

    def left_s(self, progress: Progress | None, now: float, began_at: float) -> float | None:
        """Give seconds to the end of the run, or None when nothing is known."""
        ...

    def starting_s(self, progress: Progress | None) -> float | None:
        """Give what a start takes in all; None once it is over, or when nothing is known."""
        ...


def watch(
    service: Service,
    run_dir: Path,
    name: str,
    forecast: Forecast,
    on_tick: Callable[[], None] = lambda: None,
    screen: Screen = SCREEN,
) -> int:
    """Show what a child and its children are doing until it ends.

    Args:
        service: The child, just started.
        run_dir: Where they report.
        name: What is shown until the first report, such as ``cold start``.
        forecast: How long is left.
        on_tick: Called twice a second; what it raises ends the watching.
        screen: Where it is shown.

    Returns:
        The child's exit code.
    """
    began_at = time.time()
    try:
        while (code := service.poll()) is None:
            now = time.time()
            progress = read_progress(run_dir, since=began_at)
            left_s = forecast.left_s(progress, now, began_at)
            starting_s = forecast.starting_s(progress)
            screen.show(*describe(progress, name, now, began_at, left_s, starting_s))
            on_tick()
            time.sleep(_POLL_S)
    finally:
        screen.clear()
    return code


def describe(
    progress: Progress | None,
    name: str,
    now: float,
    began_at: float,
    left_s: float | None = None,
    starting_s: float | None = None,
) -> tuple[str, Hashable]:
    """Put what is being done into one line.

    Args:
        progress: What processes reported last.
        name: What they were started for.
        now: Seconds since the epoch.
        began_at: When that was.
        left_s: Seconds to the end of the run, if known.
        starting_s: Seconds that a start which is going on takes in all, if known.

    Returns:
        The line, and the part of it that is no time.
    """
    if progress is None:
        parts, since = [name], began_at
    else:
        doing, unit = _STAGES.get(progress.stage, (progress.stage.replace("_", " "), ""))
        if progress.stage == "evaluate" and progress.step is None:
            doing = name  # which says of what
        is_start = progress.stage == "start"  # it began before anybody could report
        parts, since = [_place(progress, doing)], began_at if is_start else progress.began_at
        if progress.total:
            parts.append(f"{progress.done} of {progress.total} {unit}".rstrip())
        elif progress.done:
            parts.append(f"{progress.done} {unit}".rstrip())
        hidden = "turns" if progress.done else ""  # until a trajectory is done, turns tell more
        parts += [_counted(n, of) for of, n in progress.counts.items() if n and of != hidden]
    content = tuple(parts)
    if left_s is not None:
        parts.append(left_text(left_s))
    of = "" if starting_s is None else f" of about {_clock(starting_s)}"
    return f"  {', '.join(parts)} ({_clock(now - since)}{of})", content


def left_text(seconds: float) -> str:
    """Say how much is left, as exactly as such an estimate is."""
    if seconds < _MINUTE_S:
        return "less than a minute left"
    return f"about {seconds / _MINUTE_S:.0f} min left"


class StepLines:
    """Prints a line for each new line of a run's metrics file, and what it gives alarm for.

    Args:
        run_dir: Folder of the run.
        total_steps: Steps the run is meant to have, if known.
        on_metrics: Called with every new line.
    """

    def __init__(
        self,
        run_dir: Path,
        total_steps: int | None,
        on_metrics: Callable[[Metrics], None] = lambda metrics: None,
    ) -> None:
        self._run_dir = run_dir
        self._path = run_dir / layout.METRICS
        self._total_steps = total_steps
        self._on_metrics = on_metrics
        self._offset = self._path.stat().st_size if self._path.exists() else 0
        self._alarms = Alarms()
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
            metrics = layout.parse_metrics(line)
            self._on_metrics(metrics)
            say(self.describe(metrics))
            for alarm in self._alarms.update(metrics):
                say(f"  alarm: {alarm.text}")
        return bool(whole)

    def describe(self, metrics: Metrics) -> str:
        """Put one line of metrics into plain words."""
        step = int(metrics["step"])
        parts = [f"step {step}" + (f" of {self._total_steps}" if self._total_steps else "")]
        parts += [text.format(metrics[key]) for key, text in _WORDS.items() if key in metrics]
        em = evaluation_em(self._run_dir, step)
        if em is not None:
            parts.append(f"held-out EM {100 * em[0]:.1f} % of {em[1]} questions")
        return "  " + ", ".join(parts)


_WORDS = {
    "reward/em": "EM {:.2f}",
    "reward/total": "reward {:.2f}",
    "search/searches_per_trajectory": "{:.1f} searches per trajectory",
    "search/valid_turn_rate": "{:.0%} of turns valid",
    "timing_s/step": "{:.0f} s",
}
# What a stage is called, and what is counted in it.
_STAGES = {
    "probe": ("measuring this machine", "parts"),
    "start": ("starting", "parts up"),
    "demonstrations": ("demonstrations", ""),
    "cold_start": ("cold start", "updates"),
    "evaluate": ("evaluation", "questions"),
    "rollout": ("rollout", "trajectories"),
    "old_log_prob": ("log-probs", "micro-batches"),
    "reference": ("log-probs of the reference", "micro-batches"),
    "values": ("values", "micro-batches"),
    "update_critic": ("update of the critic", "micro-batches"),
    "update": ("update", "micro-batches"),
    "weight_sync": ("weight sync", ""),
    "checkpoint": ("checkpoint", ""),
}


def evaluation_em(run_dir: Path, step: int) -> tuple[float, int] | None:
    """Give EM and number of questions of the validation after a step, or None if there was none."""
    path = evaluation_path(run_dir, step)
    if not path.exists():
        return None
    scores, _ = read_scores(path)
    return (sum(scores.values()) / len(scores), len(scores)) if scores else None


def _place(progress: Progress, doing: str) -> str:
    """Name a stage and the step it belongs to."""
    if progress.stage == "evaluate" and progress.step == 0:
        return "evaluation before training"
    if progress.step is None:
        return doing
    of = f" of {progress.steps}" if progress.steps else ""
    return f"step {progress.step}{of}: {doing}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), _MINUTE_S)
    return f"{minutes}:{rest:02d}"


def _counted(number: float, plural: str) -> str:
    """Write a count with its word, which is a plural: ``searches``, ``turns``."""
    singular = plural.removesuffix("es") if plural.endswith("ches") else plural.removesuffix("s")
    return f"{number:g} {singular if number == 1 else plural}"
