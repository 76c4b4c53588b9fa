"""Pick the best of many scores, the same on every machine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.storage.vectors import Rows

_ROWS_AT_ONCE = 8192  # so that many candidates take little memory


def pick_best(scores: NDArray[Any], id_rank: NDArray[Any], top_k: int) -> NDArray[Any]:
    """Return the places of the ``top_k`` highest scores, best first, ties by rank of the id.

    Args:
        scores: (n,) similarities.
        id_rank: (n,) place of each passage's id in sorted order.
        top_k: How many to pick, 1 or more; fewer come back when n is smaller.
    """
    if top_k < len(scores):
        # Everything level with the last place stays in, so that the id decides, not the sort.
        least = np.partition(scores, -top_k)[-top_k]
        places = np.flatnonzero(scores >= least)
    else:
        places = np.arange(len(scores))
    order = np.lexsort((id_rank[places], -scores[places]))
    best: NDArray[Any] = places[order[:top_k]]
    return best


def score_exactly(
    vectors: NDArray[np.float32],
    rows: Rows,
    positions: NDArray[np.int64],
    queries: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the inner product of each row with its query, as exact as float32 can say it.

    Sums are float64, so that a score does not depend on what is computed with it, and equal
    passages have equal scores.

    Args:
        vectors: (m, dimension) queries.
        rows: Where the candidates are read from.
        positions: (n,) the candidates.
        queries: (n,) which query each candidate belongs to.
    """
    exact = np.empty(len(positions), dtype=np.float32)
    for start in range(0, len(positions), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        read = rows.read(positions[some]).astype(np.float64)
        exact[some] = np.einsum("nd,nd->n", read, vectors[queries[some]].astype(np.float64))
    return exact


def rank_candidates(
    scores: NDArray[np.float32],
    positions: NDArray[np.int64],
    queries: NDArray[np.int64],
    id_rank: NDArray[Any],
    shape: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Order the candidates of many queries, and keep the best of each.

    Args:
        scores: (n,) similarities.
        positions: (n,) passages; none twice for one query.
        queries: (n,) which query each candidate belongs to.
        id_rank: Rank of the id of every passage, by position; orders equal scores.
        shape: How many queries there are, and how many candidates of each to keep.

    Returns:
        Scores and positions of that shape, best first; what is missing has score -inf and
        position -1.
    """
    order = np.lexsort((id_rank[positions], -scores, queries))
    counts = np.bincount(queries, minlength=shape[0])
    starts = np.cumsum(counts) - counts
    places = np.arange(len(order)) - np.repeat(starts, counts)
    order, places = order[places < shape[1]], places[places < shape[1]]
    best_scores = np.full(shape, -np.inf, dtype=np.float32)
    best_positions = np.full(shape, -1, dtype=np.int64)
    best_scores[queries[order], places] = scores[order]
    best_positions[queries[order], places] = positions[order]
    return best_scores, best_positions
