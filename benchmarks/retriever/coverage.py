"""How much of what encoder and index can do is left behind HTTP."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.retriever.direct import direct_process, search_alone, search_batches
from benchmarks.retriever.load import Load, drive
from benchmarks.retriever.materials import Materials
from benchmarks.retriever.servers import our_server
from benchmarks.retriever.versus import Traffic

_ROUNDS = 3
_BATCH = 256
_SECONDS = 3.0


def run(materials: Materials) -> dict[str, Any]:
    """Alternate between the index in large batches and the server under load."""
    index = materials.dense_index(materials.extracts(), "extracts-flat")
    stream = materials.queries
    taken: dict[str, list[float]] = {
        name: [] for name in ("limit", "64", "256", "alone_ms", "lone_client_ms")
    }
    with direct_process() as direct, our_server(index) as server:
        direct.call(search_alone, index, stream.take(5))  # opens it
        for _ in range(_ROUNDS):
            taken["limit"].append(direct.call(search_batches, index, stream.take(1536), _BATCH))
            for clients in (64, 256):
                traffic = Traffic(clients)
                load = Load(server.port, traffic.requests(stream), _SECONDS, clients=clients)
                taken[str(clients)].append(drive(load).per_s)
            taken["alone_ms"].append(direct.call(search_alone, index, stream.take(120)))
            lone = drive(Load(server.port, Traffic(1).requests(stream), _SECONDS, clients=1))
            taken["lone_client_ms"].append(lone.latency_ms(50))
    pairs = list(zip(*taken.values(), strict=True))
    return {
        "limit_queries_per_s": median(taken["limit"]),
        "queries_per_s": {clients: median(taken[clients]) for clients in ("64", "256")},
        "share_of_limit": {
            "64": median(row[1] / row[0] for row in pairs),
            "256": median(row[2] / row[0] for row in pairs),
        },
        "encode_and_search_alone_ms": median(taken["alone_ms"]),
        "lone_client_p50_ms": median(taken["lone_client_ms"]),
        "lone_client_over_alone": median(row[4] / row[3] for row in pairs),
    }
