"""Vectors on disk, mapped into memory, and what every kind of vector index can do with them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retriever.errors import BadIndexError
from retriever.storage.files import map_array, save_array, written_aside

ENCODED = "encoded.f32"  # float32 rows without a header, as the encoder wrote them
ROWS_AT_ONCE = 8192

_STORED_AS = {"fp16": np.float16, "bf16": np.uint16, "sq8": np.uint8}
_SCALE = "vectors.scale.npy"


class Rows(Protocol):
    """Where the rows of candidates are read from."""

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some rows by position, (n, dimension)."""
        ...


class VectorIndex(Protocol):
    """Vectors by position, searched by inner product; row i belongs to passage i of the store."""

    size: int  # vectors
    dimension: int

    def search(
        self, vectors: NDArray[np.float32], top_k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the nearest rows of every query.

        Args:
            vectors: (m, dimension) queries.
            top_k: Wanted rows per query, 1 or more.

        Returns:
            Scores (m, k), best first, and positions (m, k) with k = min(top_k, size). Equal
            scores are ordered by the rank of the passage id. A row that an approximate kind
            could not fill ends with position -1, score -inf. The answer to a query does not
            depend on the other queries.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """Rows of one precision; float32 whenever they are read."""

    codes: NDArray[Any]
    """(n, dimension), usually a mapped file."""
    precision: str
    """fp32, fp16, bf16 (upper half of a float32, as uint16) or sq8 (one byte)."""
    scale: NDArray[np.float32] | None = None
    """(2, dimension) of sq8: the least value, and the step between two bytes."""
    owner: Any = None
    """Whatever must live as long as ``codes``."""

    @property
    def size(self) -> int:
        """Rows."""
        return int(self.codes.shape[0])

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return int(self.codes.shape[1])

    def read(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some rows, (n, dimension); float32 ones between two places without a copy."""
        codes = self.codes[rows]
        if self.scale is not None:
            numbers = codes * self.scale[1] + self.scale[0]
        elif self.precision == "bf16":
            numbers = (codes.astype(np.uint32) << 16).view(np.float32)
        else:
            numbers = codes.astype(np.float32, copy=False)
        read: NDArray[np.float32] = numbers
        return read

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Yield the rows between two places in order, some at a time."""
        stop = self.size if stop is None else stop
        for at in range(start, stop, ROWS_AT_ONCE):
            yield self.read(slice(at, min(at + ROWS_AT_ONCE, stop)))


@dataclass(frozen=True, slots=True)
class RowFacts:
    """Bounds over all rows, from which the exact search knows how wrong a fast score can be."""

    max_norm: float
    """Length of the longest row."""
    bf16_error: float
    """Length of the longest difference between a row and its bfloat16 rounding."""


def check_rows(rows: Rows, size: int) -> None:
    """Read all rows once, and refuse those that nothing can be compared with.

    Raises:
        BadIndexError: If a row holds NaN or an infinite number.
    """
    for start in range(0, size, ROWS_AT_ONCE):
        _check_block(rows.read(np.arange(start, min(start + ROWS_AT_ONCE, size))), start)


def _check_block(block: NDArray[np.float32], start: int) -> None:
    unusable = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if len(unusable):
        raise BadIndexError(
            f"the vector of passage {start + unusable[0]}, counted from 0, holds NaN or infinite "
            f"numbers, as do {len(unusable)} of the {len(block)} read with it; expected finite "
            "ones. Build the index anew from finite vectors, as --precision fp32 or bf16 if "
            "numbers over 65,504 were kept as fp16."
        )


def measure_rows(rows: StoredVectors) -> RowFacts:
    """Read all rows once.

    Raises:
        BadIndexError: If a row holds NaN or an infinite number.
    """
    max_norm = bf16_error = 0.0
    for at, block in enumerate(rows.blocks()):
        _check_block(block, at * ROWS_AT_ONCE)
        rounded = StoredVectors(_encode(block, "bf16", None), "bf16").read(slice(None))
        max_norm = max(max_norm, float(np.linalg.norm(block, axis=1).max()))
        bf16_error = max(bf16_error, float(np.linalg.norm(block - rounded, axis=1).max()))
    # A little more, because lengths are rounded too.
    return RowFacts(max_norm * (1 + 1e-5), bf16_error * (1 + 1e-5))


def store_vectors(vectors: NDArray[np.float32], folder: Path, precision: str) -> None:
    """Write ``vectors``, (n, dimension), at a lower precision than their own float32.

    Raises:
        OSError: If the disk has no room for them.
    """
    rows = StoredVectors(vectors, "fp32")
    scale = _fit_scale(rows) if precision == "sq8" else None
    if scale is not None:
        save_array(folder / _SCALE, scale)
    with written_aside(folder / _name(precision)) as aside:
        codes = map_array(aside, _STORED_AS[precision], vectors.shape)
        start = 0
        for block in rows.blocks():
            codes[start : start + len(block)] = _encode(block, precision, scale)
            start += len(block)


def open_stored(folder: Path, precision: str, size: int, dimension: int) -> StoredVectors:
    """Map what ``store_vectors`` (or, for fp32, the encoder) wrote.

    Raises:
        BadIndexError: If the file does not hold ``size`` rows of length ``dimension``.
    """
    path = folder / (ENCODED if precision == "fp32" else _name(precision))
    # Mapped copy-on-write: nothing is ever written, but torch warns of arrays that are read-only.
    try:
        if precision == "fp32":
            flat: NDArray[Any] = np.memmap(path, np.float32, "c")
            codes = flat.reshape(-1, dimension)
        else:
            codes = np.load(path, mmap_mode="c")
        scale = np.load(folder / _SCALE) if precision == "sq8" else None
    except (OSError, ValueError) as error:
        raise BadIndexError(
            f"{path} holds no {precision} vectors of length {dimension} ({error}); "
            "build the index again."
        ) from error
    if codes.shape != (size, dimension):
        raise BadIndexError(
            f"{path} holds {codes.shape} numbers; expected {(size, dimension)}; "
            "build the index again."
        )
    return StoredVectors(np.asarray(codes), precision, scale)


def _name(precision: str) -> str:
    return f"vectors.{precision}.npy"


def _fit_scale(rows: StoredVectors) -> NDArray[np.float32]:
    """Spread 256 steps between the least and the greatest value of each dimension."""
    least = np.full(rows.dimension, np.inf, dtype=np.float32)
    greatest = -least
    for block in rows.blocks():
        np.minimum(least, block.min(axis=0), out=least)
        np.maximum(greatest, block.max(axis=0), out=greatest)
    return np.stack([least, (greatest - least) / np.float32(255)])


def _encode(
    block: NDArray[np.float32], precision: str, scale: NDArray[np.float32] | None
) -> NDArray[Any]:
    if scale is not None:
        step = np.where(scale[1] > 0, scale[1], np.float32(1))
        steps: NDArray[Any] = np.rint((block - scale[0]) / step)
        return steps.clip(0, 255).astype(np.uint8)
    if precision == "bf16":
        bits = block.view(np.uint32)
        rounded: NDArray[Any] = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # ties to even
        return rounded.astype(np.uint16)
    with np.errstate(over="ignore"):  # what becomes infinite is refused when rows are checked
        return block.astype(np.float16)
