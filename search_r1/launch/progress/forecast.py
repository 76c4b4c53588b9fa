"""How long is left: from what the run has measured itself, and before that from the probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_r1.runs.progress import Progress

_LEAST_SHARE = 0.1  # of a stage that must be done before its own rate says anything


def rest_s(progress: Progress, now: float, expected_s: float | None) -> float | None:
    """Estimate what is left of a stage.

    Trajectories of a batch run side by side and mostly end late, so the rate so far counts as much
    as is done, and what was expected counts for the rest.

    Args:
        progress: How far the stage is.
        now: Seconds since the epoch.
        expected_s: What the whole stage was expected to take, if known.

    Returns:
        Seconds; None when nothing is known.
    """
    passed_s = max(0.0, now - progress.began_at)
    share = min(1.0, progress.done / progress.total) if progress.total else 0.0
    by_rate = passed_s * (1 - share) / share if share else None
    if expected_s is None:
        return by_rate if share >= _LEAST_SHARE else None
    by_expectation = max(0.0, expected_s - passed_s)
    if by_rate is None:
        return by_expectation
    return share * by_rate + (1 - share) * by_expectation


@dataclass(slots=True)
class StageForecast:
    """What is left while a stage of the launcher runs that is one thing, or a few alike."""

    expected_s: float | None = None
    """What it was expected to take."""
    after_s: float | None = 0.0
    """What follows it; with None nothing is said of how long is left."""

    def left_s(self, progress: Progress | None, now: float, began_at: float) -> float | None:
        """Give the seconds to the end of the run, or None when nothing is known."""
        if self.after_s is None:
            return None
        if progress is None:
            waiting_s = max(0.0, (self.expected_s or 0.0) - (now - began_at))
            return None if self.expected_s is None else waiting_s + self.after_s
        parts = progress.steps or 1  # a stage that counts steps repeats itself
        part_s = None if self.expected_s is None else self.expected_s / parts
        rest = rest_s(progress, now, part_s)
        if rest is None:
            return None
        whole_s = now - progress.began_at + rest
        return rest + (parts - (progress.step or parts)) * whole_s + self.after_s

    def starting_s(self, progress: Progress | None) -> float | None:
        """Give nothing: a start is a small part of such a stage."""
        return None


@dataclass(slots=True)
class TrainingForecast:
    """What is left while reinforcement learning runs."""

    steps: int | None
    """Steps the run is meant to have."""
    evaluated: frozenset[int]
    """Steps after which the held-out questions are asked; 0 is before the first."""
    resumed_step: int = 0
    """Step the run goes on from."""
    start_s: float | None = None
    """Start of Ray, engine and trainer."""
    step_s: float | None = None
    """One step."""
    evaluation_s: float | None = None
    """One evaluation."""
    after_s: float | None = 0.0
    """What follows training; with None nothing is said of how long is left."""
    _step_began_at: float = 0.0
    _evaluation: tuple[int, float] | None = None
    _steps_s: tuple[float, ...] = ()
    _step: int = field(init=False)

    def __post_init__(self) -> None:
        self._step = self.resumed_step

    def left_s(self, progress: Progress | None, now: float, began_at: float) -> float | None:
        """Give the seconds to the end of the run, or None when nothing is known."""
        if progress is not None:
            self._observe(progress)
        if self.steps is None or self.step_s is None or self.after_s is None:
            return None
        if progress is None or progress.stage == "start":
            rest, step, due = self._starting_s(now, began_at), self._step, self.evaluated
        elif progress.stage == "evaluate":
            rest, step = rest_s(progress, now, self.evaluation_s) or 0.0, progress.step or 0
            due = frozenset(number for number in self.evaluated if number > step)
        else:
            rest, step = self._step_rest_s(progress, now), progress.step or self._step
            due = frozenset(number for number in self.evaluated if number >= step)
        evaluations_s = len(due) * (self.evaluation_s or 0.0)
        return rest + max(0, self.steps - step) * self.step_s + evaluations_s + self.after_s

    def starting_s(self, progress: Progress | None) -> float | None:
        """Give what the start takes in all; None once it is over, or when nothing is known."""
        return self.start_s if progress is None or progress.stage == "start" else None

    def measure(self, metrics: Mapping[str, Any]) -> None:
        """Learn from a line of metrics; the first step, which warms up, counts until others do."""
        if "timing_s/step" not in metrics:
            return
        self._steps_s += (float(metrics["timing_s/step"]),)
        counted = self._steps_s[1:] or self._steps_s
        self.step_s = sum(counted) / len(counted)
        if "timing_s/testing" in metrics:
            self.evaluation_s = float(metrics["timing_s/testing"])

    def _observe(self, progress: Progress) -> None:
        """Note when a step or an evaluation began, and how long a past evaluation took."""
        if progress.stage == "evaluate":
            self._evaluation = (progress.step or 0, progress.began_at)
        elif self._evaluation is not None:
            self.evaluation_s = max(1.0, progress.began_at - self._evaluation[1])
            self._evaluation = None
        if progress.stage == "rollout" and progress.step and progress.step != self._step:
            self._step, self._step_began_at = progress.step, progress.began_at

    def _starting_s(self, now: float, began_at: float) -> float:
        return max(0.0, (self.start_s or 0.0) - (now - began_at))

    def _step_rest_s(self, progress: Progress, now: float) -> float:
        of_step = max(0.0, (self.step_s or 0.0) - (now - self._step_began_at))
        return max(of_step, rest_s(progress, now, None) or 0.0)


def evaluated_steps(trainer: Mapping[str, Any], first: int = 0) -> frozenset[int]:
    """Give the steps after which verl evaluates.

    Args:
        trainer: The config's section.
        first: Step that a resumed run goes on from; an evaluation there is the one before training.
    """
    before = {first} if trainer.get("val_before_train", True) else set()
    steps, every = trainer.get("total_training_steps"), trainer.get("test_freq") or -1
    if not steps or every <= 0:
        return frozenset(before)
    return frozenset(
        before | {s for s in range(first + 1, steps + 1) if s % every == 0 or s == steps}
    )
