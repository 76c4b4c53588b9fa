"""BM25 by bm25s: the words of a query against the words of every passage. Imports no torch."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import BadIndexError
from retriever.indexes.bm25_scores import count_words, write_scores
from retriever.indexes.ranking import pick_best
from retriever.indexes.words import ANALYSIS, split_words
from retriever.options import BuildOptions, OpenOptions
from retriever.storage.files import UNFINISHED, save_array
from retriever.storage.manifest import Manifest
from retriever.storage.passages import PassageStore
from retriever.types import Hit, check_top_k

METHOD, K1, B = "lucene", 0.9, 0.4  # the defaults of Pyserini, which Search-R1 uses

_UNUSED_BY_BM25S = ("jax", "numba", "scipy")


def _import_bm25s() -> Any:
    """Import bm25s without the accelerators that it would load and that are not used here.

    Numba alone takes 150 MB in every process that serves an index.
    """
    hidden = [] if "bm25s" in sys.modules else [m for m in _UNUSED_BY_BM25S if m not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        return importlib.import_module("bm25s")
    finally:
        for module in hidden:
            del sys.modules[module]


def write_index(
    store: PassageStore, folder: Path, options: BuildOptions, on_passages: Callable[[int], object]
) -> dict[str, Any]:
    """Write the word scores of all passages, and return the settings for the manifest.

    Text and counts stream through files. Memory holds the vocabulary (about 150 bytes for each
    different word), 4 bytes per passage, and blocks of a fixed size.
    """
    counts, scores, rows = (folder / f"{name}{UNFINISHED}" for name in ("counts", "scores", "rows"))
    vocabulary, lengths = count_words(store, counts, on_passages)
    starts = write_scores(counts, scores, rows, len(vocabulary), lengths, K1, B)
    index = _import_bm25s().BM25(k1=K1, b=B, method=METHOD)
    index.vocab_dict = vocabulary
    index.nonoccurrence_array = None  # Lucene's method has none
    # The two large arrays are files already, so bm25s saves what belongs to them.
    nothing = {"data": np.empty(0, np.float32), "indices": np.empty(0, np.int32)}
    index.scores = nothing | {"indptr": starts, "num_docs": len(lengths)}
    index.save(folder)
    save_array(folder / "indptr.csc.index.npy", starts)  # again, as a full disk cuts theirs short
    scores.replace(folder / "data.csc.index.npy")
    rows.replace(folder / "indices.csc.index.npy")
    counts.unlink()
    return {"method": METHOD, "k1": K1, "b": B, "analysis": ANALYSIS}


def open_index(
    folder: Path, manifest: Manifest, store: PassageStore, options: OpenOptions
) -> "Bm25Retriever":
    """Open an index that ``write_index`` wrote; its arrays stay mapped files."""
    if manifest.settings.get("analysis") != ANALYSIS:
        raise BadIndexError(
            f"{folder} splits words as {manifest.settings.get('analysis')!r}, this version as "
            f"{ANALYSIS!r}; build the index again."
        )
    return Bm25Retriever(_import_bm25s().BM25.load(folder, mmap=True), store)


class Bm25Retriever:
    """Passages that share a word with the query, by BM25 score."""

    kind = "bm25"

    def __init__(self, index: Any, store: PassageStore) -> None:
        self._index = index
        self._store = store
        self.size = len(store)

    def search(self, queries: list[str], top_k: int) -> list[list[Hit]]:
        """Return the best passages of every query; one that shares no word is never a hit."""
        return [
            [Hit(self._store[position], score) for position, score in found]
            for found in self.find(queries, top_k)
        ]

    def find(self, queries: list[str], top_k: int) -> list[list[tuple[int, float]]]:
        """Return position and score of what ``search`` returns, without reading passages."""
        check_top_k(top_k)
        return [self._find_one(query, top_k) for query in queries]

    def _find_one(self, query: str, top_k: int) -> list[tuple[int, float]]:
        token_ids = self._index.get_tokens_ids(split_words(query))
        if not token_ids:
            return []
        scores: NDArray[Any] = self._index.get_scores_from_ids(token_ids)
        matching = np.flatnonzero(scores)
        best = matching[pick_best(scores[matching], self._store.id_rank[matching], top_k)]
        return list(zip(best.tolist(), scores[best].tolist(), strict=True))

    def close(self) -> None:
        """Unmap the passages."""
        self._store.close()
