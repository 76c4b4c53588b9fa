import asyncio
import contextlib
import socket

import pytest

from search_r1.client import SearchClient, SearchClientConfig


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.slow
async def test_clients_recover_when_the_server_is_killed_and_restarted(bm25_index, start):
    port = free_port()
    arguments = ("retriever.server", "--index", bm25_index, "--port", port)
    config = SearchClientConfig(
        f"http://127.0.0.1:{port}", deadline_s=300, max_attempts=1000, max_backoff_s=0.2
    )
    async with contextlib.aclosing(SearchClient(config)) as client:
        with contextlib.ExitStack() as stack:
            killed = stack.enter_context(start(*arguments))
            stack.callback(killed.kill)
            await client.wait_ready(100)
            (before,) = await client.search(["Clontarf"], 3)
            assert before[0].title == "Bram Stoker"
            killed.kill()
            killed.wait()
            asking = asyncio.gather(*(client.search(["Clontarf"], 3) for _ in range(64)))
            await asyncio.sleep(0.1)
            restarted = stack.enter_context(start(*arguments))
            stack.callback(restarted.kill)
            assert await asking == [[before]] * 64
            assert client.counters.retries >= 64
            assert client.counters.failures == 0
