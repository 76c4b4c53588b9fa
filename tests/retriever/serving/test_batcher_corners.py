"""What is left behind when requests end in an unusual order, and who is waited for."""

import asyncio
import gc
import threading
import time
import weakref

import orjson
import pytest

from retriever.errors import SearchUnavailableError
from retriever.serving.batcher import Batcher, QueueFullError, SearchFailedError
from retriever.serving.cache import AnswerCache
from retriever.serving.limits import Limits
from retriever.serving.metrics import Metrics
from retriever.serving.pace import Pace
from retriever.types import Hit, Passage


class StepwiseRetriever:
    """Makes one search for each step it is allowed."""

    kind = "stepwise"
    size = 9

    def __init__(self):
        self.steps = threading.Semaphore(0)
        self.searches = []
        self.failure = ZeroDivisionError("poison")

    def allow(self, steps=1000):
        self.steps.release(steps)

    def search(self, queries, top_k):
        self.searches.append((queries, top_k))
        assert self.steps.acquire(timeout=100)
        if any(query.startswith("poison") for query in queries):
            raise self.failure
        return [[Hit(Passage(f"{q}{n}", "", q), 1.0) for n in range(top_k)] for q in queries]

    async def wait_for_search(self, number):
        while len(self.searches) < number:
            await asyncio.sleep(0.001)


@pytest.fixture
def engine():
    return StepwiseRetriever()


@pytest.fixture
async def batcher(engine):
    made = Batcher(engine, Limits(max_waiting=4), AnswerCache(2**20), Metrics())
    yield made
    engine.allow()
    await made.aclose()


def submit(batcher, *queries, top_k=1, timeout_s=100.0):
    return batcher.submit(queries, [None] * len(queries), top_k, timeout_s)


async def read(pending):
    return [[orjson.loads(row)["document"]["id"] for row in f.rows] for f in await pending.answer]


async def test_a_query_that_all_gave_up_while_it_waited_is_searched_when_asked_again(
    batcher, engine
):
    first = submit(batcher, "first")
    await engine.wait_for_search(1)
    batcher.drop(submit(batcher, "gone"))
    again = submit(batcher, "gone")
    engine.allow()
    assert await read(again) == [["gone0"]]
    assert await read(first) == [["first0"]]
    assert engine.searches == [(["first"], 1), (["gone"], 1)]


async def test_a_query_that_all_gave_up_while_it_was_searched_can_still_be_joined(batcher, engine):
    gone = submit(batcher, "a")
    await engine.wait_for_search(1)
    batcher.drop(gone)
    assert batcher.waiting == 0
    again = submit(batcher, "a")
    engine.allow()
    assert await read(again) == [["a0"]]
    assert len(engine.searches) == 1


async def test_a_request_that_is_dropped_twice_counts_once(batcher, engine):
    gone, staying = submit(batcher, "a", "b"), submit(batcher, "b")
    batcher.drop(gone)
    batcher.drop(gone)
    assert batcher.waiting == 1
    engine.allow()
    assert await read(staying) == [["b0"]]
    assert batcher.waiting == 0


async def test_a_query_is_asked_anew_after_it_failed(batcher, engine):
    engine.allow()
    for number in (1, 2):
        failing = submit(batcher, "poison")
        with pytest.raises(SearchFailedError):
            await failing.answer
        batcher.drop(failing)
        assert len(engine.searches) == number
        assert batcher.waiting == 0


async def test_a_request_fails_once_though_two_of_its_queries_do(batcher, engine):
    engine.failure = SearchUnavailableError("down")  # so that both fail together
    engine.allow()
    failing = submit(batcher, "poison1", "poison2", "a")
    working = batcher._working
    with pytest.raises(SearchFailedError):
        await failing.answer
    batcher.drop(failing)
    await working  # raises what it met
    assert await read(submit(batcher, "b")) == [["b0"]]
    assert batcher.waiting == 0


async def test_a_search_for_more_hits_is_joined_after_the_one_for_fewer_ended(batcher, engine):
    few = submit(batcher, "a", top_k=1)
    await engine.wait_for_search(1)
    many = submit(batcher, "a", top_k=3)
    engine.allow(1)
    assert await read(few) == [["a0"]]
    await engine.wait_for_search(2)
    some = submit(batcher, "a", top_k=2)
    engine.allow()
    assert await read(many) == await read(some) == [["a0", "a1", "a2"]]
    assert engine.searches == [(["a"], 1), (["a"], 3)]
    assert batcher._metrics._joined.collect()[0].samples[0].value == 1


async def test_who_comes_when_nobody_waits_is_accepted_however_slow_searches_are(batcher, engine):
    batcher._pace.search_s = 50.0
    first = submit(batcher, "a")
    await engine.wait_for_search(1)
    second = submit(batcher, "b", timeout_s=60.0)  # the other may take 100 s, but who knows
    engine.allow()
    assert [await read(first), await read(second)] == [[["a0"]], [["b0"]]]


async def test_a_search_that_is_over_is_not_waited_for(batcher, engine):
    engine.allow()
    await read(submit(batcher, "a"))
    batcher._pace.search_s = 50.0
    both = [submit(batcher, "b"), submit(batcher, "c", timeout_s=60.0)]
    assert [await read(one) for one in both] == [[["b0"]], [["c0"]]]


async def test_a_search_that_takes_longer_than_most_is_expected_at_once(batcher, engine):
    first = submit(batcher, "a")
    await engine.wait_for_search(1)
    rest = [submit(batcher, query) for query in "bcd"]
    with pytest.raises(QueueFullError) as refused:
        submit(batcher, "e")
    assert refused.value.wait_s == 0  # nothing is known of its speed, and no less is possible
    engine.allow()
    assert await asyncio.gather(*map(read, [first, *rest]))


async def test_an_answered_request_is_not_held_until_its_deadline(batcher, engine):
    engine.allow()
    pending = submit(batcher, "a", timeout_s=900.0)
    await read(pending)
    left = weakref.ref(pending)
    del pending
    await asyncio.sleep(0)  # callbacks of the answer
    gc.collect()
    assert left() is None


async def test_those_who_were_answered_together_are_waited_for(batcher, engine, monkeypatch):
    monkeypatch.setattr(Pace, "window_s", 900.0)
    first = submit(batcher, "first")
    await engine.wait_for_search(1)
    crowd = [submit(batcher, query) for query in "abc"]
    engine.allow()
    await asyncio.gather(*map(read, [first, *crowd]))
    assert engine.searches[1:] == [(["a", "b", "c"], 1)]
    back = [submit(batcher, "d")]
    await asyncio.sleep(0)  # the batcher begins to wait
    back.append(submit(batcher, "e"))
    await asyncio.gather(*map(read, back))  # the third does not come, and is not waited for long
    assert engine.searches[2:] == [(["d", "e"], 1)]


async def test_those_who_came_during_a_search_are_part_of_the_crowd(batcher, engine, monkeypatch):
    monkeypatch.setattr(Pace, "window_s", 900.0)
    first = submit(batcher, "first")
    await engine.wait_for_search(1)
    waiting = submit(batcher, "a")
    engine.allow()
    await read(first)
    back = submit(batcher, "b")
    await asyncio.gather(read(waiting), read(back))
    assert engine.searches[1:] == [(["a", "b"], 1)]


async def test_a_lone_client_waits_for_nobody(batcher, engine, monkeypatch):
    monkeypatch.setattr(Pace, "window_s", 900.0)
    monkeypatch.setattr("retriever.serving.batcher._PAUSE_S", 900.0)
    engine.allow()
    for query in "ab":
        assert await asyncio.wait_for(read(submit(batcher, query)), 100) == [[f"{query}0"]]


async def test_nothing_is_searched_if_all_give_up_while_others_are_waited_for(
    batcher, engine, monkeypatch
):
    monkeypatch.setattr(Pace, "window_s", 900.0)
    batcher._crowd, batcher._searched_at = 9, time.perf_counter()
    gone = submit(batcher, "gone")
    working = batcher._working
    await asyncio.sleep(0)
    batcher.drop(gone)
    await working  # raises what it met
    assert engine.searches == []
    engine.allow()
    assert await read(submit(batcher, "a")) == [["a0"]]
