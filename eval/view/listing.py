"""The list: which trajectories, in which order, and how they fared in another run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.view.collection import Collection
from eval.view.line import Row

_SORTS: dict[str, Callable[[Row], Any]] = {
    "reward": lambda row: row.reward,
    "searches": lambda row: row.searches,
    "tokens": lambda row: row.tokens,
    "seconds": lambda row: row.seconds,
    "question": lambda row: row.question.casefold(),
    "step": lambda row: row.step,
}
SORTS = ("file", *_SORTS)
"""What the list can be sorted by; ``file`` is the order of the lines."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants listed; empty values leave a thing open."""

    words: str = ""
    outcome: str = ""
    searched: str = ""
    """``yes`` or ``no``."""
    source: str = ""
    """Data source, or ``known`` and ``unknown``."""
    step: int | None = None
    sort: str = "file"
    is_descending: bool = False
    versus: Collection | None = field(default=None)
    """Another run: only questions that both answered and that ended otherwise there."""

    def fits(self, row: Row) -> bool:
        """Tell whether a trajectory is wanted."""
        return (
            (not self.outcome or row.outcome == self.outcome)
            and (not self.searched or (row.searches > 0) == (self.searched == "yes"))
            and (not self.source or self.source in (row.source, row.knowledge))
            and (self.step is None or row.step == self.step)
            and (self.versus is None or self._differs(row))
            and (not self.words or row.holds(self.words.casefold()))
        )

    def _differs(self, row: Row) -> bool:
        other = outcome_in(self.versus, row)
        return other is not None and other != row.outcome


def choose(rows: Sequence[Row], wish: Wish) -> list[Row]:
    """Give the wanted rows in the wanted order; equal ones stay in the order of the file."""
    chosen = [row for row in rows if wish.fits(row)]
    if wish.sort in _SORTS:
        chosen.sort(key=_SORTS[wish.sort], reverse=wish.is_descending)
    elif wish.is_descending:
        chosen.reverse()
    return chosen


def outcome_in(other: Collection | None, row: Row) -> str | None:
    """Say how another run ended on a question, the last time; None where it was not asked."""
    same = other.asking(row.question) if other else []
    return same[-1].outcome if same else None


def related(collections: Iterable[Collection], row: Row, own: Collection) -> list[dict[str, Any]]:
    """List what else there is of a question: its group first, then other steps and runs."""
    found = [(one, each) for one in collections for each in one.asking(row.question)]
    found.sort(key=lambda pair: (pair[0] is not own, pair[0] is own and pair[1].step != row.step))
    return [
        {
            "run": one.name,
            "uid": each.uid,
            "step": each.step,
            "outcome": each.outcome,
            "prediction": each.prediction,
            "searches": each.searches,
            "reward": each.reward,
            "is_group": one is own and each.step == row.step,
        }
        for one, each in found
    ]


def plain(row: Row, versus: Collection | None) -> dict[str, Any]:
    """Give what the list shows of a row."""
    shown = {name: getattr(row, name) for name in _SHOWN}
    return shown | ({"versus": outcome_in(versus, row)} if versus else {})


_SHOWN = (
    *("uid", "question", "prediction", "outcome", "stop_reason", "reward", "searches", "tokens"),
    *("seconds", "step", "source", "knowledge"),
)


def facets(collection: Collection) -> dict[str, Any]:
    """Give the values that can be chosen from."""
    rows = collection.rows
    known = {row.knowledge for row in rows} & {"known", "unknown"}
    return {
        "steps": sorted({row.step for row in rows if row.step >= 0}),
        "sources": [*sorted(known), *sorted({row.source for row in rows if row.source})],
    }
