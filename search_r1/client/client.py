"""Async client of the retrieval server: pooled connections, deadline, retries, failover.

It speaks Search-R1's ``POST /retrieve`` and so also works with that project's own server. What is
decided (which server, when again) is in ``failover``, what is sent and read in ``wire``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx

from contract import PATH, TIMEOUT_HEADER
from search_r1.client.config import SearchClientConfig
from search_r1.client.failover import Attempts, Endpoints
from search_r1.client.wire import AttemptFailedError, encode_request, excerpt, read_reply
from search_r1.errors import RetrieverBadReply, RetrieverError, RetrieverUnavailable
from search_r1.types import Passage


@dataclass(frozen=True, slots=True)
class SearchCounters:
    """What a client has done since it was made."""

    searches: int = 0
    """Calls of ``search`` that ended, well or not."""
    retries: int = 0
    """Attempts after the first, those included that an open breaker held back."""
    failures: int = 0
    """Calls that raised RetrieverError."""
    latency_sum_s: float = 0.0
    """Seconds spent in all calls, retries and pauses included."""
    latency_max_s: float = 0.0
    """Seconds of the slowest call."""


class SearchClient:
    """One pool of connections to all servers, shared by all trajectories of an event loop."""

    def __init__(self, config: SearchClientConfig) -> None:
        """Connect to nothing yet; the first search opens a connection."""
        self._config = config
        self._endpoints = Endpoints(config)
        self._turns = asyncio.Semaphore(config.max_connections)
        self._counters = SearchCounters()
        headers = {"Content-Type": "application/json"}
        if token := config.read_token():
            headers["Authorization"] = f"Bearer {token}"
        limits = httpx.Limits(
            max_connections=config.max_connections,
            max_keepalive_connections=config.max_connections,
        )
        # No environment: a cluster's HTTP_PROXY must not catch requests to a server on its nodes.
        self._http = httpx.AsyncClient(
            headers=headers, limits=limits, timeout=config.timeout_s, trust_env=False
        )

    @property
    def counters(self) -> SearchCounters:
        """What was done so far; a snapshot that does not change."""
        return self._counters

    async def search(self, queries: Sequence[str], top_k: int) -> list[list[Passage]]:
        """Ask for the best passages of every query, best first, in the order of the queries.

        Raises:
            RetrieverUnavailable: After the last attempt, or when the deadline leaves no other.
            RetrieverBadRequest: If the server refuses the request.
            RetrieverBadReply: If the server fails, or its answer cannot be read.
        """
        if not queries:
            return []
        started = time.perf_counter()
        is_failed = False
        try:
            return await self._ask(encode_request(queries, top_k), len(queries))
        except RetrieverError:
            is_failed = True
            raise
        finally:
            took_s = time.perf_counter() - started
            done = self._counters
            self._counters = replace(
                done,
                searches=done.searches + 1,
                failures=done.failures + is_failed,
                latency_sum_s=done.latency_sum_s + took_s,
                latency_max_s=max(done.latency_max_s, took_s),
            )

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until a server answers searches; with several, until the first does.

        Raises:
            RetrieverUnavailable: If none does within ``timeout_s`` seconds.
        """
        ends = time.monotonic() + timeout_s
        problem, pause_s = "not asked", 0.05
        while (left_s := ends - time.monotonic()) > 0:
            asked = [self._find_unreadiness(url, min(left_s, 5.0)) for url in self._config.urls]
            problems = await asyncio.gather(*asked)
            if None in problems:
                return
            problem = "; ".join(filter(None, problems))
            await asyncio.sleep(max(0.0, min(pause_s, ends - time.monotonic())))
            pause_s = min(pause_s * 1.5, 1.0)
        raise RetrieverUnavailable(
            f"the retrieval server at {', '.join(self._config.urls)} was not ready within "
            f"{timeout_s:g} s (last: {problem}); start it with python -m retriever.server, or wait "
            "longer."
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _find_unreadiness(self, url: str, timeout_s: float) -> str | None:
        """Ask one server whether it is ready; gives None, or why it is not."""
        try:
            reply = await self._http.get(f"{url}/ready", timeout=timeout_s)
        except httpx.TransportError as error:
            return _name(error)
        if reply.status_code in (200, 404):  # Search-R1's own server has no /ready
            return None
        return f"status {reply.status_code}: {excerpt(reply.content)}"

    async def _ask(self, body: bytes, n_queries: int) -> list[list[Passage]]:
        """Attempt until one succeeds, within the deadline."""
        attempts = Attempts(self._config, self._endpoints)
        while True:
            try:
                return await self._attempt(attempts, body, n_queries)
            except AttemptFailedError as failed:
                pause_s = attempts.next_pause_s(failed)
            await asyncio.sleep(pause_s)
            self._counters = replace(self._counters, retries=self._counters.retries + 1)

    async def _attempt(
        self, attempts: Attempts, body: bytes, n_queries: int
    ) -> list[list[Passage]]:
        async with self._turn(attempts.left_s):
            with attempts.attempt() as endpoint:
                limit_s = min(attempts.left_s, self._config.timeout_s)
                reply = await self._post(endpoint.url, body, limit_s)
                return read_reply(
                    endpoint.url, reply.status_code, reply.headers, reply.content, n_queries
                )

    @asynccontextmanager
    async def _turn(self, left_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(left_s):
                await self._turns.acquire()
        except TimeoutError as error:
            raise AttemptFailedError(f"no free connection within {left_s:.1f} s") from error
        try:
            yield
        finally:
            self._turns.release()

    async def _post(self, url: str, body: bytes, limit_s: float) -> httpx.Response:
        try:
            async with asyncio.timeout(limit_s):
                return await self._http.post(
                    f"{url}{PATH}",
                    content=body,
                    headers={TIMEOUT_HEADER: f"{max(limit_s, 0.001):.3f}"},
                )
        except TimeoutError as error:
            # Having had little time says nothing of the server.
            had_time = limit_s >= self._config.timeout_s
            raise AttemptFailedError(
                f"no reply within {limit_s:.1f} s", shows="down" if had_time else "nothing"
            ) from error
        except httpx.TransportError as error:
            raise AttemptFailedError(_name(error)) from error
        except httpx.DecodingError as error:
            raise RetrieverBadReply(
                f"{url}/retrieve sent a body that is not encoded as it says ({error}); check "
                "that url names a retrieval server."
            ) from error


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
