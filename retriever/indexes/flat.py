"""Exact search: every row is compared with every query, by matrix products.

A block of rows is scored fast, with a known error. Rows that could be among the best in spite of
that error are kept, and scored again exactly. FAISS's own flat search gives the same rows and is
several times slower on many rows and queries.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import processor
from retriever.indexes.ranking import rank_candidates, score_exactly
from retriever.storage.vectors import RowFacts, StoredVectors

_QUERIES_AT_ONCE = 256
_KEPT_AT_ONCE = 2**18  # wanted rows of the queries that are searched together
_BLOCK_SCORES = 2**19
_MIN_BLOCK, _MAX_BLOCK = 2048, 16384  # rows; what a block needs should stay in the cache
_BF16_QUERIES = 8  # from this many queries on, converting a block to bfloat16 pays
_FP32_UNIT = 2.0**-24  # greatest relative error of one rounding
_BF16_UNIT = 1.01 * 2.0**-8  # the same, relative to the rounded number
_SPARE_CANDIDATES = 4096  # per query; more, and bfloat16 is too coarse for these rows


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A fast way to score a block, and how wrong it can be."""

    score: Callable[[NDArray[np.float32]], Any]
    """Rows (n, dimension) to a tensor (n, m)."""
    error: NDArray[np.float64]
    """(m,) greatest difference from the exact score, before the result is rounded."""
    unit: float
    """Greatest relative error of rounding the result."""

    def lowest(self, score: NDArray[Any]) -> NDArray[Any]:
        """Return the least exact score behind a fast one."""
        least: NDArray[Any] = score - np.abs(score) * self.unit - self.error
        return least

    def threshold(self, floor: NDArray[Any]) -> NDArray[Any]:
        """Return the fast score below which no row is exactly as good as one of ``floor``."""
        # Errors come in turn: the sums' first, then rounding, which is relative to those sums.
        least = self.lowest(floor) - self.error
        rounded: NDArray[Any] = least - np.abs(least) * self.unit
        return rounded


@dataclass(frozen=True, slots=True)
class _Kept:
    """Rows that could be among the best: fast score, position, query; each (n,)."""

    scores: NDArray[np.float32]
    positions: NDArray[np.int64]
    queries: NDArray[np.int64]


class FlatIndex:
    """All rows of one precision, searched exactly."""

    def __init__(self, rows: StoredVectors, facts: RowFacts, id_rank: NDArray[Any]) -> None:
        """Take mapped rows, what is known of them, and the rank of each passage's id."""
        self.size, self.dimension, self.rows = rows.size, rows.dimension, rows
        self._facts, self._id_rank = facts, id_rank
        self._is_bf16_used = processor.fast_dtype() == "bf16"

    def search(
        self, vectors: NDArray[np.float32], top_k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the best rows of every query; see ``VectorIndex``."""
        wanted = min(top_k, self.size)
        together = max(1, min(_QUERIES_AT_ONCE, _KEPT_AT_ONCE // wanted))
        starts = range(0, max(1, len(vectors)), together)
        found = [self._search_together(vectors[at : at + together], wanted) for at in starts]
        scores, positions = map(np.concatenate, zip(*found, strict=True))
        if (positions < 0).any():
            raise ArithmeticError(
                "a query has fewer hits than there are rows: it, or a row, holds NaN. Verify the "
                "index by opening it with --verify, or build it again."
            )
        return scores, positions

    def between(self, start: int, stop: int) -> "FlatIndex":
        """Return an index of some of the rows; its positions count from ``start``."""
        rows = replace(self.rows, codes=self.rows.codes[start:stop])
        return FlatIndex(rows, self._facts, self._id_rank[start:stop])

    def _search_together(
        self, vectors: NDArray[np.float32], wanted: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        best = None
        if self._is_bf16_used and len(vectors) >= _BF16_QUERIES:
            best = self._search_with(self._bf16_kernel(vectors), vectors, wanted)
        if best is None:
            best = self._search_with(self._fp32_kernel(vectors), vectors, wanted)
        if best is None:
            raise ArithmeticError("float32 products are less exact than IEEE 754 allows.")
        return best

    def _search_with(
        self, kernel: _Kernel, vectors: NDArray[np.float32], wanted: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Search, or return None when the kernel is too coarse for these rows."""
        limit = None if kernel.unit == 0 else len(vectors) * (wanted + _SPARE_CANDIDATES)
        kept = _keep_best(self.rows, kernel, self._id_rank, (len(vectors), wanted), limit)
        if kept is None:
            return None
        exact = score_exactly(vectors, self.rows, kept.positions, kept.queries)
        wrong_by = np.abs(exact - kept.scores) - kernel.unit * np.abs(kept.scores)
        if (wrong_by > kernel.error[kept.queries]).any():
            return None
        shape = (len(vectors), wanted)
        return rank_candidates(exact, kept.positions, kept.queries, self._id_rank, shape)

    def _fp32_kernel(self, vectors: NDArray[np.float32]) -> _Kernel:
        columns = np.ascontiguousarray(vectors.T)
        return _Kernel(
            lambda block: torch.from_numpy(block @ columns), self._rounding(vectors), 0.0
        )

    def _bf16_kernel(self, vectors: NDArray[np.float32]) -> _Kernel:
        rounded = torch.from_numpy(vectors).bfloat16()
        kept = rounded.float().numpy()
        # |q.x - q'.x'| <= |q - q'| |x| + |q'| |x - x'|
        lost = np.linalg.norm(vectors - kept, axis=1) * self._facts.max_norm
        lost = lost + np.linalg.norm(kept, axis=1) * self._facts.bf16_error
        room = torch.empty((_MAX_BLOCK, self.dimension), dtype=torch.bfloat16)

        def score(block: NDArray[np.float32]) -> Any:
            return torch.nn.functional.linear(
                room[: len(block)].copy_(torch.from_numpy(block)), rounded
            )

        return _Kernel(score, lost + self._rounding(vectors), _BF16_UNIT)

    def _rounding(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Bound the error of float32 sums in any order, and of a score kept as float32."""
        norms: NDArray[np.float64] = np.linalg.norm(vectors.astype(np.float64), axis=1)
        return norms * self._facts.max_norm * (self.dimension + 2) * _FP32_UNIT


def _keep_best(
    rows: StoredVectors,
    kernel: _Kernel,
    id_rank: NDArray[Any],
    shape: tuple[int, int],
    limit: int | None,
) -> _Kept | None:
    """Return every row that may be among the best of a query, or None if more than ``limit``."""
    queries, wanted = shape
    step = min(max(_BLOCK_SCORES // max(queries, 1), _MIN_BLOCK), _MAX_BLOCK)
    kept = _Kept(np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
    threshold = np.full(queries, -np.inf)
    raised_at = 0
    for start in range(0, rows.size, step):
        scores = kernel.score(rows.read(slice(start, start + step)))
        if start == 0 and len(scores) > wanted:
            floor = torch.topk(scores, wanted, dim=0).values[-1].float().numpy()
            threshold = kernel.threshold(floor)
        kept = _join(kept, _pick(scores, threshold, start))
        # Every query keeps about as many rows again each time the rows seen have doubled.
        seen = start + len(scores)
        if seen >= wanted and (seen >= 2 * raised_at or seen == rows.size):
            best, _ = rank_candidates(kept.scores, kept.positions, kept.queries, id_rank, shape)
            threshold = kernel.threshold(best[:, -1])
            kept = _filter(kept, kept.scores >= threshold[kept.queries])
            raised_at = seen
        if limit is not None and len(kept.scores) > limit:
            return None
    return kept


def _pick(scores: Any, threshold: NDArray[Any], start: int) -> _Kept:
    # A threshold rounded up to the next bfloat16 still lets every score above it pass.
    is_kept = scores >= torch.from_numpy(threshold).to(scores.dtype)
    places = np.flatnonzero(is_kept.numpy())
    positions, queries = np.divmod(places, len(threshold))
    found = scores.reshape(-1)[torch.from_numpy(places)].float().numpy()
    return _Kept(found, positions + start, queries)


def _join(first: _Kept, second: _Kept) -> _Kept:
    return _Kept(
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.positions, second.positions]),
        np.concatenate([first.queries, second.queries]),
    )


def _filter(kept: _Kept, is_wanted: NDArray[np.bool_]) -> _Kept:
    return _Kept(kept.scores[is_wanted], kept.positions[is_wanted], kept.queries[is_wanted])
