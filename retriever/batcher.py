"""Search off the event loop, many waiting requests at once.

One thread searches, so neither FAISS nor torch is entered twice at a time. While it is busy,
requests wait in a bounded queue; when it is free it takes all of them that fit into one batch. A
lone request waits for nobody.
"""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from retriever.types import Hit, Retriever

Hits = list[list[Hit]]


class QueueFullError(Exception):
    """Too many requests are waiting; ask again later."""


class SearchFailedError(Exception):
    """The retriever raised; its exception is the cause of this one."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    queries: list[str]
    top_k: int
    answer: "asyncio.Future[Hits]"


class Batcher:
    """Merge the searches of one event loop. Make it, and close it, inside that loop."""

    def __init__(self, retriever: Retriever, max_waiting: int, max_batch: int) -> None:
        """Start without work.

        Args:
            retriever: What searches; called from one thread only.
            max_waiting: Requests that may wait; one more is refused.
            max_batch: Queries searched together; a larger single request is still one batch.
        """
        self._retriever = retriever
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="search")
        self._running: asyncio.Task[None] | None = None
        self.batches = 0
        """Searches made so far."""

    @property
    def waiting(self) -> int:
        """Requests that wait for the index right now."""
        return len(self._waiting)

    async def search(self, queries: list[str], top_k: int) -> Hits:
        """Search, together with whoever else is waiting.

        Raises:
            QueueFullError: If ``max_waiting`` requests already wait.
            SearchFailedError: If the retriever raised for these queries.
        """
        if not queries:
            return []
        if len(self._waiting) >= self._max_waiting:
            raise QueueFullError
        request = _Waiting(queries, top_k, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._running is None:
            self._running = asyncio.create_task(self._work())
        return await request.answer

    async def aclose(self) -> None:
        """Answer what is waiting, then stop the thread."""
        if self._running is not None:
            await self._running
        self._thread.shutdown()

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = self._take_batch()
                if batch and not await self._search_together(batch) and len(batch) > 1:
                    # One request must not spoil the others' answers.
                    for request in batch:
                        await self._search_together([request])
        finally:
            self._running = None

    def _take_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        queries = 0
        while self._waiting:
            if batch and queries + len(self._waiting[0].queries) > self._max_batch:
                break
            request = self._waiting.popleft()
            if not request.answer.done():  # its client may have gone
                batch.append(request)
                queries += len(request.queries)
        return batch

    async def _search_together(self, batch: list[_Waiting]) -> bool:
        """Answer a batch; a failure is given to a request that is alone, else reported."""
        # A group of trajectories often asks the same, and the best 3 are the first of the best 5.
        distinct = list(dict.fromkeys(query for request in batch for query in request.queries))
        top_k = max(request.top_k for request in batch)
        self.batches += 1
        loop = asyncio.get_running_loop()
        searched = loop.run_in_executor(self._thread, self._retriever.search, distinct, top_k)
        await asyncio.wait([searched])
        failure = searched.exception()
        if failure is not None and len(batch) > 1:
            return False
        found = {} if failure else dict(zip(distinct, searched.result(), strict=True))
        for request in batch:
            if request.answer.done():
                continue
            if failure is not None:
                error = SearchFailedError(type(failure).__name__)
                error.__cause__ = failure
                request.answer.set_exception(error)
            else:
                request.answer.set_result([found[q][: request.top_k] for q in request.queries])
        return failure is None
