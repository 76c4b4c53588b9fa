import asyncio
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from search_r1.client import SearchClient, SearchClientConfig, SearchCounters, SyncSearchClient
from search_r1.errors import (
    RetrieverBadReply,
    RetrieverBadRequest,
    RetrieverError,
    RetrieverUnavailable,
)
from search_r1.types import Passage

HIT = Passage("7", "T", "x", 0.5)
DROP = "drop"


async def test_passages_come_per_query_with_scores(flaky, client_to):
    client = client_to(flaky)
    assert await client.search(["a", "b"], 4) == [[HIT], [HIT]]
    assert flaky.bodies == [{"queries": ["a", "b"], "topk": 4, "return_scores": True}]
    assert await client.search([], 4) == []
    assert len(flaky.bodies) == 1


async def test_search_r1s_own_answer_is_understood(flaky, client_to):
    row = {"document": {"id": "0", "contents": '"Some "Title"\nA text\nof two lines'}, "score": 1}
    flaky.script = [(200, json.dumps({"result": [[row]]}), {})]
    assert await client_to(flaky).search(["a"], 1) == [
        [Passage("0", 'Some "Title', "A text\nof two lines", 1.0)]
    ]


@pytest.mark.parametrize("failure", [DROP, (502, "", {}), (503, "busy", {}), (504, "", {}), 60.0])
async def test_a_passing_failure_is_tried_again(flaky, client_to, failure):
    flaky.script = [failure, failure]
    client = client_to(flaky, timeout_s=1.0 if failure == 60.0 else 60.0)
    assert await client.search(["a"], 1) == [[HIT]]
    assert len(flaky.bodies) == 3
    counters = client.counters
    assert (counters.searches, counters.retries, counters.failures) == (1, 2, 0)
    assert counters.latency_max_s == counters.latency_sum_s > 0


async def test_the_last_failure_is_told_with_url_attempts_and_advice(flaky, client_to):
    flaky.script = [(503, '{"error": "queue full"}', {})] * 9
    client = client_to(flaky, max_attempts=3)
    with pytest.raises(RetrieverUnavailable) as caught:
        await client.search(["a"], 1)
    url = flaky.url
    message = str(caught.value)
    assert f"no answer from {url}/retrieve after 3 attempts in " in message
    assert "status 503" in message
    assert "queue full" in message
    assert f"curl {url}/ready" in message
    counters = client.counters
    assert (counters.searches, counters.retries, counters.failures) == (1, 2, 1)


async def test_nobody_there_is_unavailable(client_to, free_port):
    client = client_to(f"http://127.0.0.1:{free_port}", max_attempts=2)
    with pytest.raises(RetrieverUnavailable, match=r"after 2 attempts.*ConnectError"):
        await client.search(["a"], 1)


async def test_waiting_for_nobody_ends_and_says_what_was_tried(client_to, free_port):
    client = client_to(f"http://127.0.0.1:{free_port}")
    with pytest.raises(RetrieverUnavailable, match=r"not ready within 0\.5 s .*ConnectError"):
        await client.wait_ready(0.5)


async def test_the_deadline_ends_all_attempts(flaky, client_to):
    flaky.script = [60.0] * 9
    started = time.monotonic()
    with pytest.raises(RetrieverUnavailable, match="no reply within"):
        await client_to(flaky, timeout_s=0.2, deadline_s=0.5).search(["a"], 1)
    assert 0.2 <= time.monotonic() - started < 50


async def test_retry_after_is_honoured(flaky, client_to):
    flaky.script = [(503, "", {"Retry-After": "1"})]
    started = time.monotonic()
    await client_to(flaky).search(["a"], 1)
    assert time.monotonic() - started >= 1.0


async def test_retry_after_beyond_the_deadline_fails_at_once(flaky, client_to):
    flaky.script = [(503, "", {"Retry-After": "3600"})]
    started = time.monotonic()
    with pytest.raises(RetrieverUnavailable, match="after 1 attempts"):
        await client_to(flaky).search(["a"], 1)
    assert time.monotonic() - started < 50


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_refused_request_is_not_tried_again(flaky, client_to, status):
    flaky.script = [(status, '{"error": "topk is 0"}', {})]
    with pytest.raises(RetrieverBadRequest, match=rf"status {status}: .*topk is 0"):
        await client_to(flaky).search(["a"], 1)
    assert len(flaky.bodies) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (500, "boom", {}),
        (302, "", {"Location": "/elsewhere"}),
        (200, "<html>", {}),
        (200, "[]", {}),
        (200, '{"result": []}', {}),
        (200, '{"result": [[{"id": "1"}]]}', {}),
        (200, '{"result": [[{"document": {"id": "1", "text": 3}, "score": 1}]]}', {}),
        (200, '{"result": [null]}', {}),
    ],
)
async def test_an_answer_without_passages_is_a_bad_reply(flaky, client_to, answer):
    flaky.script = [answer]
    client = client_to(flaky)
    with pytest.raises(RetrieverBadReply):
        await client.search(["a"], 1)
    assert (len(flaky.bodies), client.counters.failures) == (1, 1)


async def test_a_query_that_is_no_unicode_is_refused_before_it_is_sent(flaky, client_to):
    with pytest.raises(RetrieverBadRequest, match="not valid Unicode"):
        await client_to(flaky).search(["\ud800"], 1)
    assert flaky.bodies == []


async def test_many_searches_share_few_connections(flaky, client_to):
    flaky.delay_s = 0.01
    client = client_to(flaky, max_connections=8)
    for _ in range(2):
        answers = await asyncio.gather(*(client.search([str(n)], 1) for n in range(50)))
        assert answers == [[[HIT]]] * 50
    assert flaky.most_busy <= 8
    assert flaky.connections <= 8
    assert client.counters.searches == 100


@pytest.mark.slow
async def test_every_search_survives_a_server_that_fails_half_the_time(flaky, client_to):
    randomly = random.Random(0)
    flaky.script = [randomly.choice([None, None, DROP, (503, "", {})]) for _ in range(150)]
    client = client_to(flaky, breaker_failures=150)
    answers = await asyncio.gather(*(client.search([str(n)], 1) for n in range(64)))
    assert answers == [[[HIT]]] * 64
    assert client.counters.retries == len(flaky.bodies) - 64 > 0


async def test_a_cancelled_search_gives_its_turn_back(flaky):
    flaky.script = [100.0]
    client = SearchClient(SearchClientConfig(flaky.url, max_connections=1))
    searching = asyncio.create_task(client.search(["a"], 1))
    while not flaky.bodies:
        await asyncio.sleep(0.01)
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    assert await asyncio.wait_for(client.search(["b"], 1), 50) == [[HIT]]
    await client.aclose()


async def test_proxy_settings_of_the_environment_are_ignored(flaky, client_to, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert await client_to(flaky, max_attempts=1).search(["a"], 1) == [[HIT]]


async def test_the_token_and_the_time_left_are_sent(flaky, client_to, monkeypatch):
    monkeypatch.setenv("RETRIEVER_TOKEN", "from-env")
    await client_to(flaky).search(["a"], 1)
    await client_to(flaky, token="given", timeout_s=999.0, deadline_s=900.0).search(["a"], 1)
    sent = [(row["Authorization"], float(row["X-Request-Timeout-S"])) for row in flaky.headers]
    assert [token for token, _ in sent] == ["Bearer from-env", "Bearer given"]
    assert sent[0][1] == 60.0
    assert 600 < sent[1][1] <= 900


async def test_without_a_token_none_is_sent_and_a_refusal_says_how_to_give_one(flaky, client_to):
    flaky.script = [(401, "who are you?", {})]
    with pytest.raises(RetrieverBadRequest, match=r"status 401.*RETRIEVER_TOKEN"):
        await client_to(flaky).search(["a"], 1)
    assert "Authorization" not in flaky.headers[0]


def test_closing_ends_searches_under_way_in_other_threads(flaky):
    flaky.usual = 60.0
    client = SyncSearchClient(SearchClientConfig(flaky.url, max_connections=1))
    with ThreadPoolExecutor(2) as pool:
        searching = [pool.submit(client.search, ["a"], 1) for _ in range(2)]  # one awaits its turn
        while not flaky.bodies:
            time.sleep(0.01)
        client.close()
        for future in searching:
            with pytest.raises(RuntimeError, match="this client was closed"):
                future.result(timeout=50)
    with pytest.raises(RuntimeError, match="this client was closed"):
        client.search(["a"], 1)
    client.close()


def test_a_token_is_not_shown():
    assert "secret" not in repr(SearchClientConfig(token="secret"))


async def test_a_reply_that_trickles_in_does_not_outlast_the_deadline(flaky, client_to):
    flaky.usual = "trickle"
    started = time.monotonic()
    with pytest.raises(RetrieverUnavailable, match="no reply within"):
        await client_to(flaky, deadline_s=0.4).search(["a"], 1)
    assert time.monotonic() - started < 50


async def test_a_body_that_cannot_be_decoded_is_a_bad_reply(flaky, client_to):
    flaky.script = [(200, "no gzip", {"Content-Encoding": "gzip"})]
    with pytest.raises(RetrieverBadReply, match="not encoded as it says"):
        await client_to(flaky).search(["a"], 1)


def test_a_client_starts_with_zeroes_and_needs_no_event_loop():
    assert SearchClient(SearchClientConfig()).counters == SearchCounters()
    assert issubclass(RetrieverUnavailable, RetrieverError)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": "127.0.0.1:8000"}, "url is '127.0.0.1:8000'; expected http://"),
        ({"url": "http://a:1,b:2"}, "url is 'b:2'; expected http://"),
        ({"url": ["http://a:port"]}, "url is 'http://a:port'; expected http://"),
        ({"url": []}, r"url is \(\); expected one address or more"),
        ({"url": " , "}, "url is ' , '; expected one address or more"),
        ({"token": "two words"}, r"the bearer token .* has a space"),
        ({"breaker_failures": 0}, "breaker_failures is 0; expected 1 or more"),
        ({"timeout_s": 0}, "timeout_s is 0; expected more than 0 seconds"),
        ({"deadline_s": float("nan")}, "deadline_s is nan"),
        ({"max_attempts": 0}, "max_attempts is 0; expected 1 or more"),
        ({"max_connections": 0}, "max_connections is 0"),
    ],
)
def test_a_wrong_setting_is_named(settings, problem):
    with pytest.raises(ValueError, match=problem):
        SearchClientConfig(**settings)


def test_a_password_in_an_address_is_refused_and_not_shown():
    with pytest.raises(ValueError, match="RETRIEVER_TOKEN") as refused:
        SearchClientConfig(url="http://me:s3cret@10.0.0.1:8000")
    assert "s3cret" not in str(refused.value)
