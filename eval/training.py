"""How the training went that gave a model: the metrics of its run, beside its evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from data_prep.steps import DataPrepError
from search_r1.errors import LaunchError
from search_r1.summary.records import Metrics, read_metrics, training_steps

CURVES = {
    "reward/total": "reward",
    "reward/em": "EM",
    "search/searches_per_trajectory": "searches per trajectory",
    "search/sampled_entropy_nats": "entropy of sampled tokens (nats)",
}
"""What is drawn, by its name among the metrics."""
_ENDS = 3  # steps averaged at either end: one step has few questions


@dataclass(frozen=True, slots=True)
class Training:
    """The metrics of one run."""

    name: str
    """Preset and time."""
    steps: Mapping[int, Metrics]
    """By training step, in order."""

    def points(self, key: str) -> list[tuple[int, float]]:
        """Give a metric by step, where it was measured."""
        return [(step, float(of[key])) for step, of in self.steps.items() if key in of]


def read_training(run_dirs: Sequence[Path]) -> list[Training]:
    """Read the metrics of runs.

    Raises:
        DataPrepError: If one has none.
    """
    found = []
    for run_dir in run_dirs:
        try:
            steps = training_steps(read_metrics(run_dir))
        except (LaunchError, OSError, ValueError, KeyError, TypeError) as error:
            raise DataPrepError(
                f"--training {run_dir}: {error}; name the folder of a run, such as "
                "runs/quickstart/TIMESTAMP."
            ) from error
        if not steps:
            raise DataPrepError(f"--training {run_dir}: no training step is in its metrics.")
        folder = run_dir.absolute()
        found.append(Training(f"{folder.parent.name}/{folder.name}", steps))
    return found


def training_section(trainings: Sequence[Training]) -> str:
    """Write a Markdown table of where each curve began and ended; empty without any."""
    if not trainings:
        return ""
    lines = [
        f"| | steps | {' | '.join(CURVES.values())} |",
        "| --- | --- |" + " --- |" * len(CURVES),
    ]
    for one in trainings:
        cells = []
        for key in CURVES:
            values = [value for _, value in one.points(key)]
            ends = (fmean(values[:_ENDS]), fmean(values[-_ENDS:])) if values else ()
            cells.append(" to ".join(f"{value:.2f}" for value in ends) or "-")
        lines.append(f"| {one.name} | {len(one.steps)} | {' | '.join(cells)} |")
    note = f"Means of the first and the last {_ENDS} steps, of the trajectories it was trained on."
    return "\n\n".join(["## Training", "\n".join(lines), note])
