"""Dense search: passages whose vectors are nearest to the query's, by any vector index kind."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import orjson
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from retriever.encoders.encode import encode_store, open_encoders
from retriever.encoders.encoder import Encoder, count_cores, open_encoder
from retriever.errors import BadIndexError, BuildError
from retriever.indexes import ann
from retriever.indexes.ann_build import write_vectors
from retriever.indexes.flat import FlatIndex
from retriever.indexes.gpu import gpu_candidates, pick_gpus, shard_rows
from retriever.options import BuildOptions, OpenOptions, check_choices
from retriever.storage.faiss_files import FAISS_FILE, map_flat
from retriever.storage.files import write_whole
from retriever.storage.manifest import Manifest
from retriever.storage.passages import PassageStore
from retriever.storage.vectors import (
    ENCODED,
    RowFacts,
    StoredVectors,
    VectorIndex,
    check_rows,
    measure_rows,
    open_stored,
    store_vectors,
)
from retriever.types import Hit, check_top_k

_FINISHED = "vectors.json"  # written last
_CHECKED = "is_finite"  # of the settings: all rows were read, and none holds NaN or infinity

_BUILD_CHOICES = {
    "flat": ("precision",),
    "ivf": ("precision", "nlist"),
    "ivfpq": ("nlist", "pq_bytes", "refine"),
    "hnsw": ("hnsw_m", "ef_construction"),
}
# Where a GPU keeps rows as float16, and rounds queries to it too.
_GPU_CANDIDATES = 64
_GPU_SLACK = 2.0**-9


class QueryEncoder(Protocol):
    """What dense search needs of an encoder."""

    def encode_queries(self, queries: list[str]) -> NDArray[np.float32]:
        """Return (n, dimension) vectors."""
        ...


def write_index(
    store: PassageStore,
    folder: Path,
    options: BuildOptions,
    on_passages: Callable[[int], object],
    kind: str = "flat",
) -> dict[str, Any]:
    """Encode all passages, write the files of the kind, and return the manifest's settings.

    Raises:
        BuildError: If an option is missing, or is for another kind.
    """
    check_choices(kind, options, _BUILD_CHOICES, BuildError)
    if options.encoder is None:
        raise BuildError(f"a {kind} index needs an encoder; give its folder with --encoder.")
    finished = folder / _FINISHED
    if finished.is_file():  # a build that was killed later on
        settings: dict[str, Any] = orjson.loads(finished.read_bytes())
    else:
        settings = _encode_and_write(store, folder, options, on_passages, kind)
        write_whole(finished, orjson.dumps(settings, option=orjson.OPT_INDENT_2))
    written = settings["vectors"]
    if "fp32" not in (written["precision"] if kind == "flat" else "", written.get("refine")):
        (folder / ENCODED).unlink(missing_ok=True)  # nothing is served from it
    return settings


def _encode_and_write(
    store: PassageStore,
    folder: Path,
    options: BuildOptions,
    on_passages: Callable[[int], object],
    kind: str,
) -> dict[str, Any]:
    _limit_threads(options.threads)
    encoders = open_encoders(options)
    vectors = encode_store(store, folder, encoders, options.batch_size, on_passages)
    written = _write_kind(kind, vectors, folder, options)
    written = check_vectors(folder, kind, written, store.id_rank)
    assert options.encoder is not None  # write_index has checked
    return describe_encoder(encoders[0], options.encoder, folder) | {"vectors": written}


def describe_encoder(encoder: Encoder, encoder_folder: Path, folder: Path) -> dict[str, Any]:
    """Return what the manifest says of the encoder of an index in ``folder``."""
    # Relative, so that a tree with models and indexes can be moved as a whole.
    where = os.path.relpath(encoder_folder.resolve(), folder.resolve())
    return {"encoder": asdict(encoder.facts), "encoder_folder": where}


def find_encoder(folder: Path, settings: dict[str, Any]) -> Path:
    """Return where the encoder of the index in ``folder`` was when it was built."""
    return Path(os.path.normpath(folder / settings["encoder_folder"]))


def _write_kind(
    kind: str, vectors: NDArray[np.float32], folder: Path, options: BuildOptions
) -> dict[str, Any]:
    if kind != "flat":
        return write_vectors(kind, vectors, folder, options)
    if options.precision != "fp32":
        store_vectors(vectors, folder, options.precision)
    return describe_flat(open_stored(folder, options.precision, *vectors.shape))


def describe_flat(rows: StoredVectors) -> dict[str, Any]:
    """Measure all rows, and return what the manifest says of them under ``vectors``.

    Raises:
        BadIndexError: If a row holds NaN or an infinite number.
    """
    facts = asdict(measure_rows(rows))
    return {"precision": rows.precision, "dimension": rows.dimension, **facts, _CHECKED: True}


def check_vectors(
    folder: Path, kind: str, settings: dict[str, Any], id_rank: NDArray[Any]
) -> dict[str, Any]:
    """Read all vectors of an index that is being made, unless its settings say that this was done.

    Returns:
        The settings, which now say so.

    Raises:
        BadIndexError: If a row holds NaN or an infinite number.
    """
    open_vectors(folder, kind, settings, id_rank, OpenOptions())
    return settings | {_CHECKED: True}


def open_index(
    folder: Path, manifest: Manifest, store: PassageStore, options: OpenOptions
) -> "DenseRetriever":
    """Open an index that ``write_index`` wrote, with the encoder that it was built with.

    Raises:
        BadIndexError: If the files are not what the manifest says.
        DeviceError: If GPUs are wanted that cannot be used.
        EncoderError: If the encoder is missing or is another one.
    """
    settings, kind = manifest.settings, manifest.kind
    _limit_threads(options.threads)
    index = open_vectors(folder, kind, settings["vectors"], store.id_rank, options)
    expected = (len(store), settings["encoder"]["dimension"])
    if (index.size, index.dimension) != expected:
        raise BadIndexError(
            f"{folder} holds {index.size} vectors of length {index.dimension}; expected "
            f"{expected[0]} of {expected[1]}; build the index again."
        )
    encoder_folder = options.encoder or find_encoder(folder, settings)
    gpus = pick_gpus(options.device)
    device = f"cuda:{gpus[0]}" if gpus else "cpu"
    encoder = open_encoder(encoder_folder, settings["encoder"], options.threads, device)
    return DenseRetriever(index, encoder, store, kind)


def open_vectors(
    folder: Path,
    kind: str,
    settings: dict[str, Any],
    id_rank: NDArray[Any],
    options: OpenOptions,
) -> VectorIndex:
    """Open the vectors of an index folder, without passages or encoder.

    Args:
        folder: The index folder.
        kind: One of flat, ivf, ivfpq, hnsw.
        settings: What the manifest says under ``vectors``. If it does not say that no number is
            NaN or infinite, as of an index made by an older version, all rows are read for it.
        id_rank: (n,) rank of each passage's id, which orders equal scores.
        options: How to search.

    Raises:
        BadIndexError: If the files are not what the settings say, or a row holds NaN or an
            infinite number.
        DeviceError: If GPUs are wanted that cannot be used.
    """
    if kind != "flat":
        index = ann.open_index(kind, folder, settings, id_rank, options)
        if not settings.get(_CHECKED):
            check_rows(index.rows, index.size)
        return index
    if settings["precision"] == "fp32" and (folder / FAISS_FILE).is_file():  # an adopted file
        rows = map_flat(folder / FAISS_FILE)
    else:
        rows = open_stored(folder, settings["precision"], len(id_rank), settings["dimension"])
    if not settings.get(_CHECKED):
        check_rows(rows, rows.size)
    gpus = pick_gpus(options.device)
    if not gpus:
        facts = RowFacts(settings["max_norm"], settings["bf16_error"])
        return FlatIndex(rows, facts, id_rank)
    candidates = gpu_candidates(shard_rows(rows, gpus))
    if rows.precision == "fp32":
        return ann.CandidateIndex(candidates, rows, id_rank, rows.dimension)
    return ann.CandidateIndex(
        candidates, rows, id_rank, rows.dimension, _GPU_CANDIDATES, _GPU_SLACK
    )


def _limit_threads(threads: int | None) -> None:
    """Limit FAISS and NumPy in this process; the encoder limits torch."""
    faiss.omp_set_num_threads(threads or count_cores())
    if threads:
        threadpool_limits(threads, user_api="blas")


class DenseRetriever:
    """Passages by inner product with the query's vector."""

    def __init__(
        self, index: VectorIndex, encoder: QueryEncoder, store: PassageStore, kind: str
    ) -> None:
        """Take an index whose row i is passage i of the store."""
        self.index = index
        self.kind = kind
        self.size = len(store)
        self._encoder = encoder
        self._store = store

    def search(self, queries: list[str], top_k: int) -> list[list[Hit]]:
        """Return the best passages of every query; a blank query has none."""
        return [
            [Hit(self._store[position], score) for position, score in found]
            for found in self.find(queries, top_k)
        ]

    def find(self, queries: list[str], top_k: int) -> list[list[tuple[int, float]]]:
        """Return position and score of what ``search`` returns, without reading passages."""
        check_top_k(top_k)
        best: list[list[tuple[int, float]]] = [[] for _ in queries]
        asked = [place for place, query in enumerate(queries) if query.strip()]
        if asked:
            vectors = self._encoder.encode_queries([queries[place] for place in asked])
            scores, positions = self.index.search(vectors, top_k)
            for place, row in zip(asked, range(len(vectors)), strict=True):
                pairs = zip(positions[row].tolist(), scores[row].tolist(), strict=True)
                best[place] = [(position, score) for position, score in pairs if position >= 0]
        return best

    def close(self) -> None:
        """Unmap the passages."""
        self._store.close()
