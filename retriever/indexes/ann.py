"""Approximate kinds, by FAISS: ivf, ivfpq and hnsw.

FAISS proposes candidates; their scores are computed again from the stored rows, so that equal
passages have equal scores and an answer does not depend on the other queries of a batch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retriever.errors import BadIndexError
from retriever.indexes.flat import FlatIndex
from retriever.indexes.gpu import gpu_candidates, pick_gpus, shard_index
from retriever.indexes.ranking import rank_candidates, score_exactly
from retriever.options import OpenOptions
from retriever.storage.faiss_files import FAISS_FILE, read_faiss
from retriever.storage.vectors import Rows, StoredVectors, measure_rows, open_stored

_SPARE_CANDIDATES = 8
_ROUNDING = 1e-5  # relative; well above the error of a float32 inner product
_REFINED_HITS = 10  # the refine factor counts candidates of this many hits


Candidates = Callable[[NDArray[np.float32], int], NDArray[np.int64]]


class FaissRows:
    """Rows as a FAISS index keeps them, decoded."""

    def __init__(self, index: Any) -> None:
        """Take an index that can reconstruct rows by position."""
        self._index = index

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some rows, (n, dimension).

        Raises:
            BadIndexError: If the index lacks one: FAISS puts a vector with NaN in no cell.
        """
        try:
            decoded: NDArray[np.float32] = self._index.reconstruct_batch(rows)
        except RuntimeError as error:
            raise BadIndexError(
                f"the FAISS index has no vector for one of the passages {rows.min()} to "
                f"{rows.max()}, counted from 0 ({error}); expected one for each, without NaN. "
                "Build it again."
            ) from error
        return decoded


class CandidateIndex:
    """Candidates from FAISS, ordered by their exact scores."""

    def __init__(
        self,
        candidates: Candidates,
        rows: Rows,
        id_rank: NDArray[Any],
        dimension: int,
        least_fetched: int = 0,
        slack: float | None = _ROUNDING,
    ) -> None:
        """Take what proposes, and what decides.

        Args:
            candidates: Gives the positions (m, k) nearest to (m, dimension) queries; -1 pads.
            rows: The rows that scores are computed from.
            id_rank: (n,) rank of each passage's id, which orders equal scores.
            dimension: Length of a row.
            least_fetched: Candidates looked at even if fewer rows are wanted.
            slack: How far apart, relative to the score, the order of the candidates and that of
                exact scores can put two rows. More are fetched as long as the last wanted row is
                so near to the last fetched that another could be level with it. With None there
                are never more: the best rows are then the same for every ``top_k`` up to
                ``least_fetched``, however coarse the candidates' order is.
        """
        self.size, self.dimension = len(id_rank), dimension
        self.rows = rows
        self._candidates, self._id_rank = candidates, id_rank
        self._least_fetched, self._slack = least_fetched, slack

    def search(
        self, vectors: NDArray[np.float32], top_k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the best candidates of every query; see ``VectorIndex``."""
        wanted = min(top_k, self.size)
        scores = np.full((len(vectors), wanted), -np.inf, dtype=np.float32)
        positions = np.full((len(vectors), wanted), -1, dtype=np.int64)
        left = np.arange(len(vectors))
        spare = 0 if self._slack is None else _SPARE_CANDIDATES
        fetched = max(wanted + spare, self._least_fetched)
        while len(left):
            fetched = min(fetched, self.size)
            found = self._rank(vectors[left], fetched)
            scores[left], positions[left] = found[0][:, :wanted], found[1][:, :wanted]
            if self._slack is None or fetched == self.size:
                break
            # A tie with the last wanted place may go on outside of what was fetched.
            last, wanted_last = found[0][:, -1], found[0][:, wanted - 1]
            is_open = last >= wanted_last - self._slack * np.maximum(1, np.abs(wanted_last))
            left = left[is_open & (last > -np.inf)]
            fetched *= 4
        return scores, positions

    def _rank(
        self, vectors: NDArray[np.float32], fetched: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        proposed = self._candidates(vectors, fetched)
        queries, places = np.nonzero(proposed >= 0)
        positions = proposed[queries, places]
        exact = score_exactly(vectors, self.rows, positions, queries)
        shape = (len(vectors), fetched)
        return rank_candidates(exact, positions, queries, self._id_rank, shape)


def open_index(
    kind: str,
    folder: Path,
    settings: dict[str, Any],
    id_rank: NDArray[Any],
    options: OpenOptions,
) -> CandidateIndex:
    """Open what ``ann_build`` wrote, or a FAISS file of these kinds that was adopted.

    Raises:
        BadIndexError: If the file is of another kind than the settings say.
        DeviceError: If GPUs are wanted that cannot be used.
    """
    index = read_faiss(folder / FAISS_FILE)
    expected = faiss.IndexHNSW if kind == "hnsw" else faiss.IndexIVF
    if not isinstance(index, expected):
        raise BadIndexError(
            f"{folder / FAISS_FILE} is a {type(index).__name__}, its manifest says {kind}; "
            "build the index again."
        )
    if kind == "hnsw":
        ef_search = options.ef_search or settings["ef_search"]
        candidates = _hnsw_candidates(index, ef_search)
        return CandidateIndex(candidates, FaissRows(index), id_rank, index.d)
    index.nprobe = min(options.nprobe or settings["nprobe"], index.nlist)
    gpus = pick_gpus(options.device)
    candidates = gpu_candidates(shard_index(index, gpus)) if gpus else _ivf_candidates(index)
    refine = settings.get("refine", "none")
    if refine == "none":
        if index.direct_map.no():
            index.make_direct_map()  # an adopted file may lack it
        return CandidateIndex(candidates, FaissRows(index), id_rank, index.d)
    rows = open_stored(folder, refine, len(id_rank), index.d)
    # As many for every top_k: so the best 3 are the first of the best 50.
    least = (options.refine_factor or settings["refine_factor"]) * _REFINED_HITS
    return CandidateIndex(candidates, rows, id_rank, index.d, least, slack=None)


def _hnsw_candidates(index: Any, ef_search: int) -> Candidates:
    def propose(vectors: NDArray[np.float32], wanted: int) -> NDArray[np.int64]:
        params = faiss.SearchParametersHNSW(efSearch=max(ef_search, wanted))
        found: NDArray[np.int64] = index.search(vectors, wanted, params=params)[1]
        return found

    return propose


def _ivf_candidates(index: Any) -> Candidates:
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        return lambda vectors, wanted: index.search(vectors, wanted)[1]
    # FAISS picks cells by matrix products, whose last bits depend on the batch; we pick exactly.
    middles = StoredVectors(index.quantizer.reconstruct_n(0, index.nlist), "fp32")
    cells = FlatIndex(middles, measure_rows(middles), np.arange(index.nlist))

    def propose(vectors: NDArray[np.float32], wanted: int) -> NDArray[np.int64]:
        scores, nearest = cells.search(vectors, index.nprobe)
        found: NDArray[np.int64] = index.search_preassigned(vectors, wanted, nearest, scores)[1]
        return found

    return propose
