import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from retriever.errors import (
    OnlineAuthError,
    OnlineConfigError,
    OnlineQuotaError,
    OnlineSearchError,
    SearchUnavailableError,
)
from retriever.indexes.online.engine import open_online

# One result and none, as each engine writes them.
ENGINES = {
    "serpapi": (
        {"search_information": {}, "organic_results": [{"position": 1, "title": "T",
         "link": "http://a", "snippet": "S"}]},
        {"search_information": {"organic_results_state": "Fully empty"},
         "error": "Google hasn't returned any results for this query."},
    ),
    "google": (
        {"searchInformation": {}, "items": [{"title": "T", "link": "http://a", "snippet": "S"}]},
        {"searchInformation": {"totalResults": "0"}},
    ),
    "brave": (
        {"query": {}, "web": {"results": [{"title": "T", "url": "http://a",
         "description": "S"}]}},
        {"query": {"original": "x"}, "type": "search"},
    ),
}  # fmt: skip


class Engine(ThreadingHTTPServer):
    """Gives the scripted replies in turn, then its usual one; keeps what it was asked."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), EngineHandler)
        self.script = []
        self.usual = ENGINES["google"][0]
        self.asked = []
        self.delay_s = 0.0
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()


class EngineHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.answer({key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()})

    def do_POST(self):
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, parameters):
        engine = self.server
        with engine.lock:
            engine.asked.append((self.command, parameters, dict(self.headers)))
            reply = engine.script.pop(0) if engine.script else engine.usual
            engine.busy += 1
            engine.most_busy = max(engine.most_busy, engine.busy)
        time.sleep(engine.delay_s)
        with engine.lock:
            engine.busy -= 1
        if reply == "drop":
            self.close_connection = True
            return
        status, content, headers = reply if isinstance(reply, tuple) else (200, reply, {})
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args):
        pass


@pytest.fixture
def engine():
    with Engine() as engine:
        threading.Thread(target=engine.serve_forever, args=(0.01,), daemon=True).start()
        yield engine
        engine.shutdown()


@pytest.fixture
def open_to(engine, tmp_path):
    """Open an engine's description, pointed at the local server."""
    with contextlib.ExitStack() as stack:

        def open_described(**settings):
            url = f"http://127.0.0.1:{engine.server_port}/search"
            described = {"preset": "google", "url": url, "requests_per_s": 1000} | settings
            path = tmp_path / "engine.yaml"
            path.write_text(yaml.safe_dump(described))
            return stack.enter_context(contextlib.closing(open_online(path)))

        yield open_described


def rows(hits):
    return [(hit.passage.id, hit.passage.title, hit.passage.text, hit.score) for hit in hits]


@pytest.mark.parametrize("preset", ENGINES)
def test_an_engines_results_become_passages(engine, open_to, preset):
    engine.script = [*ENGINES[preset]]
    retriever = open_to(preset=preset, max_concurrent=1)
    found, nothing = retriever.search(["a query", "another"], 3)
    assert rows(found) == [("http://a", "T", "S", 1.0)]
    assert nothing == []
    assert (retriever.kind, retriever.size) == ("online", None)
    assert engine.asked[0][:2] == ("GET", engine.asked[0][1] | {"q": "a query"})


def test_keys_come_from_the_environment(engine, open_to, monkeypatch):
    monkeypatch.setenv("A_KEY", "k1")
    engine.usual = ENGINES["serpapi"][0]
    retriever = open_to(
        preset="serpapi", headers={"X-Key": "Bearer ${A_KEY}"}, parameters={"api_key": "${A_KEY}"}
    )
    retriever.search(["a"], 1)
    _, parameters, headers = engine.asked[0]
    assert parameters == {"engine": "google", "api_key": "k1", "q": "a", "num": "10"}
    assert headers["X-Key"] == "Bearer k1"


def test_an_engine_that_wants_a_posted_object_is_described(engine, open_to):
    engine.usual = {"organic": [{"link": "http://b", "name": "N"}, {"link": "http://b"}]}
    retriever = open_to(
        preset=None, method="POST", results="organic", query_parameter="query",
        fields={"id": "link", "title": "name", "text": "text.short"},
    )  # fmt: skip
    assert [rows(hits) for hits in retriever.search(["a"], 9)] == [[("http://b", "N", "", 1.0)]]
    assert engine.asked[0][:2] == ("POST", {"query": "a"})


def test_scores_fall_with_the_place_and_blank_queries_are_not_asked(engine, open_to):
    items = [{"link": key, "title": "", "snippet": ""} for key in "zya"]
    engine.usual = {"searchInformation": {}, "items": items}
    hits, blank = open_to().search(["a", "  "], 2)
    assert [(hit.passage.id, hit.score) for hit in hits] == [("z", 1.0), ("y", 0.5)]
    assert blank == []
    assert len(engine.asked) == 1


def test_a_query_is_asked_once_while_its_results_are_kept(engine, open_to):
    retriever = open_to(cache_ttl_s=900, cache_queries=1)
    for top_k in (1, 5, 2):
        retriever.search(["a", "a"], top_k)
    assert len(engine.asked) == 1
    retriever.search(["b"], 1)
    retriever.search(["a"], 1)  # was dropped for b
    assert len(engine.asked) == 3


def test_a_query_is_asked_again_when_its_results_are_old(engine, open_to):
    retriever = open_to(cache_ttl_s=0.05, cache_queries=1)
    retriever.search(["a"], 1)
    time.sleep(0.1)
    retriever.search(["a"], 1)
    assert len(engine.asked) == 2


def test_queries_of_a_batch_are_asked_side_by_side_within_the_bound(engine, open_to):
    engine.delay_s = 0.05
    open_to(max_concurrent=4).search([str(n) for n in range(24)], 1)
    assert 2 <= engine.most_busy <= 4


def test_the_rate_is_kept(open_to):
    retriever = open_to(requests_per_s=20)
    started = time.monotonic()
    retriever.search([str(n) for n in range(11)], 1)
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("failure", ["drop", (503, "", {}), (429, "slow", {"Retry-After": "0"})])
def test_a_passing_failure_is_tried_again(engine, open_to, failure):
    engine.script = [failure, failure]
    assert len(open_to().search(["a"], 1)[0]) == 1
    assert len(engine.asked) == 3


@pytest.mark.parametrize(
    ("reply", "error", "problem", "asked"),
    [
        ((503, "down", {}), SearchUnavailableError, "status 503: 'down'; ask again later", 3),
        ("drop", SearchUnavailableError, "cannot be reached", 3),
        ((429, "quota", {}), OnlineQuotaError, "status 429: 'quota'; lower requests_per_s", 3),
        ((429, "no", {"Retry-After": "3600"}), OnlineQuotaError, "status 429", 1),
        ((401, "bad key", {}), OnlineAuthError, "status 401: 'bad key'; check the key", 1),
        ((403, "", {}), OnlineAuthError, "status 403", 1),
        ((400, "", {}), OnlineSearchError, "status 400", 1),
        ((302, "", {"Location": "/"}), OnlineSearchError, "status 302", 1),
        ("<html>", OnlineSearchError, "sent no JSON", 1),
        ([], OnlineSearchError, "sent no list at 'items'", 1),
        ({"error": "?"}, OnlineSearchError, "sent no list at 'items'", 1),
        ({"items": {}}, OnlineSearchError, "sent no list at 'items'", 1),
        ({"items": [{"title": "T"}]}, OnlineSearchError, "a result without 'link'", 1),
        ({"items": [3]}, OnlineSearchError, "a result without 'link'", 1),
    ],
)
def test_a_query_without_an_answer_raises_and_is_not_kept(
    engine, open_to, reply, error, problem, asked
):
    engine.usual = reply
    retriever = open_to(parameters={"key": "s3cret"})
    with pytest.raises(error, match=problem) as caught:
        retriever.search(["a"], 1)
    assert type(caught.value) is error
    assert "s3cret" not in str(caught.value)
    assert len(engine.asked) == asked
    engine.usual = ENGINES["google"][0]
    assert len(retriever.search(["a"], 1)[0]) == 1


def test_the_server_answers_what_may_pass_with_503_and_the_rest_with_500(engine, open_to, serving):
    with serving(open_to(max_attempts=1)) as client:
        answers = []
        for number, reply in enumerate([(429, "", {"Retry-After": "77"}), "drop", (401, "", {})]):
            engine.usual = reply
            found = client.post("/retrieve", json={"queries": [f"query {number}"]})
            answers.append((found.status_code, found.headers.get("Retry-After")))
        assert answers == [(503, "77"), (503, "1"), (500, None)]
        engine.usual = ENGINES["google"][0]
        found = client.post("/retrieve", json={"queries": ["query 0"]}).json()["result"]
        assert found[0][0]["id"] == "http://a"
        assert client.get("/ready").json()["passages"] is None


def test_a_query_that_fails_ends_the_others_of_its_search(engine, open_to):
    retriever = open_to(max_concurrent=4, requests_per_s=50, timeout_s=100)
    engine.usual = (429, "", {"Retry-After": "90"})  # awaited, were it not for the 401
    engine.script = [engine.usual, engine.usual, (401, "", {})]
    started = time.monotonic()
    with pytest.raises(OnlineAuthError):
        retriever.search([str(n) for n in range(40)], 1)
    engine.usual = ENGINES["google"][0]
    assert len(retriever.search(["next"], 1)[0]) == 1
    assert time.monotonic() - started < 50
    assert len(engine.asked) < 10


@pytest.mark.parametrize(("rate", "most"), [(1000, 8), (0.5, 5), (0.01, 1)])
def test_a_batch_is_no_larger_than_the_rate_allows(open_to, rate, most):
    assert open_to(requests_per_s=rate, max_concurrent=8).max_batch == most


def test_a_silent_engine_is_given_up(engine, open_to):
    engine.delay_s = 1.0
    with pytest.raises(SearchUnavailableError, match="ReadTimeout"):
        open_to(timeout_s=0.1, max_attempts=1).search(["a"], 1)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"preset": "gogle"}, "preset is 'gogle'; expected one of: serpapi, google, brave"),
        ({"kye": 1}, "unknown key 'kye'; expected preset, cache_queries"),
        ({"preset": None}, "fields, results is missing; give it, or a preset"),
        ({"url": "ftp://x"}, "url is 'ftp://x'; expected http://"),
        ({"method": "PUT"}, "method is 'PUT'; expected GET or POST"),
        ({"fields": {"body": "x"}}, "fields names body, id, text, title; expected paths for id"),
        ({"requests_per_s": 0}, "requests_per_s is 0.0; expected more than 0"),
        ({"max_concurrent": 0}, "max_concurrent is 0; expected 1 or more"),
        ({"cache_queries": -1}, "cache_queries is -1; expected 0 or more"),
        ({"headers": {"X": "${NO_SUCH_KEY}"}}, r"headers.X names \$\{NO_SUCH_KEY\}, which is not"),
        ({"headers": ["X"]}, r"headers is a list: Input should be a valid dictionary"),
        ({"timeout_s": "long"}, "timeout_s is 'long': Input should be a valid number"),
    ],
)
def test_a_wrong_description_is_named(open_to, settings, problem):
    with pytest.raises(OnlineConfigError, match=problem):
        open_to(**settings)


@pytest.mark.parametrize("content", ["", "- a", "a: [", None])
def test_a_file_that_describes_nothing_is_refused(tmp_path, content):
    path = tmp_path / "engine.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OnlineConfigError, match=r"engine\.yaml"):
        open_online(path)
