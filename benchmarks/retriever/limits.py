"""What the machine gives without a server around it, and what HTTP gives without a search."""

from __future__ import annotations

from itertools import repeat
from pathlib import Path
from typing import Any

from benchmarks.retriever.direct import (
    Direct,
    compare_precisions,
    direct_process,
    encode_queries,
    search_alone,
    search_batches,
    search_faiss,
)
from benchmarks.retriever.load import Load, ask, drive, post_bytes
from benchmarks.retriever.materials import Materials
from benchmarks.retriever.servers import running
from retriever.storage.manifest import read_manifest
from retriever.storage.vectors import ENCODED
from search_r1.processes.service import free_port

_CLIENTS = 64
_SECONDS = 3.0


def run(materials: Materials) -> dict[str, Any]:
    """Measure encoder, index, both together, and an endpoint that does nothing."""
    index = materials.dense_index(materials.extracts(), "extracts-flat")
    queries = materials.queries.take(768)
    with direct_process() as direct:
        result: dict[str, Any] = {"encoder_queries_per_s": _encoder(direct, materials, queries)}
        result["least_cosine_bf16"] = direct.call(compare_precisions, materials.encoder, queries)
        result["search"] = _search(direct, index, materials)
    result["endpoint_requests_per_s"] = _endpoints(materials)
    return result


def _encoder(direct: Direct, materials: Materials, queries: list[str]) -> dict[str, float]:
    rates = {}
    for precision in ("fp32", "bf16"):
        for size, order in ((1, "arrival"), (64, "arrival"), (64, "sorted")):
            asked = queries[:150] if size == 1 else queries
            rates[f"{precision}, batch {size}, {order}"] = direct.call(
                encode_queries, materials.encoder, precision, asked, size, order == "sorted"
            )
    return rates


def _search(direct: Direct, index: Path, materials: Materials) -> dict[str, float]:
    dimension = read_manifest(index).settings["encoder"]["dimension"]
    take = materials.queries.take
    return {
        "faiss_flat_batch_64_per_s": direct.call(search_faiss, index / ENCODED, dimension, 64, 20),
        "encode_and_search_batch_256_per_s": direct.call(search_batches, index, take(1024), 256),
        "encode_and_search_alone_ms": direct.call(search_alone, index, take(150)),
    }


def _endpoints(materials: Materials) -> dict[str, float]:
    port = free_port()
    request = ask(materials.queries.take(1))
    body = request.partition(b"\r\n\r\n")[2]
    rates = {}
    with running(["-m", "benchmarks.retriever.nothing", str(port)], port, "the empty application"):
        for name, path in (("async", "/retrieve"), ("sync", "/retrieve_in_thread")):
            requests = repeat(post_bytes(body, path))
            rates[name] = drive(Load(port, requests, _SECONDS, clients=_CLIENTS)).per_s
    return rates
