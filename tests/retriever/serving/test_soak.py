"""A server under load for long enough that a leak would show, and killed while it is asked."""

import asyncio
import contextlib
import itertools
import signal
import socket

import psutil
import pytest

from benchmarks.retriever.load import Load, ask, drive
from search_r1.client import SearchClient, SearchClientConfig

WORDS = (
    "Dublin",
    "Dracula",
    "novel",
    "city",
    "author",
    "Ireland",
    "king",
    "film",
    "war",
    "river",
    "music",
    "poet",
    "ship",
    "car",
)


@contextlib.contextmanager
def served(start, index, *flags, port=0):
    """Run the command; gives process and port."""
    process = start("retriever.server", "--index", index, "--port", port, *flags)
    try:
        port = int(process.stderr.readline().rpartition(":")[2])
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


@pytest.mark.slow
@pytest.mark.engine
def test_memory_does_not_grow_with_requests(bm25_index, start):
    """Every query is new, the cache is full early, and some clients send nonsense."""

    def requests():
        for number in itertools.count():
            yield ask([f"{WORDS[number % 14]} number {number}"], 3 if number % 50 else 10**9)

    with served(start, bm25_index, "--cache-bytes", "1M") as (process, port):
        memory = psutil.Process(process.pid).memory_info
        stream = requests()
        drive(Load(port, stream, seconds=60, clients=64, limit=5_000))
        before = memory().rss
        outcome = drive(Load(port, stream, seconds=60, clients=64, limit=30_000))
        after = memory().rss
    assert outcome.statuses[200] > 20_000
    assert set(outcome.statuses) == {200, 422}
    assert after < 1.05 * before


@pytest.mark.slow
@pytest.mark.engine
async def test_no_wrong_answer_while_the_server_is_killed_again_and_again(bm25_index, start):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = SearchClientConfig(
        f"http://127.0.0.1:{port}", deadline_s=300, max_attempts=1000, max_backoff_s=0.2
    )
    async with contextlib.aclosing(SearchClient(config)) as client:
        with served(start, bm25_index, port=port):
            await client.wait_ready(100)
            right = {word: (await client.search([word], 3))[0] for word in WORDS}
        is_over = False

        async def insist(number):
            asked = 0
            while not is_over:
                words = [WORDS[(number + asked + n) % 14] for n in range(3)]
                assert await client.search(words, 3) == [right[word] for word in words]
                asked += 1
            return asked

        asking = [asyncio.create_task(insist(number)) for number in range(32)]
        for _ in range(3):
            with served(start, bm25_index, port=port) as (process, _):
                await asyncio.sleep(0.5)
                process.kill()
        is_over = True
        with served(start, bm25_index, port=port):
            assert sum(await asyncio.gather(*asking)) > 32
        assert client.counters.retries > 0
