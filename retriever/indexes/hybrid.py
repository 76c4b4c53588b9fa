"""Reciprocal rank fusion of exact dense search and BM25, built into one folder.

A passage at place r of one ranking (the best is 1) gets 1 / (60 + r) from it; its score is the sum
over both rankings, at most 2 / 61. Scores of the two rankings themselves are never compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from retriever.errors import BadIndexError
from retriever.indexes import bm25, dense
from retriever.options import BuildOptions, OpenOptions
from retriever.storage.manifest import Manifest
from retriever.storage.passages import PassageStore
from retriever.types import Hit, check_top_k

RRF_K = 60  # of the paper that introduced the method (Cormack et al., SIGIR 2009)
DEPTH = 100


def write_index(
    store: PassageStore, folder: Path, options: BuildOptions, on_passages: Callable[[int], object]
) -> dict[str, Any]:
    """Write a flat dense index and a BM25 index side by side; returns settings of both.

    Raises:
        BuildError: If an option is missing, or is for another kind.
    """
    return {
        "dense": dense.write_index(store, folder, options, on_passages),
        "bm25": bm25.write_index(store, folder, options, lambda _passages: None),
        "rrf_k": RRF_K,
        "rrf_depth": DEPTH,
    }


def open_index(
    folder: Path, manifest: Manifest, store: PassageStore, options: OpenOptions
) -> "HybridRetriever":
    """Open an index that ``write_index`` wrote; the encoder is the one it was built with.

    Raises:
        BadIndexError: If the files are not what the manifest says.
        EncoderError: If the encoder is missing or is another one.
    """
    settings = manifest.settings
    k, depth = (_read_count(folder, settings, name) for name in ("rrf_k", "rrf_depth"))
    by_vector = dense.open_index(
        folder, replace(manifest, kind="flat", settings=settings["dense"]), store, options
    )
    by_words = bm25.open_index(
        folder, replace(manifest, kind="bm25", settings=settings["bm25"]), store, options
    )
    return HybridRetriever(by_vector, by_words, store, k, depth)


def _read_count(folder: Path, settings: dict[str, Any], name: str) -> int:
    value = settings.get(name)
    if isinstance(value, int) and value >= 1:
        return value
    raise BadIndexError(
        f"{folder}/manifest.json has {name} {value!r}; expected a whole number, 1 or more. "
        "Correct it, or build the index again."
    )


class HybridRetriever:
    """Passages that rank high by vector, by words, or by both."""

    kind = "hybrid"

    def __init__(
        self,
        by_vector: dense.DenseRetriever,
        by_words: bm25.Bm25Retriever,
        store: PassageStore,
        k: int = RRF_K,
        depth: int = DEPTH,
    ) -> None:
        """Take two retrievers of one store.

        Args:
            by_vector: Finds by the query's vector.
            by_words: Finds by the query's words.
            store: The passages of both.
            k: Added to every place, so that the first places do not decide alone.
            depth: How much of each ranking is fused. It does not follow ``top_k``: so the best 3
                are the first of the best 5, and no query has more than twice as many hits.
        """
        self.size = len(store)
        self._rankers = (by_vector, by_words)
        self._store = store
        self._k = k
        self._depth = depth

    def search(self, queries: list[str], top_k: int) -> list[list[Hit]]:
        """Return the best passages of every query by fused score; a blank query has none."""
        check_top_k(top_k)
        found = [ranker.find(queries, self._depth) for ranker in self._rankers]
        return [
            self._rank([[position for position, _ in ranking] for ranking in rankings], top_k)
            for rankings in zip(*found, strict=True)
        ]

    def _rank(self, rankings: Sequence[Sequence[int]], top_k: int) -> list[Hit]:
        scores = fuse_rankings(rankings, self._k)
        id_rank = self._store.id_rank
        best = sorted(scores, key=lambda position: (-scores[position], id_rank[position]))
        return [Hit(self._store[position], scores[position]) for position in best[:top_k]]

    def close(self) -> None:
        """Unmap the passages."""
        self._store.close()


def fuse_rankings(rankings: Sequence[Sequence[int]], k: int) -> dict[int, float]:
    """Return the reciprocal rank fusion score of everything that is ranked, best first each."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for place, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (k + place)
    return scores
