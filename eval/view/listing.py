"""The list: which trajectories, in which order, and how they fared in another run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.view.collection import Collection
from eval.view.line import Entry
from search_r1.metrics import KNOWLEDGE

_SORTS: dict[str, Callable[[Entry], Any]] = {
    "reward": lambda entry: entry.reward,
    "searches": lambda entry: entry.searches,
    "tokens": lambda entry: entry.tokens,
    "seconds": lambda entry: entry.seconds,
    "question": lambda entry: entry.question.casefold(),
    "step": lambda entry: entry.step,
}
SORTS = ("file", *_SORTS)
"""What the list can be sorted by; ``file`` is the order of the lines."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants listed; empty values leave a thing open."""

    words: str = ""
    verdict: str = ""
    searched: str = ""
    """``yes`` or ``no``."""
    source: str = ""
    """Data source, or one of ``search_r1.metrics.KNOWLEDGE``."""
    step: int | None = None
    sort: str = "file"
    is_descending: bool = False
    versus: Collection | None = field(default=None)
    """Another run: only questions that both answered and that ended otherwise there."""

    def fits(self, entry: Entry) -> bool:
        """Tell whether a trajectory is wanted."""
        return (
            (not self.verdict or entry.verdict == self.verdict)
            and (not self.searched or (entry.searches > 0) == (self.searched == "yes"))
            and (not self.source or self.source in (entry.source, entry.knowledge))
            and (self.step is None or entry.step == self.step)
            and (self.versus is None or self._differs(entry))
            and (not self.words or entry.holds(self.words.casefold()))
        )

    def _differs(self, entry: Entry) -> bool:
        other = verdict_in(self.versus, entry)
        return other is not None and other != entry.verdict


def choose(entries: Sequence[Entry], wish: Wish) -> list[Entry]:
    """Give the wanted entries in the wanted order; equal ones stay in the order of the file."""
    chosen = [entry for entry in entries if wish.fits(entry)]
    if wish.sort in _SORTS:
        chosen.sort(key=_SORTS[wish.sort], reverse=wish.is_descending)
    elif wish.is_descending:
        chosen.reverse()
    return chosen


def verdict_in(other: Collection | None, entry: Entry) -> str | None:
    """Say how another run ended on a question, the last time; None where it was not asked."""
    same = other.asking(entry.question) if other else []
    return same[-1].verdict if same else None


def related(
    collections: Iterable[Collection], entry: Entry, own: Collection
) -> list[dict[str, Any]]:
    """List what else there is of a question: its group first, then other steps and runs."""
    found = [(one, each) for one in collections for each in one.asking(entry.question)]
    # Stable: within each of them the order of the files stays.
    found.sort(key=lambda pair: (pair[0] is not own, pair[0] is own and pair[1].step != entry.step))
    return [
        {
            "run": one.name,
            "uid": each.uid,
            "step": each.step,
            "verdict": each.verdict,
            "prediction": each.prediction,
            "searches": each.searches,
            "reward": each.reward,
            "is_group": one is own and each.step == entry.step,
        }
        for one, each in found
    ]


def plain(entry: Entry, versus: Collection | None) -> dict[str, Any]:
    """Give what the list shows of an entry."""
    shown = {name: getattr(entry, name) for name in _SHOWN}
    return shown | ({"versus": verdict_in(versus, entry)} if versus else {})


_SHOWN = (
    *("uid", "question", "prediction", "verdict", "stop_reason", "reward", "searches", "tokens"),
    *("seconds", "step", "source", "knowledge"),
)


def facets(collection: Collection) -> dict[str, Any]:
    """Give the values that can be chosen from."""
    entries = collection.entries
    known = {entry.knowledge for entry in entries} & set(KNOWLEDGE)
    return {
        "steps": sorted({entry.step for entry in entries if entry.step >= 0}),
        "sources": [*sorted(known), *sorted({entry.source for entry in entries if entry.source})],
    }
