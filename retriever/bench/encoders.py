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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.bench.direct import direct_process
from retriever.bench.materials import Materials
from retriever.encoder import Encoder
from retriever.manifest import read_manifest
from retriever.vectors import FULL_FILE

_TOP_K, _BATCH = 3, 64
_QUERIES, _LONE, _ROUNDS = 1000, 200, 3

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
            row |= _compare(vectors, reference, index / FULL_FILE, dimension)
        rows.append(row)
    return {"queries": len(queries), "batch": _BATCH, "ways": rows}


def _sentence_transformers(folder: Path) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    return lambda texts: model.encode(
        texts, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
    ).astype(np.float32)


def _torch(precision: str) -> Callable[[Path], Encode]:
    def load(folder: Path) -> Encode:
        return Encoder(folder, batch_size=_BATCH, precision=precision).encode_queries

    return load


def _compiled(folder: Path) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    model[0].model = torch.compile(model[0].model, dynamic=True)
    return _through_modules(model, folder)


def _int8(folder: Path) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer
    from torch.ao.quantization import quantize_dynamic

    model = SentenceTransformer(str(folder), device="cpu")
    model[0].model = quantize_dynamic(model[0].model, {torch.nn.Linear}, dtype=torch.qint8)
    return _through_modules(model, folder)


def _onnx(is_int8: bool) -> Callable[[Path], Encode]:
    def load(folder: Path) -> Encode:
        from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

        options: dict[str, Any] = {"provider": "CPUExecutionProvider"}
        model = SentenceTransformer(str(folder), backend="onnx", model_kwargs=options)
        if is_int8:
            options["file_name"] = "model_qint8_avx512_vnni.onnx"
            with tempfile.TemporaryDirectory() as target:
                model.save_pretrained(target)
                export_dynamic_quantized_onnx_model(model, "avx512_vnni", target)
                model = SentenceTransformer(target, backend="onnx", model_kwargs=options)
        return _through_modules(model, folder)

    return load


def _openvino(folder: Path) -> Encode:
    from sentence_transformers import SentenceTransformer

    return _through_modules(SentenceTransformer(str(folder), backend="openvino"), folder)


def _through_modules(model: Any, folder: Path) -> Encode:
    """Call tokenizer and modules as ``retriever.encoder`` does, whatever runs the model."""
    from retriever.text_models import wrap_sentence_transformer

    wrapped = wrap_sentence_transformer(model, folder)

    def encode(texts: list[str]) -> NDArray[np.float32]:
        vectors = wrapped.encode(texts, "", _BATCH, True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return encode


_LOADERS: dict[str, tuple[Callable[[Path], Encode], str]] = {
    "torch fp32 (reference)": (_torch("fp32"), "torch"),
    "torch bf16 (ours)": (_torch("bf16"), "torch"),
    "torch bf16, SentenceTransformer.encode": (_sentence_transformers, "torch"),
    "torch bf16, torch.compile": (_compiled, "torch"),
    "torch int8 dynamic": (_int8, "torch"),
    "ONNX Runtime fp32": (_onnx(False), "optimum.onnxruntime"),
    "ONNX Runtime int8 dynamic": (_onnx(True), "optimum.onnxruntime"),
    "OpenVINO": (_openvino, "optimum.intel"),
}


_WAYS: Sequence[str] = tuple(_LOADERS)


def measure(
    name: str, encoder: Path, queries: list[str], lone: int, rounds: int
) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """Run one way; gives its row and its vectors, or why it was left out and None."""
    load, package = _LOADERS[name]
    if importlib.util.find_spec(package.partition(".")[0]) is None:
        return {"way": name, "left_out": f"{package} is not installed"}, None
    try:
        encode = load(encoder)
        vectors = encode(queries)
    except (ImportError, RuntimeError, ValueError, OSError, AttributeError) as error:
        return {"way": name, "left_out": str(error).partition("\n")[0][:200]}, None
    return {"way": name, **_time(encode, queries, lone, rounds)}, vectors


def _time(encode: Encode, queries: list[str], lone: int, rounds: int) -> dict[str, float]:
    """Time batches and lone queries; the best of several rounds, since others use the machine."""
    batch_s, lone_ms = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        encode(queries)
        batch_s.append(time.perf_counter() - started)
        times = []
        for query in queries[:lone]:
            started = time.perf_counter()
            encode([query])
            times.append(time.perf_counter() - started)
        lone_ms.append(1000 * statistics.median(times))
    return {"queries_per_s": len(queries) / min(batch_s), "lone_ms": min(lone_ms)}


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
