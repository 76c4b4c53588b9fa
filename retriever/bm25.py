"""BM25 by bm25s: the words of a query against the words of every passage. Imports no torch."""

import importlib
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import BadIndexError
from retriever.manifest import Manifest
from retriever.options import BuildOptions, OpenOptions
from retriever.ranking import pick_best
from retriever.store import PassageStore
from retriever.types import Hit, check_top_k

METHOD, K1, B = "lucene", 0.9, 0.4  # the defaults of Pyserini, which Search-R1 uses
ANALYSIS = "casefold, Latin accents removed, words of letters and digits, 33 English stop words"

_WORDS = re.compile(r"\w+")
_ACCENTS = re.compile("[\u0300-\u036f]")
_STOP_WORD_LIST = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
_STOP_WORDS = frozenset(_STOP_WORD_LIST.split())
_UNUSED_BY_BM25S = ("jax", "numba", "scipy")


def split_words(text: str) -> list[str]:
    """Return the words that BM25 compares: folded, without stop words, in order."""
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return [word for word in _WORDS.findall(text.casefold()) if word not in _STOP_WORDS]


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
    """Write the word scores of all passages, and return the settings for the manifest."""
    vocabulary = {"": 0}
    token_ids = []
    for passage in store:
        words = split_words(passage.contents)
        token_ids.append([vocabulary.setdefault(word, len(vocabulary)) for word in words])
        on_passages(1)
    index = _import_bm25s().BM25(k1=K1, b=B, method=METHOD)
    with np.errstate(invalid="ignore"):  # a corpus of stop words only has passages of length 0
        index.index((token_ids, vocabulary), show_progress=False)
    index.save(folder)
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
        check_top_k(top_k)
        return [self._search_one(query, top_k) for query in queries]

    def _search_one(self, query: str, top_k: int) -> list[Hit]:
        token_ids = self._index.get_tokens_ids(split_words(query))
        if not token_ids:
            return []
        scores: NDArray[Any] = self._index.get_scores_from_ids(token_ids)
        matching = np.flatnonzero(scores)
        best = matching[pick_best(scores[matching], self._store.id_rank[matching], top_k)]
        return [Hit(self._store[at], float(scores[at])) for at in best.tolist()]

    def close(self) -> None:
        """Unmap the passages."""
        self._store.close()
