"""Async client of the retrieval server: pooled connections, timeouts, retries, typed errors.

It speaks Search-R1's ``POST /retrieve`` and so also works with that project's own server.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import orjson

from search_r1.types import Passage

_RETRIED_STATUS = (502, 503, 504)


class RetrieverError(Exception):
    """The retriever gave no usable answer. The message is for people, never for the model."""


class RetrieverUnavailable(RetrieverError):  # noqa: N818
    """Every attempt met a connection error, a timeout, or a busy server."""


class RetrieverBadRequest(RetrieverError):  # noqa: N818
    """The server refused the request as wrong (status 4xx); asking again would not help."""


class RetrieverBadReply(RetrieverError):  # noqa: N818
    """The server failed, or answered with something that is not a list of passages per query."""


@dataclass(frozen=True, slots=True)
class SearchClientConfig:
    """Where the retrieval server is, and how patient to be."""

    url: str = "http://127.0.0.1:8000"
    """Address of the server, without /retrieve."""
    timeout_s: float = 30.0
    """Seconds one attempt may take."""
    deadline_s: float = 120.0
    """Seconds all attempts of one search may take together."""
    max_attempts: int = 20
    """Attempts per search, the first included; 1 never retries."""
    backoff_s: float = 0.1
    """Longest pause before the second attempt, in seconds; doubles with every further one."""
    max_backoff_s: float = 5.0
    """Longest pause before any attempt, in seconds, unless the server asks for more."""
    max_connections: int = 64
    """Requests under way at once; further searches wait their turn."""

    def __post_init__(self) -> None:
        """Check address and numbers."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url is {self.url!r}; expected http://HOST:PORT or https://HOST.")
        for name in ("timeout_s", "deadline_s", "backoff_s", "max_backoff_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0 seconds.")
        for name in ("max_attempts", "max_connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more.")


@dataclass(frozen=True, slots=True)
class SearchCounters:
    """What a client has done since it was made."""

    searches: int = 0
    """Calls of ``search`` that ended, well or not."""
    retries: int = 0
    """Attempts after the first."""
    failures: int = 0
    """Calls that raised RetrieverError."""
    latency_sum_s: float = 0.0
    """Seconds spent in all calls, retries and pauses included."""
    latency_max_s: float = 0.0
    """Seconds of the slowest call."""


class _AttemptFailedError(Exception):
    """This attempt failed in a way that another may not."""

    def __init__(self, problem: str, pause_s: float = 0.0) -> None:
        super().__init__(problem)
        self.pause_s = pause_s


class SearchClient:
    """One pool of connections to one server, shared by all trajectories of an event loop."""

    def __init__(self, config: SearchClientConfig) -> None:
        """Connect to nothing yet; the first search opens a connection."""
        self._config = config
        self._base = config.url.rstrip("/")
        self._turns = asyncio.Semaphore(config.max_connections)
        self._counters = SearchCounters()
        limits = httpx.Limits(
            max_connections=config.max_connections,
            max_keepalive_connections=config.max_connections,
        )
        # No environment: a cluster's HTTP_PROXY must not catch requests to a server on its nodes.
        self._http = httpx.AsyncClient(limits=limits, timeout=config.timeout_s, trust_env=False)

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
            content = await self._ask(_encode_request(queries, top_k))
            return self._read_reply(content, len(queries))
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
        """Wait until the server answers searches.

        Raises:
            RetrieverUnavailable: If it does not within ``timeout_s`` seconds.
        """
        ends = time.monotonic() + timeout_s
        problem, pause_s = "not asked", 0.05
        while (left_s := ends - time.monotonic()) > 0:
            try:
                reply = await self._http.get(f"{self._base}/ready", timeout=min(left_s, 5.0))
                if reply.status_code in (200, 404):  # Search-R1's own server has no /ready
                    return
                problem = f"status {reply.status_code}: {_excerpt(reply)}"
            except httpx.TransportError as error:
                problem = _name(error)
            await asyncio.sleep(max(0.0, min(pause_s, ends - time.monotonic())))
            pause_s = min(pause_s * 1.5, 1.0)
        raise RetrieverUnavailable(
            f"the retrieval server at {self._base} was not ready within {timeout_s:g} s "
            f"(last: {problem}); start it with python -m retriever.server, or wait longer."
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _ask(self, body: bytes) -> bytes:
        """Attempt until one succeeds, within the deadline."""
        config = self._config
        started = time.monotonic()
        ends = started + config.deadline_s
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(body, ends)
            except _AttemptFailedError as failed:
                longest_s = min(config.backoff_s * 2 ** (attempt - 1), config.max_backoff_s)
                # Jitter, so that trajectories that failed together do not come back together.
                pause_s = failed.pause_s + random.uniform(0.0, longest_s)
                if attempt >= config.max_attempts or time.monotonic() + pause_s >= ends:
                    took_s = time.monotonic() - started
                    raise RetrieverUnavailable(
                        f"no answer from {self._base}/retrieve after {attempt} attempts in "
                        f"{took_s:.1f} s (last: {failed}); check that the server runs and is not "
                        f"overloaded: curl {self._base}/ready"
                    ) from failed
            await asyncio.sleep(pause_s)
            self._counters = replace(self._counters, retries=self._counters.retries + 1)

    async def _attempt(self, body: bytes, ends: float) -> bytes:
        left_s = ends - time.monotonic()
        try:
            async with asyncio.timeout(left_s), self._turns:
                async with asyncio.timeout(self._config.timeout_s):
                    reply = await self._http.post(
                        f"{self._base}/retrieve",
                        content=body,
                        headers={"Content-Type": "application/json"},
                    )
        except TimeoutError as error:
            limit_s = min(left_s, self._config.timeout_s)
            raise _AttemptFailedError(f"no reply within {limit_s:.1f} s") from error
        except httpx.TransportError as error:
            raise _AttemptFailedError(_name(error)) from error
        return self._check_status(reply)

    def _check_status(self, reply: httpx.Response) -> bytes:
        status = reply.status_code
        if status == 200:
            return reply.content
        if status in _RETRIED_STATUS:
            raise _AttemptFailedError(f"status {status}: {_excerpt(reply)}", _retry_after_s(reply))
        if 400 <= status < 500:
            raise RetrieverBadRequest(
                f"{self._base}/retrieve refused the request with status {status}: "
                f"{_excerpt(reply)}; correct the request or the url."
            )
        raise RetrieverBadReply(
            f"{self._base}/retrieve answered with status {status}: {_excerpt(reply)}; "
            "see the server's log."
        )

    def _read_reply(self, content: bytes, n_queries: int) -> list[list[Passage]]:
        try:
            rows = orjson.loads(content)["result"]
            if len(rows) != n_queries:
                raise ValueError(f"{len(rows)} results for {n_queries} queries")
            return [[_read_passage(row) for row in result] for result in rows]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RetrieverBadReply(
                f"{self._base}/retrieve answered something else than passages ({error!r}): "
                f"{content[:200]!r}; check that url names a retrieval server."
            ) from error


def _encode_request(queries: Sequence[str], top_k: int) -> bytes:
    row = {"queries": list(queries), "topk": top_k, "return_scores": True}
    try:
        return orjson.dumps(row)
    except orjson.JSONEncodeError as error:
        raise RetrieverBadRequest(f"a query is not valid Unicode text ({error}).") from error


def _read_passage(row: dict[str, Any]) -> Passage:
    document = row["document"]
    if "text" in document:
        title, text = document.get("title") or "", document["text"]
    else:  # Search-R1's own server gives the title as the first line, in quotes
        first, newline, rest = document["contents"].partition("\n")
        title, text = (first.strip('"'), rest) if newline else ("", first)
    if not isinstance(title, str) or not isinstance(text, str):
        raise TypeError(f"title and text must be strings in {document!r}")
    return Passage(str(document["id"]), title, text, float(row["score"]))


def _retry_after_s(reply: httpx.Response) -> float:
    """Read Retry-After in seconds; the date form is rare and answered by the usual pause."""
    value = reply.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() else 0.0


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _excerpt(reply: httpx.Response) -> str:
    return repr(reply.text[:200])
