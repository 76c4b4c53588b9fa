"""Reward for writing the protocol as asked, right or wrong."""

from __future__ import annotations

from search_r1.types import StopReason, Trajectory


def format_score(trajectory: Trajectory) -> float:
    """Score 1.0 for a closed answer that is not empty, with no invalid turn before it, else 0.0."""
    closed = trajectory.stop_reason is StopReason.ANSWER and bool(trajectory.prediction)
    return float(closed and all(turn.well_formed for turn in trajectory.turns))


def well_formed_score(trajectory: Trajectory) -> float:
    """Give the share of turns that hold a valid call or answer; 0.0 without a turn."""
    turns = trajectory.turns
    return sum(turn.well_formed for turn in turns) / len(turns) if turns else 0.0
