"""The flags of the server: token, cache, limits, logs."""

import json
import logging
import signal

import httpx
import pytest

from retriever import server
from retriever.serving import logs
from retriever.serving.app import make_app
from retriever.serving.limits import Limits
from retriever.storage.manifest import read_manifest


def post(client, *queries, **body):
    return client.post("/retrieve", json={"queries": queries, **body})


def test_without_the_token_only_health_answers(serving, bm25):
    with serving(bm25, token="s3cret") as client:
        assert client.get("/health").status_code == 200
        for path in ("/ready", "/info", "/metrics", "/openapi.json", "/nothing"):
            assert client.get(path).status_code == 401
        for shown in (None, "Bearer wrong", "Basic s3cret", "s3cret", "Bearer", "Bearer é"):
            headers = {"Authorization": shown.encode()} if shown else None
            refused = client.post("/retrieve", json={"queries": []}, headers=headers)
            assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "Authorization: Bearer TOKEN" in refused.json()["error"]
        client.headers["Authorization"] = "Bearer s3cret"
        assert post(client, "Dublin").status_code == 200
        paths = client.get("/openapi.json").json()["paths"]
        assert "401" in paths["/retrieve"]["post"]["responses"]
        assert "security" in paths["/retrieve"]["post"]
        assert "security" not in paths["/health"]["get"]
        unauthorized = 'retriever_errors_total{kind="unauthorized"} 11.0'
        metrics = client.get("/metrics").text
        assert unauthorized in metrics
        assert 'retriever_requests_total{status="401"} 6.0' in metrics  # those of /retrieve


def test_info_tells_manifest_limits_and_cache(serving, bm25, bm25_index):
    manifest = read_manifest(bm25_index)
    with serving(bm25, Limits(max_queries=7), manifest=manifest) as client:
        post(client, "Dublin")
        post(client, "Dublin")
        told = client.get("/info").json()
    assert (told["kind"], told["passages"]) == ("bm25", 12)
    assert told["manifest"] == json.loads((bm25_index / "manifest.json").read_text())
    assert told["limits"]["max_queries"] == 7
    cache = told["cache"]
    assert (cache["entries"], cache["hits"], cache["misses"]) == (1, 1, 1)
    assert 0 < cache["bytes"] < cache["max_bytes"] == 2**28


def test_an_answer_from_the_cache_is_the_same_answer(serving, bm25):
    bodies = [{"topk": k, "return_scores": scored} for k in (5, 3, 1, 9) for scored in (0, 1)]
    bodies = [body | {"return_scores": bool(body["return_scores"])} for body in bodies]
    queries = ["the author of the novel", "", "Dublin", "zzz", "Dublin"]
    with serving(bm25, Limits(cache_bytes=0)) as client:
        searched = [post(client, *queries, **body).json() for body in bodies]
        assert client.get("/info").json()["cache"]["entries"] == 0
    with serving(bm25) as client:
        for _ in range(2):
            assert [post(client, *queries, **body).json() for body in bodies] == searched


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("max_queries", 0),
        ("max_batch", -1),
        ("cache_bytes", -1),
        ("timeout_s", 0.0),
        ("timeout_s", float("nan")),
        ("timeout_s", float("inf")),
    ],
)
def test_a_limit_that_lets_nothing_through_is_refused(limit, value):
    with pytest.raises(ValueError, match=f"{limit} is {value}; expected"):
        Limits(**{limit: value})


async def test_an_app_below_a_path_prefix_answers_too(bm25):
    app = make_app(bm25)
    transport = httpx.ASGITransport(app, root_path="/search")
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://x") as client,
    ):
        reply = await client.post("/search/retrieve", json={"queries": ["Dublin"]})
        assert reply.status_code == 200
        assert reply.json()["result"][0][0]["title"] == "Dublin"


@pytest.mark.slow
def test_flags_reach_the_server(bm25_index, start, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    flags = ("--max-queries", 2, "--cache-bytes", "1M", "--timeout-s", 2.5, "--log-format", "json")
    files = ("--index", bm25_index, "--token-file", tmp_path / "token")
    process = start("retriever.server", *files, "--port", 0, *flags, "--access-log")
    try:
        line = json.loads(process.stderr.readline())
        assert (line["level"], line["logger"]) == ("info", "retriever.server")
        url = line["message"].split()[-1]
        headers = {"Authorization": "Bearer s3cret"}
        with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
            limits = client.get("/info").json()["limits"]
            assert post(client, "a", "b", "c").status_code == 422
            assert httpx.get(f"{url}/ready", trust_env=False).status_code == 401
    finally:
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate()
    assert process.returncode == 0
    assert (limits["max_queries"], limits["cache_bytes"], limits["timeout_s"]) == (2, 2**20, 2.5)
    access = json.loads(stderr.splitlines()[0])
    assert {"message": "POST /retrieve", "status": 422}.items() <= access.items()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--max-batch", "0"], "error: max_batch is 0; expected 1 or more."),
        (["--token-file", "nowhere"], "error: "),
        (["--token-file", "/dev/null"], "error: the token in /dev/null has 0 characters"),
    ],
)
def test_a_wrong_flag_is_one_line_and_status_2(bm25_index, run, arguments, problem):
    status, stderr = run("retriever.server", "--index", bm25_index, "--port", 0, *arguments)
    assert status == 2
    assert stderr.startswith(problem)
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--encoder", "folder"], "--encoder is folder"),
        (["--threads", "2"], "--threads is 2"),
        (["--device", "cpu"], "--device is cpu"),
        (["--nprobe", "0"], "--nprobe is 0"),
        (["--ef-search", "9"], "--ef-search is 9"),
        (["--refine-factor", "4"], "--refine-factor is 4"),
        (["--verify"], "--verify is given"),
        (["--rerank-depth", "9"], "--rerank-depth is 9, but nothing is reranked"),
    ],
)
def test_a_flag_that_would_be_ignored_is_refused(capsys, monkeypatch, arguments, problem):
    monkeypatch.setattr(server.logs, "configure", lambda _format: None)
    monkeypatch.setattr(server.signal, "signal", lambda *_: None)
    assert server.main(["--online", "nowhere.yaml", "--port", "0", *arguments]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"error: {problem}")
    assert stderr.count("\n") == 1


def test_threads_are_the_rerankers_when_the_engine_is_online(capsys, monkeypatch):
    monkeypatch.setattr(server.logs, "configure", lambda _format: None)
    monkeypatch.setattr(server.signal, "signal", lambda *_: None)
    flags = ["--online", "nowhere.yaml", "--reranker", "nowhere", "--threads", "2"]
    assert server.main([*flags, "--rerank-depth", "9", "--port", "0"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_a_log_line_has_its_fields_in_both_formats():
    record = logging.makeLogRecord({"name": "n", "levelname": "ERROR", "msg": "it %s"})
    record.args = ("failed",)
    record.fields = {"queries": 3}
    record.created = 0.0
    text = logs._TextFormatter().format(record)
    assert text.endswith(" ERROR it failed queries=3")
    row = json.loads(logs._JsonFormatter().format(record))
    assert row == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "error",
        "logger": "n",
        "message": "it failed",
        "queries": 3,
    }


@pytest.mark.parametrize("port", [99999, -1])
def test_a_port_that_there_is_not_is_refused(bm25_index, capsys, port):
    assert server.main(["--index", str(bm25_index), "--port", str(port)]) == 2
    told = f"error: --port is {port}; expected 1 to 65535, or 0 for a free one.\n"
    assert capsys.readouterr().err == told
