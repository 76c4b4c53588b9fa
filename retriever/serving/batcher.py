"""Search off the event loop: many waiting queries at once, each distinct query once.

One thread searches, so neither FAISS nor torch is entered twice at a time. While it is busy,
queries wait in a bounded queue; when it is free it takes all of them that fit into one batch. A
query that is already waiting or being searched is joined instead of searched again. A lone request
waits for nobody.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from retriever.errors import SearchUnavailableError
from retriever.serving.cache import AnswerCache
from retriever.serving.limits import Limits
from retriever.serving.metrics import Metrics
from retriever.serving.pace import Pace
from retriever.serving.wire import QueryHits, write_rows
from retriever.types import Retriever

logger = logging.getLogger(__name__)

_PAUSE_S = 0.001  # nobody came for so long: nobody is about to
_MOST_FAILURES = 32  # searches that may fail while the query that is to blame is looked for


class QueueFullError(Exception):
    """The request would wait too long, or one too many would wait; ask again later."""

    def __init__(self, waiting: int, wait_s: float) -> None:
        super().__init__(f"{waiting} queries already wait, about {wait_s:.1f} s")
        self.waiting = waiting
        self.wait_s = wait_s


class SearchFailedError(Exception):
    """The retriever raised; its exception is the cause of this one."""


class DeadlineError(Exception):
    """The answer was not there in time."""


@dataclass(eq=False, slots=True)
class _Search:
    """A distinct query, and the places in requests that wait for its answer."""

    query: str
    top_k: int
    asked_at: float
    places: dict["PendingRequest", list[int]] = field(default_factory=dict)


class PendingRequest:
    """One request that waits; ``answer`` gives what was found for every query, in order."""

    def __init__(self, found: list[QueryHits | None]) -> None:
        """Take what is known already; None stands for a query that must be searched."""
        self._found = found
        self.missing = found.count(None)
        self.searches: dict[_Search, None] = {}  # an ordered set
        self.answer: asyncio.Future[list[QueryHits]] = asyncio.get_running_loop().create_future()

    def fill(self, place: int, found: QueryHits) -> None:
        """Take the answer of one query; the last one completes the request."""
        self._found[place] = found
        self.missing -= 1
        if not self.missing and not self.answer.done():
            self.answer.set_result([found for found in self._found if found is not None])


class Batcher:
    """Merge the searches of one event loop. Make it, and close it, inside that loop."""

    def __init__(
        self, retriever: Retriever, limits: Limits, cache: AnswerCache, metrics: Metrics
    ) -> None:
        """Start without work.

        Args:
            retriever: What searches; called from one thread only.
            limits: How many queries may wait and be searched together.
            cache: Gets every answer.
            metrics: Told of waits, batches and joins.
        """
        self._retriever = retriever
        self._limits = limits
        self._cache = cache
        self._metrics = metrics
        self._pace = Pace(limits.max_batch)
        self._queue: OrderedDict[_Search, None] = OrderedDict()
        self._under_way: dict[str, _Search] = {}  # the latest search of every unanswered query
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="search")
        self._working: asyncio.Task[None] | None = None
        self._crowd = 1  # queries that a search answered, and those that waited meanwhile
        self._searched_at = 0.0
        self._search_began_at: float | None = None
        self.waiting = 0
        """Queries accepted and not yet answered."""

    def submit(
        self, queries: Sequence[str], found: list[QueryHits | None], top_k: int, timeout_s: float
    ) -> PendingRequest:
        """Put the queries that nothing was found for into the queue.

        Args:
            queries: All queries of a request.
            found: What is known for each; None to have it searched.
            top_k: Hits per query.
            timeout_s: Seconds after which the request fails with DeadlineError.

        Returns:
            The request; await its ``answer``, and give it to ``drop`` if that was in vain.

        Raises:
            QueueFullError: If it cannot be answered in time, or too much waits already.
        """
        pending = PendingRequest(found)
        now = time.perf_counter()
        wait_s = self._pace.estimate_s(len(self._queue)) + self._time_left_s(now)
        is_full = self.waiting and self.waiting + pending.missing > self._limits.max_waiting
        if is_full or (self._queue and wait_s > timeout_s):
            raise QueueFullError(self.waiting, wait_s)
        self.waiting += pending.missing
        for place, known in enumerate(found):
            if known is None:
                self._ask(queries[place], top_k, pending, place, now)
        timer = asyncio.get_running_loop().call_later(timeout_s, self._expire, pending)
        pending.answer.add_done_callback(lambda _answer: timer.cancel())
        if self._queue and self._working is None:
            self._working = asyncio.create_task(self._work())
        return pending

    def drop(self, pending: PendingRequest) -> None:
        """Forget a request; what nobody else waits for is not searched."""
        if not pending.missing:
            return
        self.waiting -= pending.missing
        pending.missing = 0
        for search in pending.searches:
            search.places.pop(pending, None)
            if not search.places and search in self._queue:
                self._queue.pop(search)
                self._finish(search)

    async def aclose(self) -> None:
        """Answer what is waiting, then stop the thread."""
        if self._working is not None:
            await self._working
        self._thread.shutdown()

    def _ask(self, query: str, top_k: int, pending: PendingRequest, place: int, now: float) -> None:
        search = self._under_way.get(query)
        if search is None or search.top_k < top_k:
            search = _Search(query, top_k, now)
            self._under_way[query] = search
            self._queue[search] = None
        else:
            self._metrics.observe_join()
        search.places.setdefault(pending, []).append(place)
        pending.searches[search] = None

    def _time_left_s(self, now: float) -> float:
        """Estimate in how many seconds the search under way, if there is one, is over."""
        if self._search_began_at is None:
            return 0.0
        return max(0.0, self._search_began_at + self._pace.search_s - now)

    def _expire(self, pending: PendingRequest) -> None:
        if not pending.answer.done():
            pending.answer.set_exception(DeadlineError())

    def _finish(self, search: _Search) -> None:
        if self._under_way.get(search.query) is search:
            del self._under_way[search.query]

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._wait_for_crowd()
                batch = self._take_batch()
                if batch:
                    await self._answer(batch)
        finally:
            self._working = None

    async def _wait_for_crowd(self) -> None:
        """Wait shortly for clients that got an answer just now and are about to ask again."""
        ends = self._searched_at + self._pace.window_s
        wanted = min(self._crowd, self._pace.batch_size)
        queued = 0
        while queued < len(self._queue) < wanted and time.perf_counter() < ends:
            queued = len(self._queue)
            await asyncio.sleep(_PAUSE_S)

    def _take_batch(self) -> list[_Search]:
        """Take the first searches in line that want as many hits as the very first one."""
        if not self._queue:  # all gave up while it waited for a crowd
            return []
        batch: list[_Search] = []
        top_k = next(iter(self._queue)).top_k
        most = max(1, min(self._pace.batch_size, self._limits.max_hits // top_k))
        for search in self._queue:
            if search.top_k == top_k:
                batch.append(search)
                if len(batch) >= most:
                    break
        now = time.perf_counter()
        for search in batch:
            del self._queue[search]
            self._metrics.observe_wait(now - search.asked_at)
        return batch

    async def _answer(self, batch: list[_Search]) -> None:
        """Search a batch; if that fails, search its parts, so that one query spoils no other."""
        self._crowd = 0
        parts, failures = [batch], 0
        while parts:
            part = parts.pop()
            failure = await self._search_together(part)
            if failure is None:
                continue
            failures += 1
            is_general = isinstance(failure, SearchUnavailableError)
            if len(part) == 1 or is_general or failures > _MOST_FAILURES:
                self._fail(part, failure)
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
        self._crowd += len(self._queue)
        self._searched_at = time.perf_counter()

    async def _search_together(self, batch: list[_Search]) -> BaseException | None:
        queries, top_k = [search.query for search in batch], batch[0].top_k
        loop = asyncio.get_running_loop()
        searched = loop.run_in_executor(self._thread, self._find, queries, top_k)
        self._search_began_at = time.perf_counter()
        await asyncio.wait([searched])
        self._search_began_at = None
        failure = searched.exception()
        if failure is not None:
            return failure
        found, search_s, write_s = searched.result()
        self._pace.observe(len(batch), search_s + write_s)
        self._metrics.observe_batch(len(batch), search_s, write_s)
        for search, hits in zip(batch, found, strict=True):
            self._cache.put(search.query, hits)
            self._finish(search)
            asked, search.places = search.places, {}  # no cycle is left for the collector
            for pending, places in asked.items():
                self._crowd += len(places)
                self.waiting -= len(places)
                for place in places:
                    pending.fill(place, hits)
        return None

    def _find(self, queries: list[str], top_k: int) -> tuple[list[QueryHits], float, float]:
        """Search and write, in the thread; also give the seconds that each took."""
        started = time.perf_counter()
        try:
            hits = self._retriever.search(queries, top_k)
        except StopIteration as error:  # the one exception that a future cannot hold
            raise RuntimeError("the retriever raised StopIteration") from error
        searched = time.perf_counter()
        found = [QueryHits(top_k, write_rows(hits[place])) for place in range(len(queries))]
        return found, searched - started, time.perf_counter() - searched

    def _fail(self, batch: list[_Search], failure: BaseException) -> None:
        """Tell all who asked, and the log: once, however many they are."""
        extra = {"fields": {"queries": len(batch), "top_k": batch[0].top_k}}
        if isinstance(failure, SearchUnavailableError):
            logger.warning("search is unavailable: %s", failure, extra=extra)
        else:
            logger.error("a search failed", exc_info=failure, extra=extra)
        for search in batch:
            self._finish(search)
            for pending in search.places:
                if not pending.answer.done():
                    error = SearchFailedError(type(failure).__name__)
                    error.__cause__ = failure
                    pending.answer.set_exception(error)
