"""The table of the models compared, for a terminal: EM and share searched, by what was known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from search_r1.summary.comparison import ROWS, group_name
from search_r1.summary.readings import write_reading

_COLUMNS = ("known", "unknown", "two_hop", "real")
_LABEL, _CELL = 31, 14
_CHANGES = {
    "base.search.greedy": "against the model before",
    "cold_start.search.greedy": "against the cold start",
    "cold_start.search.sampled": "  the same, sampled at T = 1",
    "trained.search_never.greedy": "against answering at once",
    "trained.search_always.greedy": "against searching always",
}


def comparison_lines(
    evaluation: dict[str, Any], readings: Sequence[dict[str, Any]]
) -> Iterator[str]:
    """Yield the lines: a row per model and method, the gap, the changes, what is worth reading.

    Args:
        evaluation: What ``compare_models`` gave.
        readings: What ``choose_readings`` gave.
    """
    rows = evaluation["rows"]
    first: dict[str, Any] = next(iter(rows.values()))
    columns = [group for group in _COLUMNS if group in first]
    yield "held-out questions: EM, and share of them searched"
    heads = [f"{group_name(group, rows)} ({first[group]['questions']})" for group in columns]
    yield " " * _LABEL + "".join(f"{head:>{_CELL + 4}}" for head in heads)
    for name, row in rows.items():
        cells = (_cell(row.get(group)) for group in columns)
        yield f"{ROWS[name]:<{_LABEL}}" + "".join(f"{cell:>{_CELL + 4}}" for cell in cells)
        if row["lost"]:
            yield f"  {row['lost']} more were lost to the retriever or the engine"
    yield from _headed("share searched, unknown minus known", _gaps(rows))
    title = "EM after reinforcement learning, on known and unknown together"
    yield from _headed(title, _changes(evaluation["changes"]))
    if readings:
        yield ""
        yield "five worth reading" if len(readings) == 5 else "worth reading"
    for reading in readings:
        yield ""
        yield write_reading(reading)


def _headed(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield a block of lines below its title; nothing without lines."""
    if listed := list(lines):
        yield from ("", title, *listed)


def _gaps(rows: dict[str, Any]) -> Iterator[str]:
    for name, row in rows.items():
        if "gap" in row and ".search." in name:
            low, high = row["gap"]["ci95"]
            gap = f"{100 * row['gap']['unknown_minus_known']:+.0f} points"
            yield f"{ROWS[name]:<{_LABEL}}{gap:>{_CELL}}   {_interval(low, high)}"


def _changes(changes: dict[str, Any]) -> Iterator[str]:
    for pair, change in changes.items():
        if part := change.get("known_and_unknown"):
            words = _CHANGES[pair.split(" - ")[1]]
            points = f"{100 * part['em']:+.1f} points"
            yield f"{'  ' + words:<{_LABEL}}{points:>{_CELL}}   {_interval(*part['em_ci95'])}"


def _cell(part: dict[str, Any] | None) -> str:
    return f"{part['em']:.0%}, {part['searched']:.0%}" if part else "-"


def _interval(low: float, high: float) -> str:
    return f"95 % interval {100 * low:+.0f} to {100 * high:+.0f}"
