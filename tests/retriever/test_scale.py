import contextlib
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest

from retriever.indexes.kinds import open_retriever
from search_r1.client import SearchClientConfig, SyncSearchClient


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# A slow machine: the command and every replica import torch, one after the other.
START_S, STOP_S = 120.0, 60.0


@contextlib.contextmanager
def scaled(wait_until, tmp_path, *arguments):
    """Run the command as a user would; gives a client of what it serves.

    What the command wrote is shown when anything fails.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    written = tmp_path / "written.txt"
    command = [sys.executable, "-m", "retriever.scale", "--port", port, *arguments]
    with written.open("w") as file:
        process = subprocess.Popen([*map(str, command)], stdout=file, stderr=subprocess.STDOUT)

    def is_ready():
        assert process.poll() is None, f"it ended with {process.returncode}"
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{url}/health", trust_env=False).status_code == 200

    try:
        try:
            wait_until(is_ready, timeout_s=START_S)
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            finally:
                process.kill()
                process.wait()
        assert process.returncode == 0
    finally:  # pytest shows it if the test failed
        sys.stdout.write(written.read_text())


def rows(retriever, queries, top_k):
    return [
        [(hit.passage.id, hit.score) for hit in hits] for hits in retriever.search(queries, top_k)
    ]


@pytest.mark.slow
@pytest.mark.engine
def test_shards_on_ray_serve_answer_like_the_whole_index(
    flat_index, wait_until, tmp_path, tiny_questions
):
    queries = [row["question"] for row in tiny_questions]
    with contextlib.closing(open_retriever(flat_index)) as whole:
        expected = rows(whole, queries, 5)
    with scaled(wait_until, tmp_path, "--index", flat_index, "--shards", 2) as client:
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
        assert client.post("/retrieve", json={"queries": ["a"], "topk": -1}).status_code == 422


@pytest.mark.slow
@pytest.mark.engine
def test_replicas_on_ray_serve_ask_for_the_token_and_answer_side_by_side(
    bm25_index, wait_until, tmp_path, monkeypatch
):
    monkeypatch.setenv("RETRIEVER_TOKEN", "s3cret")
    arguments = ("--index", bm25_index, "--min-replicas", 1, "--max-replicas", 2)
    with scaled(wait_until, tmp_path, *arguments) as client:
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--shards", "2"], "a bm25 index cannot be divided into 2 shards"),
        (["--shards", "99"], "shards is 99; expected 1 to 12"),
        (["--replicas", "0"], "min_replicas is 0 and max_replicas 0"),
        (["--min-replicas", "3", "--max-replicas", "2"], "min_replicas is 3 and max_replicas 2"),
        (["--threads", "0"], "threads is 0"),
        (["--index", "nowhere"], "no index at"),
        (["--nprobe", "3"], "nprobe is 3, but bm25 has no use for it"),
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


@pytest.mark.slow
def test_an_index_or_encoder_that_is_not_whole_is_named_before_ray_is_started(
    flat_index, tmp_path, capsys
):
    import ray

    from retriever.scale import main

    torn = tmp_path / "torn"
    shutil.copytree(flat_index, torn)
    largest = max(torn.iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[-1] ^= 1
    largest.write_bytes(content)
    assert main(["--index", str(torn), "--shards", "2"]) == 2
    assert f"{largest} has sha256" in capsys.readouterr().err
    arguments = ["--index", str(flat_index), "--shards", "2", "--encoder", str(tmp_path)]
    assert main(arguments) == 2
    assert f"error: no sentence-transformers model at {tmp_path}" in capsys.readouterr().err
    assert not ray.is_initialized()


def test_a_shard_that_is_away_may_come_back_and_one_that_fails_is_a_failure():
    from ray.exceptions import ActorDiedError, RayTaskError
    from ray.serve.exceptions import BackPressureError

    from retriever.errors import SearchUnavailableError
    from retriever.scale import _ask

    def raising(error):
        def result(timeout_s):
            raise error

        reply = SimpleNamespace(result=result)
        return SimpleNamespace(search=SimpleNamespace(remote=lambda *_: reply))

    for error in (ActorDiedError(), TimeoutError(), BackPressureError(64, 64)):
        with pytest.raises(SearchUnavailableError, match=type(error).__name__):
            _ask(raising(error))(None, 3)()
    failed = RayTaskError("search", "a traceback", ValueError("a bug")).as_instanceof_cause()
    with pytest.raises(RayTaskError, match="a traceback"):
        _ask(raising(failed))(None, 3)()


@pytest.mark.slow
@pytest.mark.engine
def test_a_port_that_is_taken_ends_the_command_with_one_line(bm25_index, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "retriever.scale", "--index", bm25_index, "--port", port]
        ended = subprocess.run(
            [*map(str, command)], capture_output=True, text=True, timeout=START_S, check=False
        )
    sys.stdout.write(ended.stderr)  # shown if the test fails
    assert ended.returncode == 2
    assert [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in ended.stderr
