"""An online search engine as a retriever: its results, mapped to passages.

A query that cannot be answered raises; it is never an empty result, so that no rollout learns from
an engine that was down.
"""

import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx
import orjson

from retriever.errors import (
    OnlineAuthError,
    OnlineQuotaError,
    OnlineSearchError,
    SearchUnavailableError,
)
from retriever.indexes.online.config import OnlineConfig, read_online_config
from retriever.types import Hit, Passage, check_top_k

_BUSY_STATUS = (500, 502, 503, 504)
_BACKOFF_S = 0.2  # longest pause before the second attempt; doubles
_BATCH_S = 10.0  # longest time in which requests of one search begin, at the engine's rate
_SHOWN_CHARS = 200  # of a reply that is of no use
_ABSENT = object()
_TEXTS = ("title", "text")  # some results have none


def open_online(path: Path) -> "OnlineRetriever":
    """Read the description of an engine; see ``retriever.indexes.online.config`` for its keys.

    Raises:
        OnlineConfigError: If the file cannot be read, or a key or value in it cannot be used.
    """
    return OnlineRetriever(read_online_config(path))


class OnlineRetriever:
    """Passages by an online engine: the id is the result's link, the text its snippet.

    An engine gives no similarity, so the score of a hit is one over its place.
    """

    kind = "online"
    size: int | None = None

    def __init__(self, config: OnlineConfig) -> None:
        """Ask nothing yet."""
        # A key may be a parameter, and httpx logs whole urls.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._config = config
        self.max_batch = max(1, min(config.max_concurrent, int(_BATCH_S * config.requests_per_s)))
        """Queries that one search had better have, so that it does not wait for the rate long."""
        self._http = httpx.Client(headers=config.headers, timeout=config.timeout_s)
        self._threads = ThreadPoolExecutor(config.max_concurrent, thread_name_prefix="online")
        self._pace = _Pace(config.requests_per_s)
        self._cache = _Cache(config.cache_queries, config.cache_ttl_s)

    def search(self, queries: list[str], top_k: int) -> list[list[Hit]]:
        """Return the engine's results for every query; a blank query has none.

        The first query that fails ends the others, so that they do not delay the next search.

        Raises:
            SearchUnavailableError: If the engine is down or busy, or the quota is used up.
            OnlineAuthError: If it refuses the key.
            OnlineSearchError: If its reply cannot be understood.
        """
        check_top_k(top_k)
        # All that one request may give: so the best 3 are the first of the best 5, and cached.
        distinct = list(dict.fromkeys(query for query in queries if query.strip()))
        given_up = threading.Event()
        asked = {query: self._threads.submit(self._find, query, given_up) for query in distinct}
        try:
            for future in wait(asked.values(), return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:  # Ctrl-C ends them too
            given_up.set()
            for future in asked.values():
                future.cancel()
            raise
        found = {query: future.result() for query, future in asked.items()}
        return [found.get(query, [])[:top_k] for query in queries]

    def close(self) -> None:
        """Close all connections."""
        self._threads.shutdown(cancel_futures=True)
        self._http.close()

    def _find(self, query: str, given_up: threading.Event) -> list[Hit]:
        hits = self._cache.get(query)
        if hits is None:
            hits = read_results(self._ask(query, given_up), self._config)
            self._cache.put(query, hits)
        return hits

    def _ask(self, query: str, given_up: threading.Event) -> bytes:
        """Attempt until one succeeds, none is left, or the search is given up."""
        for attempt in range(1, self._config.max_attempts + 1):
            if not self._pace.wait(given_up):
                break
            try:
                return self._attempt(query)
            except SearchUnavailableError as error:
                is_last = attempt == self._config.max_attempts
                if is_last or error.retry_after_s > self._config.timeout_s:
                    raise
                jitter_s = random.uniform(0.0, _BACKOFF_S * 2 ** (attempt - 1))
                if given_up.wait(error.retry_after_s + jitter_s):
                    break
        raise SearchUnavailableError("given up, as another query of the same search failed.")

    def _attempt(self, query: str) -> bytes:
        config = self._config
        parameters = config.parameters | {config.query_parameter: query}
        if config.count_parameter is not None:
            parameters[config.count_parameter] = config.max_count
        in_url, in_body = (parameters, None) if config.method == "GET" else (None, parameters)
        try:
            reply = self._http.request(config.method, config.url, params=in_url, json=in_body)
        except httpx.RequestError as error:
            problem = config.redact(f"{type(error).__name__}: {error}")
            raise SearchUnavailableError(
                f"{config.place} cannot be reached ({problem}); check the network, or ask again "
                "later."
            ) from None  # whose text may quote what was sent
        _check_status(reply, config)
        return reply.content


def read_results(content: bytes, config: OnlineConfig) -> list[Hit]:
    """Map an engine's reply to hits in its order, each link once.

    Raises:
        OnlineSearchError: If the reply is not what the config describes.
    """
    try:
        reply = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _unreadable(config, f"no JSON ({error})", content) from error
    rows = _walk(reply, config.results)
    if rows is _ABSENT and config.present and _walk(reply, config.present) is not _ABSENT:
        rows = []
    if not isinstance(rows, list):
        raise _unreadable(config, f"no list at {config.results!r}", content)
    passages: dict[str, Passage] = {}
    for row in rows:
        named = {name: _walk(row, path) for name, path in config.fields.items()}
        if not isinstance(named["id"], str):
            raise _unreadable(config, f"a result without {config.fields['id']!r}", content)
        title, text = (named[name] if isinstance(named[name], str) else "" for name in _TEXTS)
        passages.setdefault(named["id"], Passage(named["id"], title, text, url=named["id"]))
    return [Hit(passage, 1.0 / place) for place, passage in enumerate(passages.values(), 1)]


def _walk(value: Any, path: str) -> Any:
    """Follow a path of keys; ``_ABSENT`` when it leads nowhere."""
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def _check_status(reply: httpx.Response, config: OnlineConfig) -> None:
    status = reply.status_code
    if status == 200:
        return
    problem = f"{config.place} answered with status {status}: {_excerpt(reply.content, config)}"
    if status == 429:
        raise OnlineQuotaError(
            f"{problem}; lower requests_per_s, or raise the engine's quota.", _retry_after_s(reply)
        )
    if status in (401, 403):
        raise OnlineAuthError(f"{problem}; check the key in the engine's description.")
    if status in _BUSY_STATUS:
        raise SearchUnavailableError(f"{problem}; ask again later.", _retry_after_s(reply))
    raise OnlineSearchError(f"{problem}; check the engine's description.")


def _unreadable(config: OnlineConfig, problem: str, content: bytes) -> OnlineSearchError:
    return OnlineSearchError(
        f"{config.place} sent {problem}: {_excerpt(content, config)}; check results, present and "
        "fields in the engine's description."
    )


def _excerpt(content: bytes, config: OnlineConfig) -> str:
    return repr(config.redact(content.decode(errors="replace"))[:_SHOWN_CHARS])


def _retry_after_s(reply: httpx.Response) -> float:
    value = reply.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() else 0.0


class _Pace:
    """Lets one caller through per interval, in whatever thread it is.

    Who gives up takes no interval: the callers behind move up.
    """

    def __init__(self, per_s: float) -> None:
        self._interval_s = 1.0 / per_s
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, given_up: threading.Event) -> bool:
        """Wait for the next interval; False when ``given_up`` is set before."""
        with self._lock:  # others wait for it
            now = time.monotonic()
            if given_up.wait(max(0.0, self._next - now)):
                return False
            self._next = max(now, self._next) + self._interval_s
            return True


class _Cache:
    """The hits of the last queries, for a while; usable from several threads."""

    def __init__(
        self, most: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._ttl_s, self._clock = most, ttl_s, clock
        self._rows: OrderedDict[str, tuple[float, list[Hit]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, query: str) -> list[Hit] | None:
        with self._lock:
            ends, hits = self._rows.get(query, (0.0, []))
            if ends <= self._clock():
                return None
            self._rows.move_to_end(query)
            return hits

    def put(self, query: str, hits: list[Hit]) -> None:
        with self._lock:
            self._rows[query] = (self._clock() + self._ttl_s, hits)
            self._rows.move_to_end(query)
            while len(self._rows) > self._most:
                self._rows.popitem(last=False)
