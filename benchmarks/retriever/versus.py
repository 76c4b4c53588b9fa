"""Our server and Search-R1's, one after the other under the same load, in one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.retriever.load import Load, Outcome, ask, drive
from benchmarks.retriever.materials import Materials, QueryStream, say, write_faiss_flat
from benchmarks.retriever.servers import Server, our_server, peer_server
from retriever.storage.manifest import read_manifest
from retriever.storage.vectors import ENCODED

NOT_RUN = "not run: needs --peer, a checkout of Search-R1"
_ROUNDS = 2
_COMPARED = 200


@dataclass(frozen=True)
class Traffic:
    """Who asks, and what one request holds."""

    clients: int
    queries: int = 1
    """Queries in one request."""
    repeats: int = 1
    """How often each request comes, in a row; 5 is a GRPO group."""

    @property
    def label(self) -> str:
        """Name for tables."""
        who = "1 client" if self.clients == 1 else f"{self.clients} clients"
        what = "1 query" if self.queries == 1 else f"{self.queries} queries"
        group = f", each {self.repeats} times" if self.repeats > 1 else ""
        return f"{who}, {what} a request{group}"

    def requests(self, stream: QueryStream) -> Iterator[bytes]:
        """Yield requests without end; no query comes back after its group."""
        while True:
            request = ask(stream.take(self.queries))
            for _ in range(self.repeats):
                yield request


# Counted seconds for ours and for the peer's, whose answers take up to eight seconds.
_TRAFFIC = (
    (Traffic(1), 2, 3),
    (Traffic(16), 3, 5),
    (Traffic(64), 4, 5),
    (Traffic(256), 4, 8),
    (Traffic(64, repeats=5), 4, 5),
    (Traffic(1, queries=64), 3, 5),
    (Traffic(4, queries=64), 3, 5),
)


def run(materials: Materials) -> dict[str, Any]:
    """Alternate between both servers; gives both sides and their ratios by kind of traffic."""
    index = materials.dense_index(materials.extracts(), "extracts-flat")
    result: dict[str, Any] = {"passages": read_manifest(index).passages, "peer": NOT_RUN}
    with ExitStack() as stack:
        ours = stack.enter_context(our_server(index))
        peer = None
        if materials.peer is not None:
            peer = stack.enter_context(_serve_peer(materials, materials.peer, index))
            result["peer"] = "Search-R1's server on the CPU, in float32"
            result["same_top_3"] = _compare_answers(ours, peer, materials)
        result["rows"] = [_compare(traffic, ours, peer, s, materials) for traffic, *s in _TRAFFIC]
    if materials.peer is not None:
        with _serve_peer(materials, materials.peer, index, "--half") as server:
            traffic, *_, seconds = _TRAFFIC[0]
            load = Load(
                server.port, traffic.requests(materials.queries), seconds, clients=traffic.clients
            )
            rate = drive(load).per_s * traffic.queries
            result["peer_in_float16"] = {"traffic": traffic.label, "queries_per_s": rate}
    return result


def _serve_peer(
    materials: Materials, checkout: Path, index: Path, *flags: str
) -> AbstractContextManager[Server]:
    dimension = read_manifest(index).settings["encoder"]["dimension"]
    vectors = np.fromfile(index / ENCODED, dtype=np.float32).reshape(-1, dimension)
    file = write_faiss_flat(vectors, materials.folder / "extracts.index")
    return peer_server(checkout, file, materials.extracts(), materials.encoder, *flags)


def _compare(
    traffic: Traffic,
    ours: Server,
    peer: Server | None,
    seconds: Sequence[float],
    materials: Materials,
) -> dict[str, Any]:
    say(f"  {traffic.label}")
    rounds: dict[str, list[Outcome]] = {"ours": [], "peer": []}
    for _ in range(_ROUNDS):
        for name, server, counted in zip(rounds, (ours, peer), seconds, strict=True):
            if server is not None:
                requests = traffic.requests(materials.queries)
                rounds[name].append(
                    drive(Load(server.port, requests, counted, clients=traffic.clients))
                )
    row: dict[str, Any] = {"traffic": traffic.label}
    for name, outcomes in rounds.items():
        if outcomes:
            row[name] = summarize(outcomes, traffic.queries)
    if peer is not None:
        for figure in ("queries_per_s", "p50_ms", "p99_ms"):
            row[f"{figure}_ratio"] = row["ours"][figure] / row["peer"][figure]
    return row


def summarize(outcomes: list[Outcome], queries: int) -> dict[str, Any]:
    """Take medians over rounds.

    Args:
        outcomes: One for each round.
        queries: In one request.
    """
    bad = sum(sum(o.statuses.values()) - o.statuses[200] for o in outcomes)
    return {
        "queries_per_s": median(o.per_s * queries for o in outcomes),
        "p50_ms": median(o.latency_ms(50) for o in outcomes),
        "p99_ms": median(o.latency_ms(99) for o in outcomes),
        "not_answered": bad,
        "generator_cores": median(o.generator_cores for o in outcomes),
    }


def _compare_answers(ours: Server, peer: Server, materials: Materials) -> float:
    """Give the share of queries for which both find the same three passages."""
    body = {"queries": materials.queries.take(_COMPARED), "topk": 3, "return_scores": True}
    mine, theirs = (
        [{hit["document"]["id"] for hit in hits} for hits in server.post(body).json()["result"]]
        for server in (ours, peer)
    )
    return sum(a == b for a, b in zip(mine, theirs, strict=True)) / len(mine)
