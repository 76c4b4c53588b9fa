"""What clients and engines do wrong, over real sockets."""

import asyncio
import collections
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from retriever.serving.limits import Limits
from retriever.types import Hit, Passage


class GatedRetriever:
    """Searches while its gate is open, as slowly as told; keeps what it was asked."""

    kind = "gated"
    size = 3

    def __init__(self, search_s=0.0):
        self.gate = threading.Event()
        self.gate.set()
        self.asked = []
        self.search_s = search_s

    def search(self, queries, top_k):
        self.asked += queries
        assert self.gate.wait(100)
        time.sleep(self.search_s * len(queries))
        if "poison" in queries:
            raise ZeroDivisionError
        return [[Hit(Passage(q, "", q), 1.0)] * min(top_k, self.size) for q in queries]

    def close(self):
        pass


def post(client, *queries, headers=None, **body):
    return client.post("/retrieve", json={"queries": queries, **body}, headers=headers)


def address(client):
    return client.base_url.host, client.base_url.port


def connect(client):
    return socket.create_connection(address(client), timeout=100)


def request_bytes(content, *headers):
    lines = ["POST /retrieve HTTP/1.1", "Host: x", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def count(client, line):
    found = [row for row in client.get("/metrics").text.splitlines() if row.startswith(line)]
    return sum(float(row.split()[-1]) for row in found)


def test_a_client_that_leaves_is_noticed_and_not_searched_for(serving, wait_until):
    retriever = GatedRetriever()
    with serving(retriever) as client, ThreadPoolExecutor() as pool:
        retriever.gate.clear()
        first = pool.submit(post, client, "first")
        wait_until(lambda: retriever.asked)
        with connect(client) as leaving:
            leaving.sendall(request_bytes(json.dumps({"queries": ["gone", "shared"]}).encode()))
            staying = pool.submit(post, client, "shared")
            wait_until(lambda: count(client, "retriever_waiting_queries") == 4)
        wait_until(lambda: count(client, 'retriever_errors_total{kind="disconnected"}') == 1)
        assert count(client, "retriever_waiting_queries") == 2
        retriever.gate.set()
        assert first.result().status_code == staying.result().status_code == 200
        assert retriever.asked == ["first", "shared"]


def test_a_client_that_leaves_amid_its_body_is_forgotten(serving, wait_until):
    with serving(GatedRetriever()) as client:
        with connect(client) as leaving:
            leaving.sendall(request_bytes(b" " * 1000)[:-500])
        wait_until(lambda: count(client, 'retriever_errors_total{kind="disconnected"}') == 1)
        assert post(client, "a").status_code == 200


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_long_body_is_refused_before_it_has_come(serving, is_chunked):
    with serving(GatedRetriever(), Limits(max_body_bytes=1000)) as client:
        head = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 10000000"
        with connect(client) as sender:
            sender.sendall(f"POST /retrieve HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
            if is_chunked:
                sender.sendall(b"3e9\r\n" + b" " * 1001 + b"\r\n")
            reply = sender.recv(4096)
        assert reply.startswith(b"HTTP/1.1 413 ")
        assert b"send at most 1000" in reply


@pytest.mark.slow
def test_a_huge_query_gets_413_while_the_others_are_answered(serving):
    with serving(GatedRetriever(search_s=0.001)) as client, ThreadPoolExecutor(9) as pool:
        huge = pool.submit(post, client, "x" * 10_000_000)
        others = list(pool.map(lambda n: post(client, f"query {n}").status_code, range(200)))
        assert huge.result().status_code == 413
        assert huge.result().json()["error"].startswith("the body has 10000")
        assert others == [200] * 200


@pytest.mark.parametrize("length", [8192, 8193, 1_000_000])
def test_a_long_query_is_answered_or_refused_by_its_length(server, length):
    reply = post(server, "é" * length)
    assert reply.status_code == (200 if length <= 8192 else 422)


def test_a_large_top_k_gives_every_passage_once(server):
    words = "the a of novel city born author ireland dublin dracula war king film was in"
    (rows,) = post(server, words, topk=1000).json()["result"]
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids)) <= 12
    assert post(server, words, topk=12).json()["result"] == [rows]


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "1,5", ""])
def test_a_timeout_that_is_no_number_of_seconds_gets_422(server, value):
    reply = post(server, "a", headers={"X-Request-Timeout-S": value})
    assert reply.status_code == 422
    assert "expected seconds, more than 0" in reply.json()["error"]


def test_a_request_out_of_time_gets_504_and_is_not_searched(serving, wait_until):
    retriever = GatedRetriever()
    with serving(retriever, Limits(timeout_s=100.0)) as client, ThreadPoolExecutor() as pool:
        retriever.gate.clear()
        first = pool.submit(post, client, "first")
        wait_until(lambda: retriever.asked)
        late = post(client, "late", headers={"X-Request-Timeout-S": "0.05"})
        assert late.status_code == 504
        assert late.json() == {"error": "no answer within 0.05 s; ask again, or allow more time."}
        retriever.gate.set()
        assert first.result().status_code == 200
        assert post(client, "next").status_code == 200
        assert retriever.asked == ["first", "next"]


def test_a_server_has_its_own_timeout_that_no_request_can_lengthen(serving, wait_until):
    retriever = GatedRetriever()
    with serving(retriever, Limits(timeout_s=0.1)) as client:
        retriever.gate.clear()
        assert post(client, "late", headers={"X-Request-Timeout-S": "60"}).status_code == 504
        retriever.gate.set()


def test_an_engine_that_fails_on_one_query_spoils_no_other(serving, wait_until):
    retriever = GatedRetriever()
    with serving(retriever) as client, ThreadPoolExecutor(16) as pool:
        retriever.gate.clear()
        first = pool.submit(post, client, "first")
        wait_until(lambda: retriever.asked)
        names = ["a", "b", "poison", "c", "d"]
        replies = {name: pool.submit(post, client, name) for name in names}
        wait_until(lambda: count(client, "retriever_waiting_queries") == 6)
        retriever.gate.set()
        assert first.result().status_code == 200
        got = {name: reply.result().status_code for name, reply in replies.items()}
        assert got == {"a": 200, "b": 200, "poison": 500, "c": 200, "d": 200}
        assert count(client, 'retriever_errors_total{kind="failed"}') == 1


async def test_under_four_times_its_capacity_a_server_goes_on_answering(serving):
    # 5 ms a query is 200 queries/s at most; 40 clients that ask again after 50 ms offer 800.
    retriever = GatedRetriever(search_s=0.005)
    with serving(retriever, Limits(max_waiting=16, max_batch=8)) as client:
        statuses = collections.Counter()

        async def insist(number):
            reader, writer = await asyncio.open_connection(*address(client))
            turn = 0
            while statuses[b"200"] < 200 or not statuses[b"503"]:
                turn += 1
                body = json.dumps({"queries": [f"query {number} {turn}"]}).encode()
                writer.write(request_bytes(body))
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].split()[0]
                await reader.readexactly(int(length))
                statuses[head[9:12]] += 1
                assert head[9:12] == b"200" or b"retry-after: " in head.lower()
                await asyncio.sleep(0.05)
            writer.close()

        await asyncio.gather(*map(insist, range(40)))
        assert set(statuses) == {b"200", b"503"}
        assert statuses[b"200"] == len(retriever.asked)  # nothing is searched in vain
        assert await asyncio.to_thread(lambda: post(client, "afterwards").status_code) == 200


@pytest.mark.slow
def test_what_was_accepted_is_answered_when_the_server_stops(serving, wait_until):
    retriever = GatedRetriever(search_s=0.01)
    replies = []
    with ThreadPoolExecutor(20) as pool:
        with serving(retriever, Limits(max_batch=2)) as client:
            retriever.gate.clear()
            url = str(client.base_url)

            def ask(name):
                replies.append(httpx.post(f"{url}/retrieve", json={"queries": [name]}, timeout=100))

            asked = [pool.submit(ask, f"query {n}") for n in range(20)]
            wait_until(lambda: count(client, "retriever_waiting_queries") == 20)
            threading.Timer(0.2, retriever.gate.set).start()
        for one in asked:
            one.result()
    assert [reply.status_code for reply in replies] == [200] * 20
