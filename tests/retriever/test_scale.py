import contextlib
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from retriever.kinds import open_retriever
from search_r1.search_client import SearchClientConfig
from search_r1.search_sync import SyncSearchClient


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def scaled(start, wait_until, *arguments):
    """Run the command as a user would; gives a client of what it serves."""
    port = free_port()
    process = start("retriever.scale", "--port", port, *arguments)
    url = f"http://127.0.0.1:{port}"

    def is_ready():
        assert process.poll() is None, process.stderr.read()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{url}/health", trust_env=False).status_code == 200

    try:
        wait_until(is_ready, timeout_s=60.0)
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=40)
    assert process.returncode == 0, stderr


def rows(retriever, queries, top_k):
    return [
        [(hit.passage.id, hit.score) for hit in hits] for hits in retriever.search(queries, top_k)
    ]


@pytest.mark.slow
def test_shards_on_ray_serve_answer_like_the_whole_index(
    flat_index, start, wait_until, tiny_questions
):
    queries = [row["question"] for row in tiny_questions]
    with contextlib.closing(open_retriever(flat_index)) as whole:
        expected = rows(whole, queries, 5)
    with scaled(start, wait_until, "--index", flat_index, "--shards", 2) as client:
        assert client.get("/ready").json()["passages"] == 12
        body = {"queries": queries, "topk": 5, "return_scores": True}
        for _ in range(2):
            reply = client.post("/retrieve", json=body)
            assert reply.status_code == 200
            found = [
                [(hit["document"]["id"], hit["score"]) for hit in hits]
                for hits in reply.json()["result"]
            ]
            assert found == expected
        assert client.post("/retrieve", json={"queries": ["a"], "topk": 0}).status_code == 422


@pytest.mark.slow
def test_replicas_on_ray_serve_ask_for_the_token_and_answer_side_by_side(
    bm25_index, start, wait_until, monkeypatch
):
    monkeypatch.setenv("RETRIEVER_TOKEN", "s3cret")
    arguments = ("--index", bm25_index, "--min-replicas", 1, "--max-replicas", 2)
    with scaled(start, wait_until, *arguments) as client:
        assert client.post("/retrieve", json={"queries": ["Stoker"]}).status_code == 401
        config = SearchClientConfig(str(client.base_url), token="s3cret")
        with (
            contextlib.closing(SyncSearchClient(config)) as searcher,
            ThreadPoolExecutor(32) as pool,
        ):
            asked = [pool.submit(searcher.search, ["Stoker"], 3) for _ in range(100)]
            found = {tuple(p.id for p in future.result()[0]) for future in asked}
            assert searcher.counters.failures == 0
        with contextlib.closing(open_retriever(bm25_index)) as whole:
            assert found == {tuple(hit.passage.id for hit in whole.search(["Stoker"], 3)[0])}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--shards", "2"], "a bm25 index cannot be divided into 2 shards"),
        (["--shards", "99"], "shards is 99; expected 1 to 12"),
        (["--replicas", "0"], "min_replicas is 0 and max_replicas 0"),
        (["--min-replicas", "3", "--max-replicas", "2"], "min_replicas is 3 and max_replicas 2"),
        (["--threads", "0"], "threads is 0"),
        (["--index", "nowhere"], "no index at"),
    ],
)
def test_what_cannot_be_served_is_named_before_ray_is_started(
    bm25_index, capsys, arguments, problem
):
    import ray

    from retriever.scale import main

    assert main(["--index", str(bm25_index), *arguments]) == 2
    assert f"error: {problem}" in capsys.readouterr().err
    assert not ray.is_initialized()
