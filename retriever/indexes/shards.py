"""One exact dense index, searched in parts: each shard has a range of its rows.

The parts are ranges of the same files, so nothing is built again, and scores are the same to the
last bit. Merged by score, ties by passage id, they give what the whole index gives.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retriever.encoders.encoder import count_cores
from retriever.errors import BadIndexError
from retriever.indexes.dense import open_vectors
from retriever.indexes.flat import FlatIndex
from retriever.indexes.ranking import rank_candidates
from retriever.options import OpenOptions
from retriever.storage.manifest import Manifest, read_manifest
from retriever.storage.passages import RANK

ShardHits = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Scores and positions, (m, k) each."""

_WHY_NOT = {
    "bm25": "the weight of a word depends on how many passages of the whole corpus have it",
    "hybrid": "its BM25 part weighs words by the whole corpus",
}


def check_shardable(manifest: Manifest, shards: int) -> None:
    """Refuse to divide an index whose parts would answer differently from the whole.

    Raises:
        BadIndexError: If the kind is not flat, or there are fewer passages than shards.
    """
    if shards < 1 or shards > manifest.passages:
        raise BadIndexError(
            f"shards is {shards}; expected 1 to {manifest.passages}, the passages of the index."
        )
    if shards > 1 and manifest.kind != "flat":
        why = _WHY_NOT.get(manifest.kind, "an approximate index would find other passages")
        raise BadIndexError(
            f"a {manifest.kind} index cannot be divided into {shards} shards: {why}. Use "
            "--replicas, each of which holds the whole index, or build it with --kind flat."
        )


class Shard:
    """The rows of a flat index from one position up to another; needs no encoder."""

    def __init__(self, folder: Path, number: int, shards: int, threads: int | None = None) -> None:
        """Map shard ``number`` of ``shards``, counted from 0; only its rows are ever read.

        Raises:
            BadIndexError: If the files are not what the manifest says, or cannot be divided.
        """
        manifest = read_manifest(folder)
        check_shardable(manifest, shards)
        faiss.omp_set_num_threads(threads or count_cores())
        id_rank = np.load(folder / RANK, mmap_mode="r")
        whole = open_vectors(folder, "flat", manifest.settings["vectors"], id_rank, OpenOptions())
        if not isinstance(whole, FlatIndex):
            raise TypeError(f"a flat index on the CPU opened as {type(whole).__name__}.")
        bounds = np.linspace(0, whole.size, shards + 1).astype(int).tolist()
        self._start = bounds[number]
        self._rows = whole.between(self._start, bounds[number + 1])

    def search(self, vectors: NDArray[np.float32], top_k: int) -> ShardHits:
        """Return the best rows of this shard, by their positions in the whole index."""
        scores, positions = self._rows.search(vectors, top_k)
        return scores, positions + self._start


class ShardedIndex:
    """All shards as one ``VectorIndex``."""

    def __init__(
        self,
        ask: Sequence[Callable[[NDArray[np.float32], int], Callable[[], ShardHits]]],
        id_rank: NDArray[Any],
        dimension: int,
    ) -> None:
        """Take the way to every shard.

        Args:
            ask: For each shard, a function that starts a search there and returns a function
                that waits for what ``Shard.search`` gives.
            id_rank: (n,) rank of each passage's id, which orders equal scores.
            dimension: Length of a vector.
        """
        self.size = len(id_rank)
        self.dimension = dimension
        self._ask = ask
        self._id_rank = id_rank

    def search(self, vectors: NDArray[np.float32], top_k: int) -> ShardHits:
        """Return the best rows of all shards; see ``VectorIndex``."""
        waiting = [ask(vectors, top_k) for ask in self._ask]  # all at work before one is awaited
        found = [wait() for wait in waiting]
        scores = np.concatenate([part for part, _ in found], axis=1)
        positions = np.concatenate([part for _, part in found], axis=1)
        queries = np.repeat(np.arange(len(vectors)), scores.shape[1])
        shape = (len(vectors), min(top_k, self.size))
        return rank_candidates(scores.ravel(), positions.ravel(), queries, self._id_rank, shape)
