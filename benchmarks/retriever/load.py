"""Drive one HTTP server hard at little cost: keep-alive connections, request bytes made before.

A closed loop has a fixed number of clients; each sends its next request when the last is answered.
An open loop sends at a fixed rate whatever happens, which is how overload looks.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import numpy as np
import orjson
import uvloop

HOST = "127.0.0.1"
_TICK_S = 0.002
_DRAIN_S = 30.0
_RECONNECT_S = 0.05
_PATIENCE_S = 60.0  # beyond the time, for the least number of answers


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, and for how long. One of ``clients`` and ``per_s`` is given."""

    port: int
    requests: Iterator[bytes]
    seconds: float
    """Counted time; starts after ``warm_up_s``."""
    clients: int = 0
    """Closed loop: how many ask at once."""
    per_s: float = 0.0
    """Open loop: requests a second."""
    warm_up_s: float = 0.5
    limit: int | None = None
    """Stop after so many answers, whatever the time."""
    least: int = 1
    """Go on beyond the time for so many good answers: without any there are no latencies."""


@dataclass(slots=True)
class Outcome:
    """What came back in the counted time."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    """Answers by HTTP status; 0 stands for a connection that was lost."""
    latencies_s: list[float] = field(default_factory=list)
    """Of answers with status 200, from sending (open loop: from when it was due)."""
    generator_cores: float = 0.0
    """Processor time this generator took, in cores."""

    @property
    def per_s(self) -> float:
        """Requests answered with 200, per second."""
        return self.statuses[200] / self.seconds

    def latency_ms(self, percentile: float) -> float:
        """Latency below which ``percentile`` percent of the good answers stay; nan without any."""
        if not self.latencies_s:
            return float("nan")
        return float(np.percentile(self.latencies_s, percentile)) * 1e3


def post_bytes(body: bytes, path: str = "/retrieve") -> bytes:
    """Make the bytes of one POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask(queries: Sequence[str], top_k: int = 3) -> bytes:
    """Make the bytes of one search. With scores, which Search-R1's server cannot do without."""
    body = {"queries": list(queries), "topk": top_k, "return_scores": True}
    return post_bytes(orjson.dumps(body))


def drive(load: Load) -> Outcome:
    """Send the load and count; blocks until the last request is answered or given up."""
    return uvloop.run(_Driver(load).run())


class _Driver:
    """One run of a load: who is idle, what was counted."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._outcome = Outcome()
        self._idle: list[_Connection] = []
        self._due: deque[float] = deque()
        self._reconnecting: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._answers = 0
        self._counting_from = float("inf")
        self._ends = float("inf")
        self._is_over = asyncio.Event()

    async def run(self) -> Outcome:
        began = time.perf_counter()
        cpu = _cpu_s()
        self._counting_from = began + self._load.warm_up_s
        self._ends = self._counting_from + self._load.seconds
        await asyncio.gather(*(self._connect() for _ in range(self._load.clients)))
        ticker = asyncio.create_task(self._tick()) if self._load.per_s else None
        while not self._is_over.is_set() and self._has_to_go_on():
            await asyncio.sleep(0.01)
        stopped = time.perf_counter()
        self._is_over.set()
        self._outcome.seconds = max(stopped - self._counting_from, 1e-9)
        self._outcome.generator_cores = (_cpu_s() - cpu) / (stopped - began)
        if ticker is not None:
            await ticker
        # What is still under way would slow the next measurement.
        while self._busy and time.perf_counter() < stopped + _DRAIN_S:
            await asyncio.sleep(0.01)
        for connection in self._idle:
            connection.close()
        return self._outcome

    def _has_to_go_on(self) -> bool:
        now = time.perf_counter()
        if now < self._ends:
            return True
        is_anything_coming = self._busy > 0 or self._load.per_s > 0
        is_enough = self._outcome.statuses[200] >= self._load.least
        return is_anything_coming and not is_enough and now < self._ends + _PATIENCE_S

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._busy += 1  # a connection being made counts, so that draining waits for it
        try:
            await loop.create_connection(lambda: _Connection(self), HOST, self._load.port)
        except OSError:
            self._busy -= 1
            self._count(0, 0.0)

    async def _tick(self) -> None:
        """Send whatever has become due, on idle connections first."""
        next_at = time.perf_counter()
        making: set[asyncio.Task[None]] = set()
        while not self._is_over.is_set():
            now = time.perf_counter()
            while next_at <= now:
                self._due.append(next_at)
                next_at += 1.0 / self._load.per_s
            while self._due and self._idle:
                self._idle.pop().send(next(self._load.requests), self._due.popleft())
                self._busy += 1
            for _ in range(len(self._due) - len(making)):
                making.add(asyncio.create_task(self._connect()))
            making = {task for task in making if not task.done()}
            await asyncio.sleep(_TICK_S)
        if making:
            await asyncio.gather(*making)

    def next_request(self, connection: _Connection) -> None:
        """Give an idle connection work, or keep it for later."""
        if not self._is_over.is_set():
            if self._load.clients:
                connection.send(next(self._load.requests), time.perf_counter())
                return
            if self._due:
                connection.send(next(self._load.requests), self._due.popleft())
                return
        self._busy -= 1
        self._idle.append(connection)

    def answered(self, connection: _Connection, head: Head, sent: float) -> None:
        """Count one answer and go on."""
        self._count(head.status, sent)
        if head.is_closing:
            self._replace(connection)
        else:
            self.next_request(connection)

    def lost(self, connection: _Connection, is_busy: bool) -> None:
        """Replace a connection that the server closed; count its request, if it had one."""
        if not is_busy:
            if connection in self._idle:
                self._idle.remove(connection)
            return
        self._count(0, 0.0)
        self._replace(connection)

    def _replace(self, connection: _Connection) -> None:
        connection.close()
        self._busy -= 1
        if not self._is_over.is_set() and self._load.clients:
            asyncio.get_running_loop().call_later(_RECONNECT_S, self._reconnect)

    def _reconnect(self) -> None:
        task = asyncio.create_task(self._connect())
        self._reconnecting.add(task)
        task.add_done_callback(self._reconnecting.discard)

    def _count(self, status: int, sent: float) -> None:
        now = time.perf_counter()
        if now < self._counting_from or self._is_over.is_set():
            return
        self._outcome.statuses[status] += 1
        if status == 200:
            self._outcome.latencies_s.append(now - sent)
        self._answers += 1
        if self._load.limit is not None and self._answers >= self._load.limit:
            self._is_over.set()


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, driver: _Driver) -> None:
        self._driver = driver
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._expected = 0  # bytes of the whole answer, once its head is here
        self._head = Head(0, 0, is_closing=False)
        self._sent: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._driver.next_request(self)

    def send(self, request: bytes, since: float) -> None:
        """Send one request; its latency counts from ``since``."""
        self._sent = since
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, received: bytes) -> None:
        self._received += received
        if not self._expected:
            head_end = self._received.find(b"\r\n\r\n")
            if head_end < 0:
                return
            self._head = parse_head(bytes(self._received[:head_end]))
            self._expected = head_end + 4 + self._head.length
        if len(self._received) < self._expected or self._sent is None:
            return
        sent = self._sent
        self._received.clear()
        self._expected, self._sent = 0, None
        self._driver.answered(self, self._head, sent)

    def connection_lost(self, error: Exception | None) -> None:
        self._driver.lost(self, self._sent is not None)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


class Head(NamedTuple):
    """What the head of an answer says."""

    status: int
    length: int
    """Bytes of the body."""
    is_closing: bool
    """The server takes no further request on this connection."""


def parse_head(head: bytes) -> Head:
    """Read the head of an answer.

    Raises:
        ValueError: If the answer does not say how long it is.
    """
    lowered = head.lower()
    for line in lowered.split(b"\r\n")[1:]:
        if line.startswith(b"content-length:"):
            return Head(int(head[9:12]), int(line[15:]), b"\r\nconnection: close" in lowered)
    raise ValueError(f"the answer has no Content-Length: {head[:200]!r}; this client needs one.")


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
