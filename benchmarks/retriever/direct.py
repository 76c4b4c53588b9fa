"""The index and the encoder without a server, in a process of their own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from retriever.indexes.kinds import open_retriever
from retriever.types import Retriever

P = ParamSpec("P")
T = TypeVar("T")


class Direct:
    """Calls functions in one child process, which keeps what it opened."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def call(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Run a function of a module there, and wait."""
        return self._pool.submit(function, *arguments, **named).result()


@contextmanager
def direct_process() -> Iterator[Direct]:
    """Keep a child process; the bench itself never loads torch, so it stays out of the way."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield Direct(pool)


def search_batches(index: Path, queries: Sequence[str], size: int, top_k: int = 3) -> float:
    """Search in batches of one size; gives queries/s."""
    retriever = _open(index)
    retriever.search(list(queries[: min(size, 8)]), top_k)
    started = time.perf_counter()
    for at in range(0, len(queries), size):
        retriever.search(list(queries[at : at + size]), top_k)
    return len(queries) / (time.perf_counter() - started)


def search_vectors(index: Path, size: int, batches: int) -> float:
    """Search the vectors of a dense index alone, with random queries; gives queries/s."""
    vectors = _open(index).index  # type: ignore[attr-defined]
    random = np.random.default_rng(1)
    asked = random.standard_normal((batches + 1, size, vectors.dimension), dtype=np.float32)
    asked /= np.linalg.norm(asked, axis=-1, keepdims=True)
    vectors.search(asked[0], 3)
    return size / median(_seconds(vectors.search, batch, 3) for batch in asked[1:])


def search_alone(index: Path, queries: Sequence[str], top_k: int = 3) -> float:
    """Search one query after the other; gives the median in ms."""
    retriever = _open(index)
    return median(_seconds(retriever.search, [query], top_k) for query in queries) * 1e3


def encode_queries(
    encoder: Path, precision: str, queries: Sequence[str], size: int, is_sorted: bool
) -> float:
    """Encode with sentence-transformers itself, in batches of one size; gives texts/s."""
    return _encode_rate(_model(encoder, precision), list(queries), size, is_sorted)


def compare_precisions(encoder: Path, queries: Sequence[str]) -> float:
    """Give the least cosine between float32 and bfloat16 vectors of the same queries."""
    exact, rounded = (_vectors(_model(encoder, name), queries) for name in ("fp32", "bf16"))
    return float((exact * rounded).sum(axis=1).min())


def search_faiss(vectors_file: Path, dimension: int, size: int, batches: int) -> float:
    """Search FAISS's own exact index with rows of the file as queries; gives queries/s."""
    import faiss

    vectors = np.fromfile(vectors_file, dtype=np.float32).reshape(-1, dimension)
    index = faiss.IndexFlatIP(dimension)
    index.add(vectors)
    index.search(vectors[:size], 3)
    asked = [vectors[at * size : (at + 1) * size] for at in range(batches)]
    return size / median(_seconds(index.search, batch, 3) for batch in asked)


def _vectors(model: Any, texts: Sequence[str]) -> NDArray[np.float32]:
    rows = model.encode(list(texts), batch_size=64, convert_to_numpy=True).astype(np.float32)
    normal: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return normal


def _encode_rate(model: Any, texts: list[str], size: int, is_sorted: bool) -> float:
    ordered = sorted(texts, key=len) if is_sorted else texts
    batches = [ordered[at : at + size] for at in range(0, len(ordered), size)]
    model.encode(batches[0], batch_size=size)
    started = time.perf_counter()
    for batch in batches:  # one call each, for the model would sort within a longer list
        model.encode(batch, batch_size=size, show_progress_bar=False)
    return len(texts) / (time.perf_counter() - started)


@cache
def _open(index: Path) -> Retriever:
    return open_retriever(index)


@cache
def _model(encoder: Path, precision: str) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    kwargs = {"dtype": dtype}
    return SentenceTransformer(
        str(encoder), device="cpu", local_files_only=True, model_kwargs=kwargs
    ).eval()


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started
