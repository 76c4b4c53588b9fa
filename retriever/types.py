"""Passage, hit, and the one interface every index kind implements."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrieval unit of the corpus."""

    id: str
    title: str
    text: str
    url: str = ""
    """Where it was found, if the corpus or the engine says so."""

    @property
    def contents(self) -> str:
        """Return title and text in Search-R1's form, or the text alone without a title."""
        return f'"{self.title}"\n{self.text}' if self.title else self.text


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage and its similarity to one query; higher is better, no unit."""

    passage: Passage
    score: float


class Retriever(Protocol):
    """What the server needs of an index. Implementations are called from one thread at a time."""

    kind: str

    @property
    def size(self) -> int | None:
        """Passages in the corpus; None when nobody knows, as of an online engine."""
        ...

    def search(self, queries: list[str], top_k: int) -> list[list[Hit]]:
        """Return the best passages of every query, best first.

        Equal scores are ordered by passage id. A corpus with fewer than ``top_k`` passages gives
        fewer hits; a blank query has none.

        Raises:
            ValueError: If ``top_k`` is below 1.
        """
        ...

    def close(self) -> None:
        """Release mapped files; the index cannot be searched afterwards."""
        ...


def check_top_k(top_k: int) -> None:
    """Reject a ``top_k`` below 1 with a message that names the value."""
    if top_k < 1:
        raise ValueError(f"top_k is {top_k}; expected 1 or more.")
