"""What other clients feel of bad requests, and what is left of the speed under overload."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from statistics import median
from typing import Any

import orjson

from benchmarks.retriever.load import Load, Outcome, ask, drive, post_bytes
from benchmarks.retriever.materials import Materials, say
from benchmarks.retriever.servers import our_server
from benchmarks.retriever.versus import Traffic

_CLIENTS = 16
_ROUNDS = 3
_SECONDS = 3.0
_OVERLOAD = 4.0
_MAX_WAITING = 1024  # so few that the queue is full within a second

BAD_REQUESTS = {
    "a 10 MB query": lambda: [ask(["long " * 2_000_000])],
    "malformed requests": lambda: [
        post_bytes(b'{"queries": ["cut off'),
        post_bytes(b'{"queries": ["\xff\xfe"]}'),
        post_bytes(b"[" * 10_000),
        post_bytes(orjson.dumps({"queries": "no list", "topk": 3})),
        post_bytes(orjson.dumps({"queries": ["Dublin"], "topk": 100_000})),
        post_bytes(orjson.dumps({"queries": ["Dublin"], "topk": 0})),
        post_bytes(orjson.dumps({"queries": ["Dublin"] * 100_000})),
    ],
}
_BAD_PER_S = {"a 10 MB query": 1.0, "malformed requests": 20.0}


def run(materials: Materials) -> dict[str, Any]:
    """Measure good clients beside bad ones, then send four times what the server can do."""
    index = materials.dense_index(materials.extracts(), "extracts-flat")
    with our_server(index) as server:
        beside = [_beside(name, server.port, materials) for name in BAD_REQUESTS]
    with our_server(index, "--max-waiting", str(_MAX_WAITING)) as server:
        return {"beside_bad_requests": beside, "overload": _overload(server.port, materials)}


def _beside(name: str, port: int, materials: Materials) -> dict[str, Any]:
    """Alternate between quiet and with bad requests; the bad ones come from another process."""
    say(f"  beside {name}")
    quiet, during, bad_statuses = [], [], set()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(send_bad, name, port, 0.2).result()  # starts the process
        for _ in range(_ROUNDS):
            quiet.append(_drive_good(port, materials))
            bad = pool.submit(send_bad, name, port, _SECONDS + 0.5)
            during.append(_drive_good(port, materials))
            bad_statuses |= set(bad.result().statuses)
    return {
        "what": name,
        "bad_per_s": _BAD_PER_S[name],
        "bad_statuses": sorted(bad_statuses),
        "quiet_p99_ms": median(o.latency_ms(99) for o in quiet),
        "p99_ms": median(o.latency_ms(99) for o in during),
        "p99_ratio": median(o.latency_ms(99) for o in during)
        / median(o.latency_ms(99) for o in quiet),
        "queries_per_s_ratio": median(o.per_s for o in during) / median(o.per_s for o in quiet),
        "not_answered": sum(sum(o.statuses.values()) - o.statuses[200] for o in during),
    }


def send_bad(name: str, port: int, seconds: float) -> Outcome:
    """Send bad requests at their rate."""
    requests = cycle(BAD_REQUESTS[name]())
    return drive(Load(port, requests, seconds, per_s=_BAD_PER_S[name], warm_up_s=0.0, least=0))


def _drive_good(port: int, materials: Materials) -> Outcome:
    requests = Traffic(_CLIENTS).requests(materials.queries)
    return drive(Load(port, requests, _SECONDS, clients=_CLIENTS))


def _overload(port: int, materials: Materials) -> dict[str, Any]:
    """Alternate between what 64 clients get and an open loop of four times as much."""
    say(f"  overload at {_OVERLOAD:g} times the capacity")
    rows: list[tuple[Outcome, Outcome]] = []
    for _ in range(_ROUNDS):
        traffic = Traffic(64)
        capacity = drive(Load(port, traffic.requests(materials.queries), _SECONDS, clients=64))
        requests: Iterator[bytes] = traffic.requests(materials.queries)
        rate = _OVERLOAD * capacity.per_s
        over = drive(Load(port, requests, 2 * _SECONDS, per_s=rate, warm_up_s=1.0))
        rows.append((capacity, over))
    statuses = sum((over.statuses for _, over in rows), Counter[int]())
    return {
        "times_capacity": _OVERLOAD,
        "max_waiting": _MAX_WAITING,
        "capacity_per_s": median(capacity.per_s for capacity, _ in rows),
        "goodput_per_s": median(over.per_s for _, over in rows),
        "goodput_over_capacity": median(over.per_s / capacity.per_s for capacity, over in rows),
        "p99_ms": median(over.latency_ms(99) for _, over in rows),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "generator_cores": median(over.generator_cores for _, over in rows),
    }
