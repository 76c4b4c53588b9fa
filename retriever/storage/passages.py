"""The passages of an index: a JSONL copy, mapped into memory, O(1) by position.

Four files: ``passages.jsonl``; ``passages.offsets.npy``, where each line starts (int64, one more
than there are passages); ``passages.order.npy``, positions in the order of their ids as strings
(int32); ``passages.rank.npy``, its inverse, each passage's place in that order (int32), which
orders equal scores.
"""

import mmap
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import CorpusError
from retriever.storage.corpus import parse_passage, read_corpus
from retriever.storage.files import save_array
from retriever.types import Passage

PASSAGES, OFFSETS = "passages.jsonl", "passages.offsets.npy"
ORDER, RANK = "passages.order.npy", "passages.rank.npy"

_AT_ONCE = 4096  # passages read, or ids compared, at a time


def write_store(
    corpus: Path, folder: Path, on_passage: Callable[[int], object] = lambda _bytes: None
) -> int:
    """Copy a corpus into an index folder and index its lines.

    The text streams through; of each passage memory holds 20 bytes and the id.

    Args:
        corpus: JSONL file in either shape.
        folder: Existing folder that gets the four files; the rank comes last, so a folder that
            has it has them all.
        on_passage: Called after each passage with the bytes it took, for a progress bar.

    Returns:
        How many passages there are.

    Raises:
        CorpusError: If a line is no passage, or two have the same id.
    """
    offsets, ids, id_offsets = array("q", [0]), bytearray(), array("q", [0])
    with (folder / PASSAGES).open("wb") as out:
        for line in read_corpus(corpus):
            out.write(line.raw + b"\n")
            offsets.append(offsets[-1] + len(line.raw) + 1)
            ids += line.passage.id.encode()
            id_offsets.append(len(ids))
            on_passage(len(line.raw) + 1)
    save_array(folder / OFFSETS, np.frombuffer(offsets, dtype=np.int64))
    del offsets
    order = _sort_ids(corpus, ids, id_offsets)
    save_array(folder / ORDER, order)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order), dtype=np.int32)
    save_array(folder / RANK, rank)
    return len(order)


def _sort_ids(corpus: Path, ids: bytearray, offsets: "array[int]") -> NDArray[np.int32]:
    """Return positions in the order of their ids: by UTF-8 bytes, which is by characters."""
    import pyarrow
    import pyarrow.compute

    buffers = [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(ids)]
    kind = pyarrow.large_binary()
    column = pyarrow.LargeBinaryArray.from_buffers(kind, len(offsets) - 1, buffers)
    order: NDArray[np.int32] = pyarrow.compute.sort_indices(column).to_numpy().astype(np.int32)
    for start in range(0, len(order), _AT_ONCE):
        places = order[start : start + _AT_ONCE + 1]  # one over, to compare across the seam
        sorted_ids = column.take(pyarrow.array(places)).to_pylist()
        for at, (before, after) in enumerate(pairwise(sorted_ids)):
            if before == after:
                raise _duplicate(corpus, after.decode(), *sorted(places[at : at + 2].tolist()))
    return order


def _duplicate(corpus: Path, passage_id: str, first: int, second: int) -> CorpusError:
    lines = [line.number for at, line in enumerate(read_corpus(corpus)) if at in (first, second)]
    return CorpusError(
        f"{corpus}:{lines[1]}: id {passage_id!r} is already used at line {lines[0]}; "
        "give every passage its own id."
    )


class PassageStore:
    """Passages by position; processes that open the same folder share one copy in memory."""

    def __init__(self, folder: Path) -> None:
        """Map the files; nothing is read yet."""
        self._folder = folder
        self._offsets: NDArray[Any] = np.load(folder / OFFSETS, mmap_mode="r")
        self.id_rank: NDArray[Any] = np.load(folder / RANK, mmap_mode="r")
        self._file = (folder / PASSAGES).open("rb")
        self._lines = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, position: int) -> Passage:
        """Read one passage; positions count from 0 in corpus order."""
        if not 0 <= position < len(self):
            raise IndexError(f"no passage at position {position}; the store has {len(self)}.")
        start, end = self._offsets[position : position + 2].tolist()
        return parse_passage(self._lines[start:end])

    def __iter__(self) -> Iterator[Passage]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self.read(start, min(start + _AT_ONCE, len(self)))

    def read(self, start: int, stop: int) -> list[Passage]:
        """Read the passages from one position up to another.

        They are read from the file, not its mapping, whose pages would count as memory of a
        process that reads all of them.
        """
        ends = (self._offsets[start : stop + 1] - self._offsets[start]).tolist()
        text = os.pread(self._file.fileno(), ends[-1], int(self._offsets[start]))
        return [parse_passage(text[begin:end]) for begin, end in pairwise(ends)]

    def find(self, passage_id: str) -> int | None:
        """Return the position of the passage with an id, or None; O(log n), by bisection."""
        order = np.load(self._folder / ORDER, mmap_mode="r")
        at = bisect_left(order, passage_id, key=lambda position: self[int(position)].id)
        if at < len(order) and self[int(order[at])].id == passage_id:
            return int(order[at])
        return None

    def close(self) -> None:
        """Unmap the text; later reads raise ValueError."""
        self._lines.close()
        self._file.close()
