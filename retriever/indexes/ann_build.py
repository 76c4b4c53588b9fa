"""Build the approximate kinds with FAISS: ivf, ivfpq and hnsw.

Training sees a sample of bounded size, and rows are added some at a time, so that memory holds
the index itself and little else.
"""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retriever.errors import BuildError
from retriever.indexes.sizing import HNSW_M, POINTS_PER_CELL, choose_pq_bytes, count_cells
from retriever.options import BuildOptions
from retriever.storage.faiss_files import FAISS_FILE
from retriever.storage.files import written_aside
from retriever.storage.vectors import ROWS_AT_ONCE, store_vectors

_TRAINING_BYTES = 2**30
_MIN_PQ_POINTS = 256  # one for each value of a byte
_SCALAR_TYPES = {
    "fp16": faiss.ScalarQuantizer.QT_fp16,
    "bf16": faiss.ScalarQuantizer.QT_bf16,
    "sq8": faiss.ScalarQuantizer.QT_8bit,
}


def write_vectors(
    kind: str, vectors: NDArray[np.float32], folder: Path, options: BuildOptions
) -> dict[str, Any]:
    """Write the files of an approximate kind, and return its settings.

    The same vectors, seed and thread count give the same bytes.

    Raises:
        BuildError: If there are too few vectors.
        OSError: If a file cannot be written.
    """
    make = {"ivf": _make_ivf, "ivfpq": _make_ivfpq, "hnsw": _make_hnsw}[kind]
    index, settings = make(vectors, options)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        index.add(np.ascontiguousarray(vectors[start : start + ROWS_AT_ONCE]))
    refine = settings.get("refine", "none")
    if refine not in ("none", "fp32"):
        store_vectors(vectors, folder, refine)
    if kind != "hnsw" and refine == "none":
        index.make_direct_map()  # so that rows can be read by position
    write_faiss(index, folder / FAISS_FILE)
    return settings


def write_faiss(index: Any, path: Path) -> None:
    """Write a FAISS file that is seen whole or not at all.

    Raises:
        OSError: If the disk has no room for it.
    """
    # By its name FAISS would write it itself, and not notice that the last bytes had no room.
    with written_aside(path) as aside, aside.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def _make_ivf(vectors: NDArray[np.float32], options: BuildOptions) -> tuple[Any, dict[str, Any]]:
    nlist, dimension = _count_cells(len(vectors), options), vectors.shape[1]
    cells = faiss.IndexFlatIP(dimension)
    if options.precision == "fp32":
        index = faiss.IndexIVFFlat(cells, dimension, nlist, faiss.METRIC_INNER_PRODUCT)
    else:
        # Bytes say more of the small difference from the middle of a cell than of the vector.
        is_residual = options.precision == "sq8"
        scalar = _SCALAR_TYPES[options.precision]
        index = faiss.IndexIVFScalarQuantizer(
            cells, dimension, nlist, scalar, faiss.METRIC_INNER_PRODUCT, is_residual
        )
    _train(index, vectors, options.seed)
    settings = {"precision": options.precision, "nlist": nlist, "nprobe": count_probes(nlist)}
    return index, settings


def _make_ivfpq(vectors: NDArray[np.float32], options: BuildOptions) -> tuple[Any, dict[str, Any]]:
    size, dimension = vectors.shape
    pq_bytes = options.pq_bytes or choose_pq_bytes(dimension)
    if dimension % pq_bytes:
        raise BuildError(
            f"pq_bytes is {pq_bytes}; expected a divisor of the dimension {dimension}, such as "
            f"{choose_pq_bytes(dimension)}."
        )
    if size < _MIN_PQ_POINTS:
        raise BuildError(
            f"ivfpq learns from {_MIN_PQ_POINTS} passages or more, the corpus has {size}; "
            "build a flat index."
        )
    nlist = _count_cells(size, options)
    cells = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFPQ(cells, dimension, nlist, pq_bytes, 8, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.seed = options.seed
    _train(index, vectors, options.seed)
    settings = {
        "nlist": nlist,
        "nprobe": count_probes(nlist),
        "pq_bytes": pq_bytes,
        "refine": options.refine or "sq8",
        "refine_factor": 10,
    }
    return index, settings


def _make_hnsw(vectors: NDArray[np.float32], options: BuildOptions) -> tuple[Any, dict[str, Any]]:
    settings = {
        "m": options.hnsw_m or HNSW_M,
        "ef_construction": options.ef_construction or 200,
        "ef_search": 128,
    }
    metric = faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexHNSWFlat(vectors.shape[1], settings["m"], metric)
    index.hnsw.efConstruction = settings["ef_construction"]
    index.hnsw.rng = faiss.RandomGenerator(options.seed)
    # Several threads link passages in the order in which they happen to finish.
    faiss.omp_set_num_threads(options.threads or 1)
    return index, settings


def _count_cells(size: int, options: BuildOptions) -> int:
    if options.nlist is not None and options.nlist > size:
        raise BuildError(f"nlist is {options.nlist}; expected at most the {size} passages.")
    return options.nlist or count_cells(size)


def count_probes(nlist: int) -> int:
    """Choose how many of ``nlist`` cells a query looks into."""
    return min(nlist, 64 + nlist // 64)


def _train(index: Any, vectors: NDArray[np.float32], seed: int) -> None:
    wanted = max(POINTS_PER_CELL * index.nlist, 64 * _MIN_PQ_POINTS)
    wanted = min(len(vectors), wanted, _TRAINING_BYTES // (4 * vectors.shape[1]))
    random = np.random.default_rng(seed)
    sample = np.sort(random.choice(len(vectors), wanted, replace=False, shuffle=False))
    index.cp.seed = seed
    index.cp.min_points_per_centroid = 1  # few points are no reason to warn on stdout
    index.cp.max_points_per_centroid = wanted
    index.train(np.ascontiguousarray(vectors[sample]))
