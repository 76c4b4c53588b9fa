"""Pick the best of many scores, the same on every machine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
