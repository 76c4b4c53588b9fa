"""The passages of an index: a JSONL copy, mapped into memory, O(1) by position.

Three files: ``passages.jsonl``; ``passages.offsets.npy``, where each line starts (int64, one more
than there are passages); ``passages.rank.npy``, each passage's place when ids are sorted as
strings (int32), which orders equal scores.
"""

import mmap
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.corpus import parse_passage, read_corpus
from retriever.errors import CorpusError
from retriever.types import Passage

PASSAGES, OFFSETS, RANK = "passages.jsonl", "passages.offsets.npy", "passages.rank.npy"


def write_store(
    corpus: Path, folder: Path, on_passage: Callable[[int], object] = lambda _bytes: None
) -> int:
    """Copy a corpus into an index folder and index its lines.

    Args:
        corpus: JSONL file in either shape.
        folder: Existing folder that gets the three files.
        on_passage: Called after each passage with the bytes it took, for a progress bar.

    Returns:
        How many passages there are.

    Raises:
        CorpusError: If a line is no passage, or two have the same id.
    """
    offsets, ids = array("q", [0]), []
    with (folder / PASSAGES).open("wb") as out:
        for line in read_corpus(corpus):
            out.write(line.raw + b"\n")
            offsets.append(offsets[-1] + len(line.raw) + 1)
            ids.append(line.passage.id)
            on_passage(len(line.raw) + 1)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    for before, after in pairwise(order):
        if ids[before] == ids[after]:
            raise _duplicate(corpus, ids[before], before, after)
    rank = np.empty(len(ids), dtype=np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    np.save(folder / OFFSETS, np.frombuffer(offsets, dtype=np.int64))
    np.save(folder / RANK, rank)
    return len(ids)


def _duplicate(corpus: Path, passage_id: str, first: int, second: int) -> CorpusError:
    lines = [line.number for at, line in enumerate(read_corpus(corpus)) if at in (first, second)]
    return CorpusError(
        f"{corpus}:{lines[1]}: id {passage_id!r} is already used at line {lines[0]}; "
        "give every passage its own id."
    )


class PassageStore:
    """Passages by position; processes that open the same folder share one copy in memory."""

    def __init__(self, folder: Path) -> None:
        self._offsets: NDArray[Any] = np.load(folder / OFFSETS, mmap_mode="r")
        self.id_rank: NDArray[Any] = np.load(folder / RANK, mmap_mode="r")
        with (folder / PASSAGES).open("rb") as file:
            self._lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, position: int) -> Passage:
        """Read one passage; positions count from 0 in corpus order."""
        if not 0 <= position < len(self):
            raise IndexError(f"no passage at position {position}; the store has {len(self)}.")
        start, end = self._offsets[position : position + 2].tolist()
        return parse_passage(self._lines[start:end])

    def __iter__(self) -> Iterator[Passage]:
        return (self[position] for position in range(len(self)))

    def close(self) -> None:
        """Unmap the text; later reads raise ValueError."""
        self._lines.close()
