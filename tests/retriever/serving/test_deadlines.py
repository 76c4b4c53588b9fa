"""Time that runs out: on a slow body, and behind an engine that answers few queries a second."""

import asyncio
import collections
import json
import socket
import time

from retriever.serving.limits import Limits
from retriever.types import Hit, Passage


class EngineOfFew:
    """Takes some time for every query, so it wants few together."""

    kind = "few"
    size = None
    max_batch = 4

    def __init__(self, search_s=0.0):
        self.search_s = search_s
        self.batches = []

    def search(self, queries, top_k):
        self.batches.append(len(queries))
        time.sleep(self.search_s * len(queries))
        return [[Hit(Passage(query, "", query), 1.0)] for query in queries]

    def close(self):
        pass


def head(length, *headers):
    lines = ["POST /retrieve HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def send_slowly(client, content, *headers):
    """Send the first byte of a body, and give all that is answered until the server hangs up."""
    with socket.create_connection((client.base_url.host, client.base_url.port), 100) as sender:
        sender.sendall(head(len(content), *headers) + content[:1])
        received = b""
        while part := sender.recv(4096):
            received += part
    return received


def test_a_body_that_does_not_come_in_time_gets_504_and_the_connection_is_closed(serving):
    with serving(EngineOfFew(), Limits(timeout_s=100.0)) as client:
        reply = send_slowly(client, b'{"queries": []}', "X-Request-Timeout-S: 0.05")
        assert reply.startswith(b"HTTP/1.1 504 ")
        assert b"the body was not complete within 0.05 s; send it again." in reply
        assert 'retriever_errors_total{kind="slow_body"} 1.0' in client.get("/metrics").text


def test_a_slow_body_is_not_waited_for_longer_than_the_server_allows(serving):
    with serving(EngineOfFew(), Limits(timeout_s=0.1)) as client:
        reply = send_slowly(client, b'{"queries": []}', "X-Request-Timeout-S: 60")
        assert b"within 0.1 s" in reply


def test_the_time_that_a_body_took_is_not_given_again(serving):
    content = b'{"queries": ["a"]}'
    with (
        serving(EngineOfFew(search_s=1.5), Limits(timeout_s=2.0)) as client,
        socket.create_connection((client.base_url.host, client.base_url.port), 100) as sender,
    ):
        sender.sendall(head(len(content)))
        time.sleep(1.0)
        sender.sendall(content)
        reply = sender.recv(4096)
    assert reply.startswith(b"HTTP/1.1 504 ")
    assert b"no answer within 2 s" in reply


def test_an_engine_says_how_many_queries_it_takes_together(serving):
    engine = EngineOfFew()
    with serving(engine) as client:
        assert client.get("/info").json()["limits"]["max_batch"] == 4
        queries = [str(number) for number in range(10)]
        assert client.post("/retrieve", json={"queries": queries}).status_code == 200
    assert engine.batches == [4, 4, 2]
    with serving(engine, Limits(max_batch=2)) as client:
        assert client.get("/info").json()["limits"]["max_batch"] == 2


async def test_a_slow_engine_that_takes_few_together_answers_in_time(serving):
    # 64 clients, each of which waits for half the time that 64 queries take in one search.
    engine = EngineOfFew(search_s=0.01)
    with serving(engine, Limits(timeout_s=0.32)) as client:
        statuses = collections.Counter()

        async def insist(number):
            address = (client.base_url.host, client.base_url.port)
            reader, writer = await asyncio.open_connection(*address)
            turn = 0
            while statuses[b"200"] < 100:
                turn += 1
                body = json.dumps({"queries": [f"query {number} {turn}"]}).encode()
                writer.write(head(len(body)) + body)
                reply = await reader.readuntil(b"\r\n\r\n")
                length = reply.lower().partition(b"content-length: ")[2].split()[0]
                await reader.readexactly(int(length))
                statuses[reply[9:12]] += 1
                await asyncio.sleep(0 if reply[9:12] == b"200" else 0.05)
            writer.close()

        await asyncio.gather(*map(insist, range(64)))
    assert max(engine.batches) <= 4
    assert statuses[b"200"] >= 100  # if larger batches were searched: none, for ever
