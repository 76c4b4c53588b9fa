"""Metrics of a batch of finished trajectories, the same in training, evaluation and tests."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from search_r1.tools.base import REFUSALS, OutcomeStatus
from search_r1.types import FinishReason, StopReason

Record = dict[str, Any]  # one trajectory as Trajectory.to_json() gives it

KNOWLEDGE = ("known", "unknown", "two_hop")
"""What ``metadata.knowledge`` says of a question: the model was sampled on it without search.

The answer to a two-hop one is unknown too, and takes a second search.
"""
INFRASTRUCTURE = frozenset(reason.value for reason in StopReason if reason.is_infrastructure)


def trajectory_metrics(records: Sequence[Record]) -> dict[str, float]:
    """Average what users watch while a model learns to search.

    Trajectories that an infrastructure failure ended count only in ``retriever/failure_rate`` and
    the stop reasons: they say nothing about the model.

    Args:
        records: Trajectories in their dumped shape; at least one.

    Returns:
        Flat metric names with units in them; rates are shares from 0 to 1, times are seconds.
    """
    if not records:
        raise ValueError("trajectory_metrics got no trajectory; pass at least one.")
    stops = [record["stop_reason"] for record in records]
    metrics = {
        f"search/stop/{reason.value}": _share(s == reason.value for s in stops)
        for reason in StopReason
    }
    metrics["retriever/failure_rate"] = metrics[f"search/stop/{StopReason.RETRIEVER_FAILED.value}"]
    metrics["retriever/retries_total"] = max(
        record["metadata"].get("retriever_retries", 0) for record in records
    )
    metrics |= _tools(records)
    sound = [record for record in records if record["stop_reason"] not in INFRASTRUCTURE]
    return metrics | (_behaviour(sound) if sound else {})


def _behaviour(records: Sequence[Record]) -> dict[str, float]:
    turns = [turn for record in records for turn in record["turns"]]
    searches = [searches_of(record) for record in records]
    calls = sum(1 for turn in turns if turn["call"])
    malformed = sum(1 for turn in turns if turn["is_malformed_call"])
    observations = [turn for turn in turns if turn["call"] and turn["num_observation_ids"]]
    sampled = [
        -logprob
        for record in records
        for logprob, mask in zip(record["response_logprobs"], record["response_mask"], strict=True)
        if mask
    ]
    metrics = {
        "search/searches_per_trajectory": fmean(searches),
        "search/no_search_rate": _share(count == 0 for count in searches),
        "search/valid_turn_rate": _share(turn["well_formed"] for turn in turns),
        "search/valid_call_rate": calls / max(calls + malformed, 1),
        "search/turns_per_trajectory": len(turns) / len(records),
        "search/overrun_rate": _share(turn["overrun"] for turn in turns),
        "search/turn_truncated_rate": _share(
            turn["stop_reason"] == FinishReason.LENGTH.value for turn in turns
        ),
        "search/model_tokens": fmean(sum(record["response_mask"]) for record in records),
        "search/observation_tokens": fmean(
            len(record["response_mask"]) - sum(record["response_mask"]) for record in records
        ),
        "search/observation_truncated_rate": _share(
            turn["observation_truncated"] for turn in observations
        ),
        "search/sampled_entropy_nats": fmean(sampled) if sampled else 0.0,
    }
    for part in records[0]["reward"]:
        metrics[f"reward/{part}"] = fmean(record["reward"][part] for record in records)
    return metrics | _by_knowledge(records)


def searches_of(record: Record) -> int:
    """Count the searches of a dumped trajectory that gave passages to read."""
    return sum(
        call["is_search"] and call["status"] == OutcomeStatus.OK
        for turn in record["turns"]
        if turn["num_observation_ids"]
        for call in turn["calls"]
    )


def _by_knowledge(records: Sequence[Record]) -> dict[str, float]:
    """Tell questions the model knows from those it does not, where it was sampled on them."""
    metrics = {}
    for knowledge in KNOWLEDGE:
        these = [r for r in records if r["metadata"].get("knowledge") == knowledge]
        if these:
            metrics[f"knowledge/{knowledge}/searched"] = _share(searches_of(r) for r in these)
            metrics[f"knowledge/{knowledge}/em"] = fmean(r["reward"]["em"] for r in these)
    return metrics


def _tools(records: Sequence[Record]) -> dict[str, float]:
    """Tell per tool how often it was called and how long it took, and what came of all calls."""
    calls = [call for record in records for turn in record["turns"] for call in turn["calls"]]
    by_tool: dict[str, list[float]] = {}
    for call in calls:
        if call["status"] not in REFUSALS:
            by_tool.setdefault(call["name"], []).append(call["seconds"])
    metrics = {"tools/calls_per_trajectory": len(calls) / len(records)}
    for status in OutcomeStatus:
        metrics[f"tools/outcome/{status.value}"] = _share(c["status"] == status for c in calls)
    for name, seconds in sorted(by_tool.items()):
        metrics[f"tools/{name}/calls"] = float(len(seconds))
        metrics[f"tools/{name}/latency_mean_s"] = fmean(seconds)
        metrics[f"tools/{name}/latency_max_s"] = max(seconds)
    return metrics


def _share(flags: Any) -> float:
    values = [bool(flag) for flag in flags]
    return sum(values) / len(values) if values else 0.0
