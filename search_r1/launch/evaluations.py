"""The scores of one evaluation: the rule by which the progress line and the summary both count."""

from __future__ import annotations

import json
from pathlib import Path

from search_r1.metrics import INFRASTRUCTURE

Scores = dict[tuple[str, str], float]


def evaluation_path(run_dir: Path, step: int) -> Path:
    """Name the file of the evaluation after a step."""
    return run_dir / "eval" / f"step_{step:06d}.jsonl"


def read_scores(path: Path) -> tuple[Scores, int]:
    """Read EM by (data source, question); of a question seen twice the later score wins.

    Args:
        path: A file of ``eval/``.

    Returns:
        The scores, and how many trajectories were left out because infrastructure ended them.
    """
    scores: Scores = {}
    num_failed = 0
    with path.open(encoding="utf-8") as file:
        for row in map(json.loads, file):
            if row["stop_reason"] in INFRASTRUCTURE:
                num_failed += 1
            else:
                source = str(row["metadata"].get("data_source", ""))
                scores[source, row["question"]] = row["reward"]["em"]
    return scores, num_failed
