"""The scores of one evaluation: the rule by which the progress line and the summary both count."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from search_r1.metrics import INFRASTRUCTURE

Scores = dict[tuple[str, int, str], float]
"""EM by row: data source, index in its file, question."""


def evaluation_path(run_dir: Path, step: int) -> Path:
    """Name the file of the evaluation after a step."""
    return run_dir / "eval" / f"step_{step:06d}.jsonl"


def read_scores(path: Path) -> tuple[Scores, int]:
    """Read EM by row, over several trajectories of a row their mean.

    Args:
        path: A file of ``eval/``.

    Returns:
        The scores, and how many trajectories were left out because infrastructure ended them.
    """
    ems = defaultdict(list)
    num_failed = 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the last line of a run that was killed while writing it
            if row["stop_reason"] in INFRASTRUCTURE:
                num_failed += 1
            else:
                noted = row["metadata"]
                key = str(noted.get("data_source", "")), noted.get("index", -1), row["question"]
                ems[key].append(row["reward"]["em"])
    return {key: fmean(each) for key, each in ems.items()}, num_failed
