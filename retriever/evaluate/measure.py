"""Search all questions with one setting of one index, and take time and memory."""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from numpy.typing import NDArray

from retriever.environment import prepare_libraries
from retriever.evaluate.sweep import Setting
from retriever.indexes.kinds import open_retriever
from retriever.storage.manifest import read_manifest
from retriever.types import Hit, Retriever

_PASSAGE_FILES = ("passages.",)  # text and offsets; what is left is what a search goes through
_ALL_AT_ONCE = 256
_TIMED_QUERIES, _TIMED_BATCHES = 128, 6


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one setting found and what it cost."""

    hits: list[list[Hit]]
    latency_ms: dict[str, float]
    """p50 and p99 of one query at a time, with its encoding."""
    search_ms: float
    """Median of the same without the encoding, where the kind shows its vector index."""
    queries_per_s: dict[str, float]
    """By batch size."""
    resident_mb: float
    """Of the process after all searches: Python, torch, encoder, index and touched text."""
    index_mb: float
    """Files that a search goes through: vectors, graph or word scores, not the text."""


def measure(
    setting: Setting,
    queries: list[str],
    top_k: int,
    batch_sizes: tuple[int, ...] = (1, 64),
    lone: int = 100,
    encoder: Path | None = None,
    threads: int | None = None,
) -> Measurement:
    """Open, search, close. Run it in a fresh process, or the memory is somebody else's too.

    Args:
        setting: Index and knobs.
        queries: Searched once in large batches for what is found, and again to take the time.
        top_k: Hits per query.
        batch_sizes: For queries/s.
        lone: How many queries are asked one by one for the latency.
        encoder: Its folder, if it moved.
        threads: CPU threads; None uses every core.
    """
    prepare_libraries()  # as the server does
    retriever = open_retriever(setting.index, setting.options(encoder, threads))
    try:
        starts = range(0, len(queries), _ALL_AT_ONCE)
        hits = [
            h for at in starts for h in retriever.search(queries[at : at + _ALL_AT_ONCE], top_k)
        ]
        clock = _watch_vectors(retriever)
        seconds = [_time(retriever, [query], top_k) for query in queries[:lone]]
        search_s = median(clock or seconds)
        rates = {str(size): _rate(retriever, queries, top_k, size) for size in batch_sizes}
        resident_mb = psutil.Process().memory_info().rss / 1e6
    finally:
        retriever.close()
    p50, p99 = (float(np.percentile(seconds, percent)) * 1e3 for percent in (50, 99))
    return Measurement(
        hits=hits,
        latency_ms={"p50": p50, "p99": p99},
        search_ms=search_s * 1e3,
        queries_per_s=rates,
        resident_mb=resident_mb,
        index_mb=count_index_bytes(setting.index) / 1e6,
    )


def count_index_bytes(index: Path) -> int:
    """Add up the files of an index that a search goes through, without the passages' text."""
    files = read_manifest(index).files
    return sum(facts.bytes for name, facts in files.items() if not name.startswith(_PASSAGE_FILES))


def _watch_vectors(retriever: Retriever) -> list[float]:
    """Note the seconds of every search among the vectors of a dense kind; empty for others."""
    seconds: list[float] = []
    index = getattr(retriever, "index", None)
    if index is not None:
        search = index.search

        def timed(vectors: NDArray[np.float32], top_k: int) -> object:
            started = time.perf_counter()
            found = search(vectors, top_k)
            seconds.append(time.perf_counter() - started)
            return found

        index.search = timed
    return seconds


def _time(retriever: Retriever, queries: list[str], top_k: int) -> float:
    started = time.perf_counter()
    retriever.search(queries, top_k)
    return time.perf_counter() - started


def _rate(retriever: Retriever, queries: list[str], top_k: int, size: int) -> float:
    """Take the median over some batches of one size, each of other queries."""
    used = queries[: max(_TIMED_QUERIES, _TIMED_BATCHES * size)]
    batches = [used[at : at + size] for at in range(0, len(used), size)]
    seconds = [_time(retriever, batch, top_k) / len(batch) for batch in batches]
    return 1.0 / median(seconds)
