"""Exact dense search: FAISS flat inner product over encoder vectors."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from retriever.encoder import Encoder, count_cores, open_encoder
from retriever.errors import BadIndexError, BuildError
from retriever.manifest import Manifest
from retriever.options import BuildOptions, OpenOptions
from retriever.ranking import pick_best
from retriever.store import PassageStore
from retriever.types import Hit, check_top_k

VECTORS = "vectors.faiss"

_PASSAGES_AT_ONCE = 1024  # enough to sort by length, little enough to hold
_SPARE_CANDIDATES = 8
_ROUNDING = 1e-5  # well above the error of a float32 inner product of unit vectors


class QueryEncoder(Protocol):
    """What dense search needs of an encoder."""

    def encode_queries(self, queries: list[str]) -> NDArray[np.float32]:
        """Return (n, dimension) vectors of length 1."""
        ...


def write_index(
    store: PassageStore, folder: Path, options: BuildOptions, on_passages: Callable[[int], object]
) -> dict[str, Any]:
    """Encode all passages into a FAISS file, and return the settings for the manifest."""
    if options.encoder is None:
        raise BuildError("a flat index needs an encoder; give its folder with --encoder.")
    encoder = Encoder(
        options.encoder,
        options.query_prefix,
        options.passage_prefix,
        options.threads,
        options.batch_size,
    )
    index = faiss.IndexFlatIP(encoder.facts.dimension)
    for start in range(0, len(store), _PASSAGES_AT_ONCE):
        positions = range(start, min(start + _PASSAGES_AT_ONCE, len(store)))
        index.add(encoder.encode_passages([store[at].contents for at in positions]))
        on_passages(len(positions))
    try:
        faiss.write_index(index, str(folder / VECTORS))
    except RuntimeError as error:  # FAISS has no other; a full disk is the usual reason
        raise BuildError(f"{folder / VECTORS} cannot be written: {error}") from error
    # Relative, so that a tree with models and indexes can be moved as a whole.
    where = os.path.relpath(options.encoder.resolve(), folder.resolve())
    return {"encoder": asdict(encoder.facts), "encoder_folder": where}


def open_index(
    folder: Path, manifest: Manifest, store: PassageStore, options: OpenOptions
) -> "DenseRetriever":
    """Open an index that ``write_index`` wrote, with the encoder that it was built with."""
    settings = manifest.settings
    faiss.omp_set_num_threads(options.threads or count_cores())
    index = _map_vectors(folder / VECTORS)
    if (index.ntotal, index.d) != (len(store), settings["encoder"]["dimension"]):
        raise BadIndexError(
            f"{folder / VECTORS} holds {index.ntotal} vectors of length {index.d}; expected "
            f"{len(store)} of {settings['encoder']['dimension']}; build the index again."
        )
    encoder_folder = options.encoder or Path(os.path.normpath(folder / settings["encoder_folder"]))
    encoder = open_encoder(encoder_folder, settings["encoder"], options.threads)
    return DenseRetriever(index, encoder, store)


def _map_vectors(path: Path) -> Any:
    """Open a FAISS file without reading it; processes that do share one copy in memory."""
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise BadIndexError(f"{path} is no FAISS index: {error}; build it again.") from error


class DenseRetriever:
    """Passages by inner product with the query's vector; every passage is compared."""

    kind = "flat"

    def __init__(self, index: Any, encoder: QueryEncoder, store: PassageStore) -> None:
        """Take a flat FAISS index whose row i is passage i of the store."""
        self._index = index
        self._encoder = encoder
        self._store = store
        self._vectors: NDArray[np.float32] = faiss.rev_swig_ptr(
            index.get_xb(), index.ntotal * index.d
        ).reshape(index.ntotal, index.d)
        self.size = len(store)

    def search(self, queries: list[str], top_k: int) -> list[list[Hit]]:
        """Return the best passages of every query, exactly; a blank query has none."""
        check_top_k(top_k)
        hits: list[list[Hit]] = [[] for _ in queries]
        asked = [place for place, query in enumerate(queries) if query.strip()]
        if asked:
            vectors = self._encoder.encode_queries([queries[place] for place in asked])
            for place, found in zip(asked, self._search_vectors(vectors, top_k), strict=True):
                hits[place] = found
        return hits

    def _search_vectors(self, vectors: NDArray[np.float32], top_k: int) -> list[list[Hit]]:
        """Search with more candidates until no tie with the last place is left outside."""
        found: dict[int, list[Hit]] = {}
        left = np.arange(len(vectors))
        wanted = min(top_k, self.size)
        fetched = min(wanted + _SPARE_CANDIDATES, self.size)
        while len(left):
            scores, positions = self._index.search(vectors[left], fetched)
            is_open = scores[:, -1] >= scores[:, wanted - 1] - _ROUNDING
            is_done = ~is_open if fetched < self.size else np.ones(len(left), dtype=bool)
            for row in np.flatnonzero(is_done).tolist():
                found[int(left[row])] = self._rank(vectors[left[row]], positions[row], wanted)
            left = left[~is_done]
            fetched = min(fetched * 4, self.size)
        return [found[row] for row in range(len(vectors))]

    def _rank(
        self, vector: NDArray[np.float32], positions: NDArray[np.int64], top_k: int
    ) -> list[Hit]:
        # Float64 makes a score independent of which queries were searched together, so equal
        # passages get equal scores.
        exact = self._vectors[positions].astype(np.float64) @ vector.astype(np.float64)
        scores = exact.astype(np.float32)
        best = pick_best(scores, self._store.id_rank[positions], top_k)
        return [Hit(self._store[int(positions[at])], float(scores[at])) for at in best.tolist()]

    def close(self) -> None:
        """Unmap the passages."""
        self._store.close()
