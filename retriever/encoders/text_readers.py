"""From token ids to vectors: how texts of unlike lengths become arrays that a model can read.

Padded: one text a row, filled up. Packed: several texts in a row, none of which sees another, so
that hardly anything is filled up and one call reads all. On CPUs that gives a third more queries a
second in batches of 32; sorted by the thousand, padding is as fast.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retriever.encoders.text_batches import ROW_STEP, cut_batches, cut_rows

Embed = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Token ids (B, T) and their mask (B, T), 0 where padded, to vectors (B, D)."""
ReadRows = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Token ids, their positions, and the number of their text, -1 where padded; each (R, W); to the
vectors of the tokens, (R, W, D)."""

POOLED_BY_PACKING = ("mean", "cls")
_ROW_TOKENS = 96  # longer rows spend more on attention between texts that do not see each other


class Reader(Protocol):
    """Reads texts that are token ids already."""

    def read(self, texts: list[list[int]], batch_size: int) -> NDArray[np.float32]:
        """Return (n, D) vectors in the order of the texts."""
        ...


@dataclass(frozen=True, slots=True)
class PaddedReader:
    """One text a row, in batches of like length."""

    embed: Embed
    dimension: int
    pad_id: int
    is_cpu: bool

    def read(self, texts: list[list[int]], batch_size: int) -> NDArray[np.float32]:
        """Return (n, D) vectors in the order of the texts."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for batch in cut_batches([len(text) for text in texts], batch_size, self.is_cpu):
            vectors[batch] = self._read_together([texts[at] for at in batch])
        return vectors

    def _read_together(self, texts: list[list[int]]) -> NDArray[np.float32]:
        lengths = np.array([len(text) for text in texts])
        is_token = np.arange(lengths.max()) < lengths[:, None]  # (B, T)
        ids = np.full(is_token.shape, self.pad_id, dtype=np.int64)
        ids[is_token] = np.concatenate(texts)
        return self.embed(ids, is_token.astype(np.int64))


@dataclass(frozen=True, slots=True)
class PackedReader:
    """Several texts a row; their token vectors are pooled here."""

    read_rows: ReadRows
    dimension: int
    pad_id: int
    pooling: str
    """mean or cls."""
    first_position: int
    """0 for BERT; RoBERTa counts from after its padding id."""
    is_unit: bool
    """Give vectors of length 1."""

    def read(self, texts: list[list[int]], batch_size: int) -> NDArray[np.float32]:
        """Return (n, D) vectors in the order of the texts; a text without tokens has zeros."""
        lengths = [len(text) for text in texts]
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for rows in cut_rows(lengths, batch_size, _ROW_TOKENS):
            places = [at for row in rows for at in row]
            vectors[places] = self._read_together(texts, rows, places)
        return vectors

    def _read_together(
        self, texts: list[list[int]], rows: list[list[int]], places: list[int]
    ) -> NDArray[np.float32]:
        lengths = np.array([len(texts[at]) for at in places])
        filled = [sum(len(texts[at]) for at in row) for row in rows]
        width = -(-max(filled) // ROW_STEP) * ROW_STEP
        # Where each text begins among all tokens, and in the flattened rows.
        begins = np.cumsum(lengths) - lengths
        gaps = np.repeat(
            np.arange(len(rows)) * width - (np.cumsum(filled) - filled), [*map(len, rows)]
        )
        within = np.arange(lengths.sum()) - np.repeat(begins, lengths)
        tokens = np.repeat(begins + gaps, lengths) + within
        shape = (len(rows), width)
        vectors = self.read_rows(
            _spread(tokens, np.concatenate([texts[at] for at in places]), self.pad_id, shape),
            _spread(tokens, within + self.first_position, self.first_position, shape),
            _spread(tokens, np.repeat(np.arange(len(places)), lengths), -1, shape),
        ).reshape(-1, self.dimension)
        if self.pooling == "cls":
            pooled = vectors[begins + gaps]
        else:
            pooled = np.add.reduceat(vectors[tokens], begins, axis=0) / lengths[:, None]
        if self.is_unit:
            pooled /= np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        found: NDArray[np.float32] = pooled.astype(np.float32, copy=False)
        return found


def _spread(
    tokens: NDArray[np.int64], values: Any, rest: int, shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Put the values of tokens where they stand in the rows."""
    rows = np.full(shape, rest, dtype=np.int64)
    rows.reshape(-1)[tokens] = values
    return rows
