"""Ways to run the query encoder: queries a second, latency, and what recall they keep.

Every way searches the same passages exactly; the fp32 model is the reference. Engines that are not
installed are left out, and the table says so.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.retriever.direct import direct_process
from benchmarks.retriever.materials import Materials
from retriever.encoders.encoder import Encoder, count_cores
from retriever.storage.manifest import read_manifest
from retriever.storage.vectors import ENCODED

if TYPE_CHECKING:
    from retriever.encoders.text_readers import Embed

_TOP_K, _BATCH = 3, 64
_SMALL = 32  # what a server has at hand when 64 clients ask
_QUERIES, _LONE, _ROUNDS = 1000, 200, 3
_INPUTS = ("input_ids", "attention_mask")

Encode = Callable[[list[str]], NDArray[np.float32]]


def run(materials: Materials) -> dict[str, Any]:
    """Measure every way over the extracts."""
    index = materials.dense_index(materials.extracts(), "extracts-flat")
    dimension = read_manifest(index).settings["encoder"]["dimension"]
    queries = materials.queries.take(_QUERIES)
    sizes = (_LONE, _ROUNDS)
    rows = []
    reference: NDArray[np.float32] | None = None
    for name in _WAYS:
        with direct_process() as direct:  # each in a process of its own: threads and patches stay
            row, vectors = direct.call(measure, name, materials.encoder, queries, *sizes)
        if vectors is not None:
            reference = vectors if reference is None else reference
            row |= _compare(vectors, reference, index / ENCODED, dimension)
        rows.append(row)
    return {"queries": len(queries), "batch": _BATCH, "small_batch": _SMALL, "ways": rows}


def _sentence_transformers(folder: Path) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    return lambda texts: model.encode(
        texts, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
    ).astype(np.float32)


def _ours(precision: str, engine: str | None) -> Callable[[Path], Encode]:
    def load(folder: Path) -> Encode:
        encoder = Encoder(folder, batch_size=_BATCH, precision=precision, engine=engine)
        return encoder.encode_queries

    return load


def _torch(is_int8: bool) -> Callable[[Path], Encode]:
    def load(folder: Path) -> Encode:
        import torch
        from torch.ao.quantization import quantize_dynamic

        from retriever.encoders.compiled_reader import run_by_torch

        if is_int8:
            module = quantize_dynamic(_load_row(folder), {torch.nn.Linear}, dtype=torch.qint8)
        else:
            module = torch.compile(_load_row(folder).bfloat16(), dynamic=True)

        return _through(folder, run_by_torch(module))

    return load


def _openvino_padded(folder: Path) -> Encode:
    import torch

    from retriever.encoders.compiled_reader import compile_padded

    return _through(folder, compile_padded(_load_row(folder), torch.bfloat16))


def _onnx(is_int8: bool) -> Callable[[Path], Encode]:
    def load(folder: Path) -> Encode:
        import onnxruntime
        import torch
        from onnxruntime.quantization import QuantType, quantize_dynamic

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = count_cores()
        ids, mask = torch.full((2, 9), 7), torch.ones((2, 9), dtype=torch.int64)
        mask[0, 6:] = 0  # or the graph would not heed it
        sizes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "model.onnx"
            torch.onnx.export(
                _load_row(folder),
                (ids, mask),
                path,
                input_names=_INPUTS,
                dynamic_shapes=(sizes, sizes),
            )
            if is_int8:
                full, path = path, path.with_name("int8.onnx")
                quantize_dynamic(full, path, per_channel=True, weight_type=QuantType.QInt8)
            session = onnxruntime.InferenceSession(path, options)

        def embed(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
            named = dict(zip(_INPUTS, (ids, mask), strict=True))
            vectors: NDArray[np.float32] = session.run(None, named)[0]
            return vectors

        return _through(folder, embed)

    return load


def _load_row(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    from retriever.encoders.text_models import ModuleRow

    return ModuleRow(list(SentenceTransformer(str(folder), device="cpu"))).eval()


def _through(folder: Path, embed: Embed) -> Encode:
    """Split and batch texts as ``retriever.encoders.encoder`` does, whatever runs the model."""
    from retriever.encoders.text_models import load_text_model

    model: Any = load_text_model(folder, None, engine="torch")
    model.reader = replace(model.reader, embed=embed)

    def encode(texts: list[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(texts, "", _BATCH, True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return encode


# Each with the packages that it needs.
_LOADERS: dict[str, tuple[Callable[[Path], Encode], tuple[str, ...]]] = {
    "torch fp32 (reference)": (_ours("fp32", "torch"), ()),
    "torch bf16": (_ours("bf16", "torch"), ()),
    "torch bf16, SentenceTransformer.encode": (_sentence_transformers, ()),
    "torch bf16, torch.compile": (_torch(False), ()),
    "torch int8 dynamic": (_torch(True), ()),
    "ONNX Runtime fp32": (_onnx(False), ("onnxruntime", "onnxscript")),
    "ONNX Runtime int8 dynamic": (_onnx(True), ("onnxruntime", "onnxscript")),
    "OpenVINO bf16": (_openvino_padded, ("openvino",)),
    "OpenVINO fp32, packed": (_ours("fp32", None), ("openvino",)),
    "OpenVINO bf16, packed (ours)": (_ours("bf16", None), ("openvino",)),
}


_WAYS: Sequence[str] = tuple(_LOADERS)


def measure(
    name: str, encoder: Path, queries: list[str], lone: int, rounds: int
) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """Run one way; gives its row and its vectors, or why it was left out and None."""
    load, packages = _LOADERS[name]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        return {"way": name, "left_out": f"{' and '.join(missing)} is not installed"}, None
    try:
        encode = load(encoder)
        vectors = encode(queries)
    except Exception as error:  # noqa: BLE001  engines that are only tried may raise anything
        return {"way": name, "left_out": str(error).strip().partition("\n")[0][:200]}, None
    return {"way": name, **_time(encode, queries, lone, rounds)}, vectors


def _time(encode: Encode, queries: list[str], lone: int, rounds: int) -> dict[str, float]:
    """Time batches and lone queries; the best of several rounds, since others use the machine."""
    batch_s, small_s, lone_ms = [], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        encode(queries)
        batch_s.append(time.perf_counter() - started)
        started = time.perf_counter()
        for at in range(0, len(queries), _SMALL):
            encode(queries[at : at + _SMALL])
        small_s.append(time.perf_counter() - started)
        times = []
        for query in queries[:lone]:
            started = time.perf_counter()
            encode([query])
            times.append(time.perf_counter() - started)
        lone_ms.append(1000 * statistics.median(times))
    return {
        "queries_per_s": len(queries) / min(batch_s),
        "small_batches_per_s": len(queries) / min(small_s),
        "lone_ms": min(lone_ms),
    }


def _compare(
    vectors: NDArray[np.float32],
    reference: NDArray[np.float32],
    passages_file: Path,
    dimension: int,
) -> dict[str, float]:
    passages = np.memmap(passages_file, dtype=np.float32, mode="r").reshape(-1, dimension)
    found, exact = (_best(rows, passages) for rows in (vectors, reference))
    shared = [len(a & b) for a, b in zip(found, exact, strict=True)]
    return {
        "recall_of_fp32": statistics.mean(shared) / min(_TOP_K, len(passages)),
        "least_cosine": float((vectors * reference).sum(axis=1).min()),
    }


def _best(vectors: NDArray[np.float32], passages: NDArray[np.float32]) -> list[set[int]]:
    scores = vectors @ passages.T
    return [set(row) for row in np.argpartition(-scores, _TOP_K, axis=1)[:, :_TOP_K].tolist()]
