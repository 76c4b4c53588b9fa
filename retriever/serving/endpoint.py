"""POST /retrieve from the first byte to the last: read, look up, search, write."""

import asyncio
import logging
import math
import re
import time
from collections.abc import Sequence

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope

from contract import RETRY_AFTER_HEADER, TIMEOUT_HEADER
from retriever.errors import EncodingError, SearchUnavailableError
from retriever.serving.batcher import Batcher, DeadlineError, QueueFullError, SearchFailedError
from retriever.serving.cache import AnswerCache
from retriever.serving.limits import Limits
from retriever.serving.metrics import Metrics
from retriever.serving.replies import read_body, read_header, reply_error
from retriever.serving.wire import (
    QueryHits,
    RefusedError,
    read_request,
    write_answer,
    write_single_answer,
)
from retriever.types import Retriever

logger = logging.getLogger(__name__)

_TIMEOUT_NAME = TIMEOUT_HEADER.lower().encode()
_LONGEST_RETRY_AFTER_S = 30
_SLOW_BODY = "slow_body"
_CLIENT_LEFT = 499  # never sent: nobody is there to read it
_NUMBER = re.compile(rb"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class RetrieveEndpoint:
    """Answers searches of one index from the cache, and through the batcher while it is open."""

    def __init__(
        self, retriever: Retriever, limits: Limits, metrics: Metrics, has_access_log: bool
    ) -> None:
        """Start closed, with an empty cache."""
        self._retriever = retriever
        self._limits = limits
        self._metrics = metrics
        self._has_access_log = has_access_log
        self._batcher: Batcher | None = None
        self.cache = AnswerCache(limits.cache_bytes)

    @property
    def waiting(self) -> int:
        """Queries accepted and not yet answered."""
        return self._batcher.waiting if self._batcher else 0

    @property
    def is_ready(self) -> bool:
        """Tell whether a search that comes now is accepted."""
        return self._batcher is not None and self.waiting < self._limits.max_waiting

    def open(self) -> None:
        """Accept searches; call it inside the event loop."""
        self._batcher = Batcher(self._retriever, self._limits, self.cache, self._metrics)

    async def aclose(self) -> None:
        """Answer what was accepted, and nothing else."""
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            await batcher.aclose()

    async def answer(self, scope: Scope, receive: Receive) -> Response:
        """Answer one request; what is answered to a client that left is thrown away."""
        started = time.perf_counter()
        queries: Sequence[str] = ()
        try:
            timeout_s = self._read_timeout_s(scope)
            body = await self._read_body(scope, receive, timeout_s)
            wanted = read_request(body, self._limits)
            queries = wanted.queries
            ends = started + timeout_s
            found = await self._find(queries, wanted.top_k, ends, timeout_s, receive)
            if wanted.is_single:
                content = write_single_answer(queries[0], found[0], wanted.top_k)
            else:
                content = write_answer(found, wanted.top_k, wanted.is_scored)
        except RefusedError as refused:
            self._metrics.count_error(refused.kind, refused.status)
            response = reply_error(refused.status, str(refused), _headers_of(refused))
        except ClientDisconnect:
            self._metrics.count_error("disconnected", None)
            response = Response(status_code=_CLIENT_LEFT)
        else:
            self._metrics.count_answer(len(queries), time.perf_counter() - started)
            response = Response(content, media_type="application/json")
        if self._has_access_log:
            took_ms = round(1000 * (time.perf_counter() - started), 2)
            fields = {"status": response.status_code, "queries": len(queries), "ms": took_ms}
            logger.info("POST /retrieve", extra={"fields": fields})
        return response

    async def _read_body(self, scope: Scope, receive: Receive, timeout_s: float) -> bytes:
        try:
            async with asyncio.timeout(timeout_s):
                return await read_body(scope, receive, self._limits.max_body_bytes)
        except TimeoutError as error:
            message = f"the body was not complete within {timeout_s:g} s; send it again."
            raise RefusedError(504, _SLOW_BODY, message) from error

    async def _find(
        self, queries: Sequence[str], top_k: int, ends: float, timeout_s: float, receive: Receive
    ) -> Sequence[QueryHits]:
        if self._retriever.size is not None:
            top_k = max(1, min(top_k, self._retriever.size))
        known = [self.cache.get(query, top_k) for query in queries]
        found = [answer for answer in known if answer is not None]
        if len(found) == len(queries):
            return found
        if self._batcher is None:
            raise RefusedError(503, "stopping", "the server is stopping; ask again later.", 1)
        try:
            left_s = max(0.0, ends - time.perf_counter())
            return await _search(self._batcher, queries, known, top_k, left_s, receive)
        except QueueFullError as error:
            pause_s = min(max(1, math.ceil(error.wait_s / 2)), _LONGEST_RETRY_AFTER_S)
            message = f"{error}; ask again later."
            raise RefusedError(503, "overloaded", message, pause_s) from error
        except DeadlineError as error:
            message = f"no answer within {timeout_s:g} s; ask again, or allow more time."
            raise RefusedError(504, "expired", message) from error
        except SearchFailedError as error:
            raise _describe_failure(error) from error

    def _read_timeout_s(self, scope: Scope) -> float:
        value = read_header(scope, _TIMEOUT_NAME)
        if value is None:
            return self._limits.timeout_s
        if not _NUMBER.fullmatch(value) or not float(value) > 0:
            shown = ascii(value.decode("latin-1"))[:80]
            message = f"{TIMEOUT_HEADER} is {shown}; expected seconds, more than 0, such as 2.5."
            raise RefusedError(422, "invalid", message)
        return min(float(value), self._limits.timeout_s)


def _headers_of(refused: RefusedError) -> dict[str, str] | None:
    if refused.kind == _SLOW_BODY:
        return {"Connection": "close"}  # what still comes of the body is no request
    return {RETRY_AFTER_HEADER: str(refused.retry_after_s)} if refused.retry_after_s else None


def _describe_failure(error: SearchFailedError) -> RefusedError:
    """Say whether asking again may help: not after an error of ours, which is logged."""
    cause = error.__cause__
    if isinstance(cause, SearchUnavailableError):
        return RefusedError(503, "unavailable", str(cause), max(1, math.ceil(cause.retry_after_s)))
    if isinstance(cause, EncodingError):
        return RefusedError(500, "failed", str(cause))
    return RefusedError(500, "failed", f"the search failed with {error}; see the server's log.")


async def _search(
    batcher: Batcher,
    queries: Sequence[str],
    known: list[QueryHits | None],
    top_k: int,
    timeout_s: float,
    receive: Receive,
) -> list[QueryHits]:
    """Have searched what is not known, unless the client leaves before."""
    pending = batcher.submit(queries, known, top_k, timeout_s)
    watcher = asyncio.ensure_future(_watch_client(receive, pending.answer))
    try:
        return await pending.answer
    finally:
        watcher.cancel()
        batcher.drop(pending)


async def _watch_client(receive: Receive, answer: "asyncio.Future[list[QueryHits]]") -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    if not answer.done():
        answer.set_exception(ClientDisconnect())
