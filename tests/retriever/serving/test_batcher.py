import asyncio
import logging
import threading
import time

import orjson
import pytest

from retriever.errors import SearchUnavailableError
from retriever.serving.batcher import Batcher, DeadlineError, QueueFullError, SearchFailedError
from retriever.serving.cache import AnswerCache
from retriever.serving.limits import Limits
from retriever.serving.metrics import Metrics
from retriever.types import Hit, Passage


class SlowRetriever:
    """Searches only while its gate is open; gives a query's name and a number as hits."""

    kind = "slow"
    size = 9

    def __init__(self):
        self.gate = threading.Event()
        self.searches = []
        self.failure = ZeroDivisionError("poison")
        self.is_inside = False

    def search(self, queries, top_k):
        assert not self.is_inside
        self.is_inside = True
        self.searches.append((queries, top_k))
        assert self.gate.wait(100)
        self.is_inside = False
        if any(query.startswith("poison") for query in queries):
            raise self.failure
        return [[Hit(Passage(f"{q}{n}", "", q), 1.0) for n in range(top_k)] for q in queries]

    def close(self):
        pass


@pytest.fixture
def slow():
    return SlowRetriever()


@pytest.fixture
async def make_batcher(slow):
    """Make batchers that are closed at the end, whatever still waits."""
    made = []

    def make(**limits):
        cache = AnswerCache(2**20)
        made.append(Batcher(slow, Limits(**limits), cache, Metrics()))
        made[-1].cache = cache
        return made[-1]

    yield make
    slow.gate.set()
    for batcher in made:
        await batcher.aclose()


async def search(batcher, queries, top_k, timeout_s=100.0):
    """Search without looking into the cache, as the endpoint does for what is not there."""
    pending = batcher.submit(queries, [None] * len(queries), top_k, timeout_s)
    try:
        return [
            [orjson.loads(row)["document"]["id"] for row in found.rows[:top_k]]
            for found in await pending.answer
        ]
    finally:
        batcher.drop(pending)


async def begin(batcher, slow, *searches):
    """Start one search that occupies the thread, then the others, which wait."""
    tasks = [asyncio.create_task(search(batcher, ["first"], 1))]
    while not slow.searches:
        await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(search(batcher, *wanted)) for wanted in searches]
    await asyncio.sleep(0)
    return tasks


async def test_requests_that_wait_are_searched_together_each_query_once(slow, make_batcher):
    batcher = make_batcher()
    tasks = await begin(batcher, slow, (["a", "b"], 2), (["b"], 1), (["b", "b", "a"], 2))
    assert batcher.waiting == 7
    slow.gate.set()
    assert [await task for task in tasks] == [
        [["first0"]],
        [["a0", "a1"], ["b0", "b1"]],
        [["b0"]],
        [["b0", "b1"], ["b0", "b1"], ["a0", "a1"]],
    ]
    assert slow.searches == [(["first"], 1), (["a", "b"], 2)]
    assert batcher.waiting == 0


async def test_a_query_that_is_being_searched_is_joined(slow, make_batcher):
    batcher = make_batcher()
    tasks = await begin(batcher, slow, (["first"], 1), (["first", "b"], 1))
    slow.gate.set()
    assert [await task for task in tasks] == [[["first0"]], [["first0"]], [["first0"], ["b0"]]]
    assert slow.searches == [(["first"], 1), (["b"], 1)]


async def test_more_hits_than_are_being_searched_for_are_searched_anew(slow, make_batcher):
    batcher = make_batcher()
    tasks = await begin(batcher, slow, (["first"], 3), (["first"], 2))
    slow.gate.set()
    assert [[len(hits) for hits in await task] for task in tasks] == [[1], [3], [2]]
    assert slow.searches == [(["first"], 1), (["first"], 3)]


async def test_few_hits_are_not_searched_together_with_many(slow, make_batcher):
    batcher = make_batcher()
    tasks = await begin(batcher, slow, (["a"], 1), (["b"], 9), (["c"], 1))
    slow.gate.set()
    await asyncio.gather(*tasks)
    assert slow.searches[1:] == [(["a", "c"], 1), (["b"], 9)]


async def test_a_lone_request_is_searched_at_once(slow, make_batcher):
    slow.gate.set()
    batcher = make_batcher(max_batch=1)
    for query in ("a", "b"):
        assert await search(batcher, [query], 1) == [[f"{query}0"]]
    assert len(slow.searches) == 2


async def test_a_batch_keeps_its_size_and_a_large_request_is_divided(slow, make_batcher):
    batcher = make_batcher(max_batch=3)
    large = [str(number) for number in range(5)]
    tasks = await begin(batcher, slow, (["a", "b"], 1), (large, 1), (["c"], 1))
    slow.gate.set()
    answers = await asyncio.gather(*tasks)
    batches = [queries for queries, _ in slow.searches]
    assert batches == [["first"], ["a", "b", "0"], ["1", "2", "3"], ["4", "c"]]
    assert answers[2] == [["00"], ["10"], ["20"], ["30"], ["40"]]


async def test_one_query_too_many_is_refused_and_the_others_are_answered(slow, make_batcher):
    batcher = make_batcher(max_waiting=3)
    tasks = await begin(batcher, slow, (["a"], 1), (["b"], 1))
    with pytest.raises(QueueFullError, match="3 queries already wait"):
        batcher.submit(["c"], [None], 1, 10.0)
    slow.gate.set()
    assert (await asyncio.gather(*tasks))[1:] == [[["a0"]], [["b0"]]]
    assert await search(batcher, ["a", "b", "c", "d"], 1)  # alone, it may be larger


async def test_a_request_that_cannot_be_answered_in_time_is_refused_at_once(slow, make_batcher):
    batcher = make_batcher(max_batch=1)
    slow.gate.set()
    await search(batcher, ["a"], 1)
    batcher._pace.search_s = 2.0
    slow.gate.clear()
    slow.searches.clear()
    tasks = await begin(batcher, slow, (["b"], 1), (["c"], 1))
    with pytest.raises(QueueFullError, match=r"about [78]\.\d s"):
        batcher.submit(["d"], [None], 1, 5.0)
    slow.gate.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("n_poison", [1, 2, 200])
async def test_queries_that_fail_do_not_spoil_the_others(slow, make_batcher, n_poison):
    batcher = make_batcher()
    good = [([f"q{n}"], 1) for n in range(100 if n_poison < 9 else 0)]
    bad = [([f"poison{n}"], 1) for n in range(n_poison)]
    tasks = await begin(batcher, slow, *good[:50], *bad, *good[50:], (["last"], 1))
    slow.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [answer for answer in answers if isinstance(answer, Exception)]
    if n_poison < 9:
        assert len(failed) == n_poison
        assert isinstance(failed[0], SearchFailedError)
        assert isinstance(failed[0].__cause__, ZeroDivisionError)
        assert sorted(a[0][0] for a in answers if isinstance(a, list))[-1] == "q990"
    assert len(slow.searches) < 70  # an engine that is down is not asked for every query
    assert await search(batcher, ["c"], 1) == [["c0"]]
    assert batcher.waiting == 0


async def test_an_engine_that_is_down_is_not_asked_for_every_query(slow, make_batcher):
    batcher = make_batcher()
    slow.failure = SearchUnavailableError("down", retry_after_s=3.0)
    tasks = await begin(batcher, slow, *[([f"poison{n}"], 1) for n in range(20)])
    slow.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(answer) for answer in answers[1:]} == {SearchFailedError}
    assert len(slow.searches) == 2


async def test_an_engine_may_raise_anything(slow, make_batcher):
    batcher = make_batcher()
    slow.failure = StopIteration()
    slow.gate.set()
    with pytest.raises(SearchFailedError, match="RuntimeError"):
        await search(batcher, ["poison"], 1)


async def test_a_request_that_was_given_up_is_not_searched(slow, make_batcher):
    batcher = make_batcher()
    tasks = await begin(batcher, slow, (["gone", "a"], 1), (["a"], 1))
    tasks[1].cancel()
    await asyncio.sleep(0)
    assert batcher.waiting == 2
    slow.gate.set()
    assert await tasks[2] == [["a0"]]
    assert slow.searches[1:] == [(["a"], 1)]


async def test_what_expires_is_not_searched(slow, make_batcher):
    batcher = make_batcher()
    tasks = await begin(batcher, slow, (["late"], 1, 0.01), (["a"], 1))
    with pytest.raises(DeadlineError):
        await tasks[1]
    slow.gate.set()
    assert await tasks[2] == [["a0"]]
    assert slow.searches[1:] == [(["a"], 1)]


async def test_an_answer_that_came_too_late_is_kept_for_the_next_who_asks(slow, make_batcher):
    batcher = make_batcher()
    with pytest.raises(DeadlineError):
        await search(batcher, ["late"], 1, 0.01)
    slow.gate.set()
    await search(batcher, ["next"], 1)
    assert batcher.cache.get("late", 1) is not None


async def test_closing_answers_what_waits(slow, make_batcher):
    batcher = make_batcher(max_batch=1)
    tasks = await begin(batcher, slow, (["a"], 1), (["b"], 1))
    [thread] = batcher._thread._threads
    closing = asyncio.create_task(batcher.aclose())
    slow.gate.set()
    await closing
    assert all(task.done() for task in tasks)
    assert not thread.is_alive()


async def test_giving_up_takes_no_time_however_often_a_query_is_asked(slow, make_batcher):
    batcher = make_batcher(max_waiting=100_000)
    (first,) = await begin(batcher, slow)
    equal, distinct = ["same"] * 1024, [f"q{n}" for n in range(1024)]
    given_up = [
        batcher.submit(queries, [None] * 1024, 1, 10.0)
        for queries in [equal] * 15 + [distinct] * 15
    ]
    staying = asyncio.create_task(search(batcher, ["same", "q7", "same"], 1))
    await asyncio.sleep(0)
    started = time.thread_time()
    for pending in given_up:
        batcher.drop(pending)
    assert time.thread_time() - started < 10  # a hundred times what it takes
    assert batcher.waiting == 4
    slow.gate.set()
    assert await staying == [["same0"], ["q70"], ["same0"]]
    await first
    assert slow.searches[1:] == [(["same", "q7"], 1)]
    assert batcher.waiting == 0


async def test_a_batch_has_no_more_hits_than_one_answer_may_have(slow, make_batcher):
    batcher = make_batcher(max_hits=10)
    wide = [([f"w{n}"], 4) for n in range(5)]
    tasks = await begin(batcher, slow, *wide, (["wider"], 11), (["a"], 1), (["b"], 1))
    slow.gate.set()
    await asyncio.gather(*tasks)
    sizes = [(len(queries), top_k) for queries, top_k in slow.searches[1:]]
    assert sizes == [(2, 4), (2, 4), (1, 4), (1, 11), (2, 1)]


@pytest.mark.parametrize(
    ("failure", "level", "has_traceback"),
    [
        (ZeroDivisionError("poison"), logging.ERROR, True),
        (SearchUnavailableError("no engine"), logging.WARNING, False),
    ],
)
async def test_a_failing_search_is_logged_once_however_many_asked(
    slow, make_batcher, caplog, failure, level, has_traceback
):
    batcher = make_batcher()
    slow.failure = failure
    tasks = await begin(batcher, slow, *[(["poison"], 2)] * 9)
    slow.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers[1:]] == [SearchFailedError] * 9
    (record,) = caplog.records
    assert (record.levelno, record.fields) == (level, {"queries": 1, "top_k": 2})
    assert bool(record.exc_info) is has_traceback
    assert has_traceback or "no engine" in record.getMessage()
