"""Score a finished trajectory: pure functions of what the model wrote, never of what it read."""

from __future__ import annotations

from dataclasses import dataclass

from search_r1.rewards.behaviour import behaviour_counts
from search_r1.rewards.format import format_score, well_formed_score
from search_r1.rewards.outcome import outcome_scores
from search_r1.types import Trajectory


@dataclass(frozen=True, slots=True)
class RewardConfig:
    """Weights of the reward's parts; the total is their weighted sum."""

    em: float = 1.0
    """Weight of exact match."""
    f1: float = 0.0
    """Weight of token F1; set it, and ``em`` to 0, to train on partial credit."""
    format: float = 0.0
    """Weight of a closed answer with only valid turns before it."""
    well_formed: float = 0.0
    """Weight of the share of turns that hold a valid call or answer; a first foothold for a model
    that seldom writes a call in the right form."""
    searches: float = 0.0
    """Weight of each answered search; negative is a cost."""
    searches_when_right: float = 0.0
    """Weight of each answered search of a trajectory whose answer is an exact match; negative is a
    cost that only right answers pay: a group that is all wrong then says nothing of searching."""
    duplicate_queries: float = 0.0
    """Weight of each search for what was searched before, on top of ``searches``."""
    unanswered: float = 0.0
    """Weight of ending without an answer; negative where giving up must not look cheap."""

    def __post_init__(self) -> None:
        for name in _MERITS:
            if getattr(self, name) < 0:
                raise ValueError(
                    f"reward weight {name} is {getattr(self, name)}; it must not be negative. "
                    f"Of what a trajectory does, {', '.join(_COUNTS)} may be."
                )
        if not any(getattr(self, name) for name in _PARTS):
            raise ValueError(
                "every reward weight is 0, so nothing could be learned; set one of "
                f"{', '.join(_PARTS)}."
            )


_MERITS = ("em", "f1", "format", "well_formed")
_COUNTS = ("searches", "searches_when_right", "duplicate_queries", "unanswered")
_PARTS = (*_MERITS, *_COUNTS)


def score(trajectory: Trajectory, config: RewardConfig) -> dict[str, float]:
    """Give the reward and its parts.

    Returns:
        ``total`` (what is trained on); ``em``, ``sub_em``, ``f1``, ``format`` and ``well_formed``,
        each from 0 to 1; the counts ``searches``, ``searches_when_right``, ``duplicate_queries``
        and ``unanswered``.
    """
    outcome = outcome_scores(trajectory.prediction, trajectory.gold_answers)
    counts = behaviour_counts(trajectory)
    parts = {
        **outcome,
        "format": format_score(trajectory),
        "well_formed": well_formed_score(trajectory),
        **counts,
        "searches_when_right": counts["searches"] * outcome["em"],
    }
    return {"total": weigh(parts, config), **parts}


def weigh(parts: dict[str, float], config: RewardConfig) -> float:
    """Sum the parts by their weights."""
    return sum(float(getattr(config, name)) * parts[name] for name in _PARTS)
