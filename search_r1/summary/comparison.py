"""What a run's evaluation shows: EM and searching of each model, by what it knew before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search_r1.metrics import INFRASTRUCTURE, Record, searches_of
from search_r1.statistics import bootstrap_interval, difference_interval, wilson_interval

GROUPS = ("known", "unknown", "known_and_unknown", "two_hop", "real")
ROWS = {
    "base.search.greedy": "before, with its own prompt",
    "cold_start.search.greedy": "after the cold start",
    "cold_start.search.sampled": "  the same, sampled at T = 1",
    "trained.search.greedy": "after reinforcement learning",
    "trained.search_never.greedy": "  made to answer at once",
    "trained.search_always.greedy": "  made to search",
}
"""What is compared, in the order of the table: ``MODEL.METHOD.DECODING`` to words."""
_PAIRS = (
    ("trained.search.greedy", "base.search.greedy"),
    ("trained.search.greedy", "cold_start.search.greedy"),
    ("trained.search.greedy", "cold_start.search.sampled"),
    ("trained.search.greedy", "trained.search_never.greedy"),
    ("trained.search.greedy", "trained.search_always.greedy"),
)
_SET_NAMES = {"nq": "NQ", "triviaqa": "TriviaQA", "hotpotqa": "HotpotQA"}
_LONGEST_NAME = 12  # characters that a column has room for


@dataclass(frozen=True, slots=True)
class Outcomes:
    """One model's trajectories over the questions, in the order of their uids."""

    name: str
    records: list[Record]
    num_lost: int
    """How many were left out because infrastructure ended them."""

    def of(self, group: str) -> list[Record]:
        """Give the trajectories of one of ``GROUPS``."""
        return [record for record in self.records if _is_in(record, group)]


def read_outcomes(run_dir: Path) -> list[Outcomes]:
    """Read what ``eval.run`` left in a run's folder, in the table's order; empty without any."""
    found = []
    for name in ROWS:
        path = run_dir / "eval" / f"{name}.jsonl"
        if path.is_file():
            with path.open(encoding="utf-8") as lines:
                records = sorted(map(json.loads, lines), key=lambda record: record["uid"])
            sound = [r for r in records if r["stop_reason"] not in INFRASTRUCTURE]
            found.append(Outcomes(name, sound, len(records) - len(sound)))
    return found


def compare_models(run_dir: Path) -> dict[str, Any] | None:
    """Sum the evaluation up: every row of the table, and the differences that matter.

    Returns:
        ``rows`` by name, each with a figure and its 95 % interval per group and the gap in search
        rate, unknown minus known; ``changes``, paired over the questions both have. None when
        nothing was evaluated.
    """
    outcomes = {one.name: one for one in read_outcomes(run_dir)}
    if not outcomes:
        return None
    pairs = [(a, b) for a, b in _PAIRS if a in outcomes and b in outcomes]
    return {
        "rows": {name: dict(_row(one)) for name, one in outcomes.items()},
        "changes": {f"{a} - {b}": dict(_change(outcomes[a], outcomes[b])) for a, b in pairs},
    }


def group_name(group: str, rows: Mapping[str, Any]) -> str:
    """Name a group for a table or a plot: questions that nobody sampled by where they come from.

    Args:
        group: One of ``GROUPS``.
        rows: The rows of :func:`compare_models`.
    """
    if group != "real":
        return group.replace("_", " ")
    sources = {source for row in rows.values() for source in row.get(group, {}).get("sources", ())}
    name = ", ".join(_SET_NAMES.get(source, source) for source in sorted(sources))
    return name if len(name) <= _LONGEST_NAME else "not labelled"


def _row(one: Outcomes) -> Iterator[tuple[str, Any]]:
    yield "lost", one.num_lost
    for group in GROUPS:
        records = one.of(group)
        if records:
            yield (
                group,
                {
                    "questions": len(records),
                    "em": _mean(records, _em),
                    "em_ci95": wilson_interval(_mean(records, _em), len(records)),
                    "searched": _mean(records, _searched),
                    "searched_ci95": wilson_interval(_mean(records, _searched), len(records)),
                    "searches_per_question": _mean(records, searches_of),
                    "sources": sorted({record["metadata"]["data_source"] for record in records}),
                },
            )
    known, unknown = one.of("known"), one.of("unknown")
    if known and unknown:
        value, low, high = _gap(known, unknown)
        yield "gap", {"unknown_minus_known": value, "ci95": [low, high]}


def _change(after: Outcomes, before: Outcomes) -> Iterator[tuple[str, Any]]:
    for group in GROUPS:
        earlier = {record["uid"]: record for record in before.of(group)}
        pairs = [(record, earlier.get(record["uid"])) for record in after.of(group)]
        differences = [_em(a) - _em(b) for a, b in pairs if b is not None]
        if differences:
            low, high = bootstrap_interval(np.array(differences))
            yield (
                group,
                {
                    "questions": len(differences),
                    "em": float(np.mean(differences)),
                    "em_ci95": [low, high],
                },
            )


def _gap(known: Sequence[Record], unknown: Sequence[Record]) -> tuple[float, float, float]:
    """Give the difference of two search rates and its 95 % interval, questions resampled."""
    rates = [np.array([_searched(record) for record in each]) for each in (known, unknown)]
    return _mean(unknown, _searched) - _mean(known, _searched), *difference_interval(*rates)


def _is_in(record: Record, group: str) -> bool:
    knowledge = record["metadata"].get("knowledge") or "real"
    together = ("known", "unknown") if group == "known_and_unknown" else (group,)
    return knowledge in together


def _em(record: Record) -> float:
    return float(record["reward"]["em"])


def _searched(record: Record) -> float:
    return float(searches_of(record) > 0)


def _mean(records: Sequence[Record], value: Callable[[Record], float]) -> float:
    return float(np.mean([value(record) for record in records]))
