"""Rewards for being right: the extracted answer against the gold answers."""

from __future__ import annotations

from search_r1.answers import exact_match, f1_score, sub_exact_match
from search_r1.types import Trajectory


def outcome_scores(trajectory: Trajectory) -> dict[str, float]:
    """Give ``em``, ``sub_em`` and ``f1``, each from 0 to 1; 0 without a prediction."""
    prediction, gold_answers = trajectory.prediction, trajectory.gold_answers
    return {
        "em": exact_match(prediction, gold_answers),
        "sub_em": sub_exact_match(prediction, gold_answers),
        "f1": f1_score(prediction, gold_answers),
    }
