"""Counts of what a trajectory did, to put a price on: pure functions, never of what was read."""

from __future__ import annotations

from contract.answers import normalize_answer
from search_r1.types import StopReason, Trajectory


def behaviour_counts(trajectory: Trajectory) -> dict[str, float]:
    """Count what rewards may weigh, most often with a negative weight.

    Returns:
        ``searches``: searches that gave passages to read. ``duplicate_queries``: those of them
        whose query, case and punctuation aside, had been asked before in this trajectory.
        ``unanswered``: 1.0 when it ended without an answer, or with an empty one, else 0.0.
    """
    queries = [
        normalize_answer(call.arguments["query"])
        for turn in trajectory.turns
        if turn.num_observation_ids
        for call in turn.calls
        if call.is_search and call.status == "ok"
    ]
    is_answered = trajectory.stop_reason is StopReason.ANSWER and bool(trajectory.prediction)
    return {
        "searches": float(len(queries)),
        "duplicate_queries": float(len(queries) - len(set(queries))),
        "unanswered": float(not is_answered),
    }
