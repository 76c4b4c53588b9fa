import asyncio
import os
import threading
import time

import pytest

from search_r1.client import SearchClientConfig, SyncSearchClient
from search_r1.errors import RetrieverBadReply, RetrieverUnavailable
from search_r1.types import Passage

HITS = [[Passage("7", "T", "x", 0.5)]]


async def search_all(client, number):
    return await asyncio.gather(*(client.search([str(n)], 1) for n in range(number)))


@pytest.mark.slow
async def test_searches_are_spread_over_the_servers(start_flaky, client_to):
    servers = [start_flaky() for _ in range(3)]
    for server in servers:
        server.delay_s = 0.01
    client = client_to(*servers)
    assert await search_all(client, 150) == [HITS] * 150
    assert min(len(server.bodies) for server in servers) >= 25
    assert (client.counters.searches, client.counters.retries) == (150, 0)


@pytest.mark.slow
async def test_no_search_fails_when_a_server_dies_under_load(start_flaky, client_to):
    dying, living = start_flaky(), start_flaky()
    dying.delay_s = living.delay_s = 0.02
    client = client_to(dying, living, max_connections=32)
    searching = asyncio.create_task(search_all(client, 200))
    while len(dying.bodies) < 30:
        await asyncio.sleep(0.005)
    await asyncio.to_thread(dying.die)
    assert await searching == [HITS] * 200
    assert client.counters.failures == 0
    assert client.counters.retries < 100
    assert len(living.bodies) >= 100


async def test_a_dead_server_is_left_alone_and_taken_back_when_it_lives(
    start_flaky, client_to, free_port
):
    living = start_flaky()
    client = client_to(
        f"http://127.0.0.1:{free_port}", living, breaker_failures=2, breaker_pause_s=0.2
    )
    started = time.monotonic()
    for _ in range(12):
        assert await client.search(["a"], 1) == HITS
    probes = 1 + (time.monotonic() - started) / 0.2
    assert client.counters.retries <= 2 + probes  # two failures, then a probe after each pause
    back = start_flaky(free_port)
    while len(back.bodies) < 5:
        await client.search(["a"], 1)
        await asyncio.sleep(0.01)


async def test_a_hung_server_costs_each_search_at_most_one_timeout(start_flaky, client_to):
    hung, living = start_flaky(), start_flaky()
    hung.usual = 100.0
    client = client_to(hung, living, timeout_s=2.0, breaker_failures=3, breaker_pause_s=900.0)
    assert await search_all(client, 16) == [HITS] * 16
    assert client.counters.latency_max_s >= 2.0
    asked = len(hung.bodies)
    assert asked <= 16
    assert await search_all(client, 16) == [HITS] * 16
    assert len(hung.bodies) == asked  # the breaker is open


async def test_a_busy_server_sends_the_search_to_another_at_once(start_flaky, client_to):
    busy, free = start_flaky(), start_flaky()
    busy.usual = (503, '{"error": "queue full"}', {"Retry-After": "60"})
    client = client_to(busy, free)
    assert await search_all(client, 40) == [HITS] * 40
    assert client.counters.latency_max_s < 50  # not what it was told to wait
    assert len(free.bodies) == 40


async def test_a_server_that_fails_is_told_and_no_other_is_asked(start_flaky, client_to):
    servers = [start_flaky(), start_flaky()]
    for server in servers:
        server.usual = (500, "boom", {})
    with pytest.raises(RetrieverBadReply, match="status 500"):
        await client_to(*servers).search(["a"], 1)
    assert sum(len(server.bodies) for server in servers) == 1


async def test_all_servers_dead_is_unavailable_and_names_them(client_to, free_port):
    client = client_to(
        f"http://127.0.0.1:{free_port}", f"http://localhost:{free_port}", max_attempts=3
    )
    with pytest.raises(RetrieverUnavailable, match=rf"127.*{free_port}.*localhost.*3 attempts"):
        await client.search(["a"], 1)


async def test_one_ready_server_is_enough_to_begin(flaky, client_to, free_port):
    await client_to(f"http://127.0.0.1:{free_port}", flaky).wait_ready(5)


@pytest.mark.slow
async def test_three_hundred_searches_at_once_are_all_answered(flaky, client_to):
    assert await search_all(client_to(flaky), 300) == [HITS] * 300


def test_a_sync_client_works_inside_a_running_event_loop(flaky):
    client = SyncSearchClient(SearchClientConfig(flaky.url))

    async def notebook():
        return client.search(["a"], 1)

    assert asyncio.run(notebook()) == HITS
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="was closed, or made before a fork"):
        client.search(["a"], 1)
    assert "search-client" not in [thread.name for thread in threading.enumerate()]


def test_a_sync_client_made_before_a_fork_says_so(flaky):
    client = SyncSearchClient(SearchClientConfig(flaky.url))
    child = os.fork()
    if child == 0:
        try:
            client.search(["a"], 1)
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    client.close()
