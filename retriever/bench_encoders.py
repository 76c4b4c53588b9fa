"""Compare ways to run a query encoder: queries a second, latency, and what recall they keep.

``python -m retriever.bench_encoders --encoder DIR --corpus FILE --questions FILE --out FILE``.
Every way searches the same passage vectors exactly; the fp32 model is the reference. Engines that
are not installed are left out, and the table says so.
"""

import argparse
import importlib.util
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from retriever.corpus import read_corpus
from retriever.encode import encode_store
from retriever.encoder import Encoder, count_cores
from retriever.store import PassageStore, write_store

TOP_K, BATCH, LONE = 3, 64, 200

Encode = Callable[[list[str]], NDArray[np.float32]]


def _sentence_transformers(folder: Path) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    return lambda texts: model.encode(
        texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
    ).astype(np.float32)


def _torch(precision: str) -> Callable[[Path], Encode]:
    def load(folder: Path) -> Encode:
        return Encoder(folder, batch_size=BATCH, precision=precision).encode_queries

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
        vectors = wrapped.encode(texts, "", BATCH, True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return encode


WAYS: dict[str, tuple[Callable[[Path], Encode], str]] = {
    "torch fp32 (reference)": (_torch("fp32"), "torch"),
    "torch bf16 (retriever.encoder)": (_torch("bf16"), "torch"),
    "torch bf16, SentenceTransformer.encode": (_sentence_transformers, "torch"),
    "torch bf16, torch.compile": (_compiled, "torch"),
    "torch int8 dynamic": (_int8, "torch"),
    "ONNX Runtime fp32": (_onnx(False), "optimum.onnxruntime"),
    "ONNX Runtime int8 dynamic": (_onnx(True), "optimum.onnxruntime"),
    "OpenVINO": (_openvino, "optimum.intel"),
}


def _measure(encode: Encode, queries: list[str], rounds: int) -> dict[str, float]:
    """Time batches and lone queries; the best of several rounds, since others use the machine."""
    encode(queries[:BATCH])
    batch_s, lone_ms = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        encode(queries)
        batch_s.append(time.perf_counter() - started)
        times = []
        for query in queries[:LONE]:
            started = time.perf_counter()
            encode([query])
            times.append(time.perf_counter() - started)
        lone_ms.append(1000 * statistics.median(times))
    return {
        "batch_queries_per_s": round(len(queries) / min(batch_s), 1),
        "lone_median_ms": round(min(lone_ms), 2),
    }


def _top(vectors: NDArray[np.float32], passages: NDArray[np.float32]) -> list[set[int]]:
    scores = vectors @ passages.T
    return [set(row) for row in np.argpartition(-scores, TOP_K, axis=1)[:, :TOP_K].tolist()]


def compare(
    folder: Path, queries: list[str], passages: NDArray[np.float32], ways: list[str], rounds: int
) -> list[dict[str, Any]]:
    """Measure each way; a row per way, with why it could not run instead where it could not."""
    rows: list[dict[str, Any]] = []
    reference: NDArray[np.float32] | None = None
    for name in ways:
        load, package = WAYS[name]
        if importlib.util.find_spec(package.partition(".")[0]) is None:
            rows.append({"way": name, "left_out": f"{package} is not installed"})
            continue
        try:
            encode = load(folder)
            vectors = encode(queries)
        except (ImportError, RuntimeError, ValueError, OSError, AttributeError) as error:
            rows.append({"way": name, "left_out": str(error).splitlines()[0][:200]})
            continue
        reference = vectors if reference is None else reference
        pairs = zip(_top(vectors, passages), _top(reference, passages), strict=True)
        row: dict[str, Any] = {"way": name, **_measure(encode, queries, rounds)}
        row["recall_at_3_of_fp32"] = round(statistics.mean(len(a & b) for a, b in pairs) / TOP_K, 4)
        row["least_cosine_with_fp32"] = round(float((vectors * reference).sum(1).min()), 5)
        rows.append(row)
        sys.stderr.write(f"{orjson.dumps(row).decode()}\n")
    return rows


def _encode_corpus(corpus: Path, n: int, folder: Path, work: Path) -> NDArray[np.float32]:
    work.mkdir(parents=True, exist_ok=True)
    first = work / "first.jsonl"
    lines = [line.raw for line in islice(read_corpus(corpus), n)]
    first.write_bytes(b"\n".join(lines))
    write_store(first, work)
    return encode_store(PassageStore(work), work, Encoder(folder), BATCH, lambda _: None)


def _read_questions(path: Path) -> list[str]:
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(path, columns=["extra_info"]).to_pylist()
    return [row["extra_info"]["question"] for row in rows]


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m retriever.bench_encoders", description=__doc__)
    add = parser.add_argument
    add("--encoder", type=Path, required=True, help="sentence-transformers folder")
    add("--corpus", type=Path, required=True, help="JSONL file of passages")
    add("--questions", type=Path, required=True, help="parquet file made by data_prep")
    add("--out", type=Path, required=True, help="JSON file to write")
    add("--passages", type=int, default=10_000, help="first passages searched (default: 10000)")
    add("--queries", type=int, default=1_000, help="first questions asked (default: 1000)")
    add("--work", type=Path, help="folder that keeps the passage vectors for the next run")
    add("--rounds", type=int, default=3, help="the best of so many (default: 3)")
    add("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="default: all")
    parsed = parser.parse_args(arguments)
    queries = _read_questions(parsed.questions)[: parsed.queries]
    with tempfile.TemporaryDirectory() as scratch:
        work = parsed.work or Path(scratch)
        passages = _encode_corpus(parsed.corpus, parsed.passages, parsed.encoder, work)
        ways = compare(parsed.encoder, queries, passages, parsed.ways, parsed.rounds)
    command = "python -m retriever.bench_encoders " + " ".join(arguments or sys.argv[1:])
    facts = {"command": command, "cores": count_cores(), "machine": platform.processor()}
    facts |= {"queries": len(queries), "passages": len(passages), "batch": BATCH, "ways": ways}
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    parsed.out.write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
