"""Our client against our server, over real HTTP."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from retriever.serving.limits import Limits
from search_r1.client import SearchClientConfig, SyncSearchClient
from search_r1.errors import RetrieverBadRequest, RetrieverUnavailable


@contextlib.contextmanager
def client_of(server, **settings):
    with contextlib.closing(
        SyncSearchClient(SearchClientConfig(str(server.base_url), **settings))
    ) as client:
        yield client


class SlowRetriever:
    """Wraps a retriever; every search waits for the gate."""

    def __init__(self, inner, gate):
        self.kind, self.size = inner.kind, inner.size
        self._inner, self._gate = inner, gate

    def search(self, queries, top_k):
        self._gate.wait(100)
        return self._inner.search(queries, top_k)

    def close(self):
        pass


def test_passages_arrive_as_the_index_found_them(server, bm25):
    with client_of(server) as client:
        client.wait_ready(100)
        found = client.search(["Stoker", "Dublin", ""], 3)
    expected = bm25.search(["Stoker", "Dublin", ""], 3)
    assert [[(p.id, p.title, p.text, p.score) for p in hits] for hits in found] == [
        [(h.passage.id, h.passage.title, h.passage.text, pytest.approx(h.score)) for h in hits]
        for hits in expected
    ]


def test_a_server_with_a_token_answers_only_who_has_it(bm25, serving):
    with serving(bm25, token="s3cret") as server:
        with client_of(server, token="s3cret") as client:
            assert client.search(["Stoker"], 1)[0]
        with (
            client_of(server, token="other") as client,
            pytest.raises(RetrieverBadRequest, match=r"status 401.*RETRIEVER_TOKEN"),
        ):
            client.search(["Stoker"], 1)


def test_what_the_server_will_not_do_is_a_bad_request(server):
    with (
        client_of(server) as client,
        pytest.raises(RetrieverBadRequest, match="status 422"),
    ):
        client.search(["Stoker"], -1)
    with client_of(server) as client, pytest.raises(RetrieverBadRequest):
        client.search(["long " * 10_000], 1)


def test_the_server_gives_up_when_the_clients_time_is_over(bm25, serving):
    gate = threading.Event()
    with serving(SlowRetriever(bm25, gate)) as server:
        with (
            client_of(server, timeout_s=0.3, max_attempts=1) as client,
            pytest.raises(RetrieverUnavailable, match=r"no reply within 0\.3 s|status 504"),
        ):
            client.search(["Stoker"], 1)
        gate.set()
        with client_of(server) as client:
            assert client.search(["Stoker"], 1)[0]


def test_a_full_server_is_outwaited(bm25, serving):
    with (
        serving(bm25, Limits(max_waiting=4, cache_bytes=0)) as server,
        client_of(server, max_connections=32) as client,
        ThreadPoolExecutor(32) as pool,
    ):
        asked = [pool.submit(client.search, [f"Stoker {n}"], 1) for n in range(64)]
        assert all(future.result()[0] for future in asked)
        assert client.counters.failures == 0
