import asyncio
import threading

import pytest

from retriever.batcher import Batcher, QueueFullError, SearchFailedError
from retriever.types import Hit, Passage


class SlowRetriever:
    """Searches only while its gate is open; gives a query's name and a number as hits."""

    kind = "slow"
    size = 9

    def __init__(self):
        self.gate = threading.Event()
        self.searches = []
        self.is_inside = False

    def search(self, queries, top_k):
        assert not self.is_inside
        self.is_inside = True
        self.searches.append((queries, top_k))
        assert self.gate.wait(10)
        self.is_inside = False
        if "poison" in queries:
            raise ZeroDivisionError("poison")
        return [[Hit(Passage(f"{q}{n}", "", q), 1.0) for n in range(top_k)] for q in queries]

    def close(self):
        pass


@pytest.fixture
def slow():
    return SlowRetriever()


def ids(results):
    return [[hit.passage.id for hit in hits] for hits in results]


async def begin(batcher, slow, *searches):
    """Start one search that occupies the thread, then the others, which wait."""
    tasks = [asyncio.create_task(batcher.search(["first"], 1))]
    while not slow.searches:
        await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(batcher.search(*search)) for search in searches]
    await asyncio.sleep(0)
    return tasks


async def test_requests_that_wait_are_searched_together_each_query_once(slow):
    batcher = Batcher(slow, max_waiting=10, max_batch=10)
    tasks = await begin(batcher, slow, (["a", "b"], 1), (["b"], 3), (["b", "b", "a"], 2))
    assert batcher.waiting == 3
    slow.gate.set()
    answers = [ids(await task) for task in tasks]
    assert answers == [
        [["first0"]],
        [["a0"], ["b0"]],
        [["b0", "b1", "b2"]],
        [["b0", "b1"], ["b0", "b1"], ["a0", "a1"]],
    ]
    assert slow.searches == [(["first"], 1), (["a", "b"], 3)]
    assert (batcher.batches, batcher.waiting) == (2, 0)
    await batcher.aclose()


async def test_a_lone_request_is_searched_at_once(slow):
    slow.gate.set()
    batcher = Batcher(slow, max_waiting=1, max_batch=1)
    for query in ("a", "b"):
        assert ids(await batcher.search([query], 1)) == [[f"{query}0"]]
    assert await batcher.search([], 1) == []
    assert len(slow.searches) == 2
    await batcher.aclose()


async def test_a_batch_keeps_its_size_but_a_large_request_is_not_divided(slow):
    batcher = Batcher(slow, max_waiting=10, max_batch=3)
    large = [str(number) for number in range(5)]
    tasks = await begin(batcher, slow, (["a", "b"], 1), (["c", "d"], 1), (large, 1), (["e"], 1))
    slow.gate.set()
    await asyncio.gather(*tasks)
    batches = [queries for queries, _ in slow.searches]
    assert batches == [["first"], ["a", "b"], ["c", "d"], large, ["e"]]
    await batcher.aclose()


async def test_one_request_too_many_is_refused_and_the_others_are_answered(slow):
    batcher = Batcher(slow, max_waiting=2, max_batch=10)
    tasks = await begin(batcher, slow, (["a"], 1), (["b"], 1))
    with pytest.raises(QueueFullError):
        await batcher.search(["c"], 1)
    slow.gate.set()
    assert [ids(answer) for answer in await asyncio.gather(*tasks)][1:] == [[["a0"]], [["b0"]]]
    await batcher.aclose()


async def test_a_query_that_fails_does_not_spoil_the_others(slow):
    batcher = Batcher(slow, max_waiting=10, max_batch=10)
    tasks = await begin(batcher, slow, (["a"], 1), (["poison"], 1), (["b"], 1))
    slow.gate.set()
    _, a, poison, b = await asyncio.gather(*tasks, return_exceptions=True)
    assert (ids(a), ids(b)) == ([["a0"]], [["b0"]])
    assert isinstance(poison, SearchFailedError)
    assert isinstance(poison.__cause__, ZeroDivisionError)
    assert ids(await batcher.search(["c"], 1)) == [["c0"]]
    await batcher.aclose()


async def test_a_request_that_was_given_up_is_not_searched(slow):
    batcher = Batcher(slow, max_waiting=10, max_batch=10)
    tasks = await begin(batcher, slow, (["gone"], 1), (["a"], 1))
    tasks[1].cancel()
    await asyncio.sleep(0)
    slow.gate.set()
    assert ids(await tasks[2]) == [["a0"]]
    assert slow.searches[1:] == [(["a"], 1)]
    await batcher.aclose()


async def test_closing_answers_what_waits(slow):
    batcher = Batcher(slow, max_waiting=10, max_batch=1)
    tasks = await begin(batcher, slow, (["a"], 1), (["b"], 1))
    closing = asyncio.create_task(batcher.aclose())
    slow.gate.set()
    await closing
    assert all(task.done() for task in tasks)
