"""Rewards for being right: the extracted answer against the gold answers."""

from __future__ import annotations

from collections.abc import Sequence

from search_r1.answers import exact_match, f1_score, sub_exact_match


def outcome_scores(prediction: str | None, gold_answers: Sequence[str]) -> dict[str, float]:
    """Give ``em``, ``sub_em`` and ``f1`` of a prediction, each from 0 to 1; 0 without one."""
    return {
        "em": exact_match(prediction, gold_answers),
        "sub_em": sub_exact_match(prediction, gold_answers),
        "f1": f1_score(prediction, gold_answers),
    }
