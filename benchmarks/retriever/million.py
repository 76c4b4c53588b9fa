"""A million vectors: the server against its own index, and against Search-R1's server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.retriever.derive import make_synthetic_index
from benchmarks.retriever.direct import Direct, direct_process, search_batches, search_vectors
from benchmarks.retriever.load import Load, drive
from benchmarks.retriever.materials import Materials, say, write_faiss_flat, write_lines
from benchmarks.retriever.servers import Server, our_server, peer_server
from benchmarks.retriever.versus import NOT_RUN, Traffic, summarize
from retriever.storage.manifest import read_manifest
from retriever.storage.vectors import ENCODED

PASSAGES = 1_000_000
DIMENSION = 384  # of MiniLM, which encodes the queries
_SECONDS = 4.0
_PEER_SECONDS = 10.0
_ROUNDS = 2
_TRAFFIC = (Traffic(64), Traffic(1, queries=64))


def run(materials: Materials) -> dict[str, Any]:
    """Measure the index, then the server over it, then Search-R1's server over the same file."""
    materials.folder.mkdir(parents=True, exist_ok=True)
    corpus, index = _make(materials, PASSAGES)
    small = materials.dense_index(materials.extracts(), "extracts-flat")
    vector_mb = (index / ENCODED).stat().st_size / 1e6
    result: dict[str, Any] = {"passages": PASSAGES, "vectors_mb": vector_mb}
    with our_server(small) as server:
        _touch(server, materials)
        base = server.memory()["resident_mb"] - (small / ENCODED).stat().st_size / 1e6
    with direct_process() as direct, our_server(index) as server:
        result |= _against_itself(direct, server, index, materials)
        result["resident_mb"] = server.memory()["resident_mb"]
    result["resident_mb_without_vectors"] = base
    result["memory_over_vectors"] = (result["resident_mb"] - base) / vector_mb
    result["peer"] = NOT_RUN
    if materials.peer is not None:
        result["peer"] = _against_peer(materials.peer, corpus, index, materials)
        for row in result["rows"]:
            theirs = result["peer"][row["traffic"]]["queries_per_s"]
            row["queries_per_s_ratio"] = row["queries_per_s"] / theirs
    return result


def _make(materials: Materials, passages: int) -> tuple[Path, Path]:
    corpus = materials.folder / f"synthetic-{passages}.jsonl"
    index = materials.folder / f"synthetic-{passages}"
    if not index.is_dir():
        say(f"  making {passages} synthetic vectors")
        write_lines(corpus, ({"id": str(n), "title": "", "text": f"{n}"} for n in range(passages)))
        with direct_process() as direct:
            direct.call(make_synthetic_index, corpus, index, materials.encoder, DIMENSION)
    return corpus, index


def _against_itself(
    direct: Direct, server: Server, index: Path, materials: Materials
) -> dict[str, Any]:
    """Alternate between vectors alone, encoder and index in batches of 64, and the server."""
    stream = materials.queries
    raw, both = [], []
    outcomes: dict[Traffic, list[Any]] = {traffic: [] for traffic in _TRAFFIC}
    direct.call(search_batches, index, stream.take(8), 8)  # reads the vectors once
    for _ in range(_ROUNDS):
        raw.append(direct.call(search_vectors, index, 64, 6))
        both.append(direct.call(search_batches, index, stream.take(384), 64))
        for traffic, kept in outcomes.items():
            load = Load(server.port, traffic.requests(stream), _SECONDS, clients=traffic.clients)
            kept.append(drive(load))
    index_rate, direct_rate = median(raw), median(both)
    rows = []
    for traffic, kept in outcomes.items():
        row = {"traffic": traffic.label} | summarize(kept, traffic.queries)
        row["over_encode_and_search"] = row["queries_per_s"] / direct_rate
        row["over_index_alone"] = row["queries_per_s"] / index_rate
        rows.append(row)
    return {
        "index_alone_batch_64_per_s": index_rate,
        "encode_and_search_batch_64_per_s": direct_rate,
        "rows": rows,
    }


def _against_peer(
    checkout: Path, corpus: Path, index: Path, materials: Materials
) -> dict[str, Any]:
    dimension = read_manifest(index).settings["encoder"]["dimension"]
    vectors = np.memmap(index / ENCODED, dtype=np.float32, mode="r").reshape(-1, dimension)
    file = materials.folder / "synthetic.index"
    rows: dict[str, Any] = {}
    with (
        _temporary(write_faiss_flat(vectors, file)),
        peer_server(checkout, file, corpus, materials.encoder) as server,
    ):
        for traffic in _TRAFFIC:
            requests = traffic.requests(materials.queries)
            load = Load(server.port, requests, _PEER_SECONDS, clients=traffic.clients, warm_up_s=2)
            rows[traffic.label] = summarize([drive(load)], traffic.queries)
        return rows | {"resident_mb": server.memory()["resident_mb"]}


@contextmanager
def _temporary(file: Path) -> Iterator[None]:
    try:
        yield
    finally:
        file.unlink()


def _touch(server: Server, materials: Materials) -> None:
    """Make a server do some of everything, so that its memory is what it is in use."""
    drive(Load(server.port, Traffic(64).requests(materials.queries), 2, clients=64))
    drive(Load(server.port, Traffic(2, 64).requests(materials.queries), 2, clients=2))
