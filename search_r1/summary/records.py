"""What a run left behind, read back: metrics by step, evaluations, and the interval of a change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search_r1.errors import LaunchError
from search_r1.runs import layout
from search_r1.statistics import bootstrap_interval, wilson_interval
from search_r1.summary.evaluations import Scores, read_scores

Metrics = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One pass over the held-out questions."""

    step: int
    em_of: Scores
    """EM by row; trajectories that infrastructure ended are left out."""
    num_failed: int
    """How many were left out."""

    @property
    def em(self) -> float:
        """Mean EM over all questions."""
        return float(np.mean(list(self.em_of.values())))

    def interval(self) -> tuple[float, float]:
        """Give the 95 % Wilson interval of the mean."""
        return wilson_interval(self.em, len(self.em_of))


@dataclass(frozen=True, slots=True)
class Change:
    """EM of the same questions at two times."""

    questions: int
    before: float
    after: float
    low: float
    """Lower end of the 95 % interval of ``after - before``."""
    high: float
    """Upper end of it."""


def read_metrics(run_dir: Path) -> dict[int, Metrics]:
    """Read the metrics of every step, in order; of a step done twice the later values win."""
    path = run_dir / layout.METRICS
    if not path.exists():
        raise LaunchError(f"{path} does not exist; the run did not get as far as its first step.")
    steps: dict[int, Metrics] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                metrics = layout.parse_metrics(line)
            except ValueError:
                continue  # the last line of a run that was killed while writing it
            steps.setdefault(int(metrics["step"]), {}).update(metrics)
    return dict(sorted(steps.items()))


def training_steps(metrics: dict[int, Metrics]) -> dict[int, Metrics]:
    """Leave out lines that only hold a validation."""
    return {step: values for step, values in metrics.items() if "timing_s/step" in values}


def has_evaluation(run_dir: Path, step: int) -> bool:
    """Tell whether the validation after a step was finished and logged."""
    if not (run_dir / layout.METRICS).exists():
        return False
    return any(key.startswith("val-core/") for key in read_metrics(run_dir).get(step, {}))


def read_evaluations(run_dir: Path) -> list[Evaluation]:
    """Read every validation that scored anything, in order of steps."""
    evaluations = []
    for path in sorted((run_dir / "eval").glob("step_*.jsonl")):
        scores, failed = read_scores(path)
        if scores:
            evaluations.append(Evaluation(int(path.stem.removeprefix("step_")), scores, failed))
    return evaluations


def compare(before: Evaluation, after: Evaluation, seed: int = 0) -> Change | None:
    """Compare two evaluations question by question, with a paired bootstrap.

    Args:
        before: The earlier evaluation.
        after: The later one.
        seed: Of the resampling, so that a summary can be made again.

    Returns:
        The change over the questions both have; None when there are none.
    """
    shared = sorted(before.em_of.keys() & after.em_of.keys())
    if not shared:
        return None
    first = np.array([before.em_of[key] for key in shared])
    last = np.array([after.em_of[key] for key in shared])
    difference = last - first  # (questions,)
    low, high = bootstrap_interval(difference, seed)
    return Change(len(shared), float(first.mean()), float(last.mean()), low, high)
