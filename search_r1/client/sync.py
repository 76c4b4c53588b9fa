"""Sync client of the retrieval server, for scripts, notebooks and thread pools."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from search_r1.client.client import SearchClient, SearchCounters
from search_r1.client.config import SearchClientConfig
from search_r1.types import Passage

_T = TypeVar("_T")
_CLOSED = "this client was closed, or made before a fork; make another."


class SyncSearchClient:
    """``SearchClient`` for code without an event loop; any number of threads may share one.

    The async client runs in a thread of its own, so both behave alike and a deadline holds even
    when a server sends its reply byte by byte. Make it after a fork, not before.
    """

    def __init__(self, config: SearchClientConfig) -> None:
        """Start the thread; the first search opens a connection."""
        self._client = SearchClient(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="search-client", daemon=True
        )
        self._thread.start()
        self._submitting = threading.Lock()  # nothing reaches the loop behind what ends it
        self._is_closed = False

    @property
    def counters(self) -> SearchCounters:
        """What was done so far; a snapshot that does not change."""
        return self._client.counters

    def search(self, queries: Sequence[str], top_k: int) -> list[list[Passage]]:
        """Ask for the best passages of every query; see :meth:`SearchClient.search`."""
        return self._run(self._client.search(queries, top_k))

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until a server answers searches; see :meth:`SearchClient.wait_ready`."""
        self._run(self._client.wait_ready(timeout_s))

    def close(self) -> None:
        """Close all connections and stop the thread; closing again does nothing.

        Searches under way in other threads end with RuntimeError.
        """
        with self._submitting:
            if self._is_closed or not self._thread.is_alive():
                return
            self._is_closed = True
            ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        ending.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        searches = asyncio.all_tasks() - {asyncio.current_task()}
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)
        await self._client.aclose()

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        with self._submitting:
            if self._is_closed or not self._thread.is_alive():
                coroutine.close()
                raise RuntimeError(_CLOSED)
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:  # only close() cancels
            raise RuntimeError(_CLOSED) from error
        except BaseException:  # Ctrl-C ends the search too
            future.cancel()
            raise
