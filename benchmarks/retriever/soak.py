"""Memory after many requests: it must not grow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.retriever.load import Load, ask, drive
from benchmarks.retriever.materials import Materials, QueryStream
from benchmarks.retriever.servers import our_server

REQUESTS = 200_000
_CHUNK = 20_000
_MAX_CHUNK_S = 20.0
_KNOWN = 2_000  # queries that come again and again
_NEW_EVERY = 100


def run(materials: Materials) -> dict[str, Any]:
    """Send mostly repeated queries, and read the resident memory after every 20,000."""
    index = materials.dense_index(materials.extracts(), "extracts-flat")
    stream = _requests(materials.queries)
    sent, good, seconds, memory = 0, 0, 0.0, []
    with our_server(index) as server:
        for _ in range(REQUESTS // _CHUNK):
            load = Load(server.port, stream, _MAX_CHUNK_S, clients=64, warm_up_s=0, limit=_CHUNK)
            outcome = drive(load)
            sent += sum(outcome.statuses.values())
            good += outcome.statuses[200]
            seconds += outcome.seconds
            memory.append({"requests": sent} | server.memory())
    resident = [row["resident_mb"] for row in memory]
    return {
        "requests": sent,
        "answered": good,
        "requests_per_s": good / seconds,
        "memory": memory,
        "growth_after_first": max(resident) / resident[0] - 1,
    }


def _requests(stream: QueryStream) -> Iterator[bytes]:
    known = [ask([query]) for query in stream.take(_KNOWN)]
    number = 0
    while True:
        number += 1
        yield ask(stream.take(1)) if number % _NEW_EVERY == 0 else known[number % _KNOWN]
