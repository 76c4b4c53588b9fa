import signal
import socket
import threading

import httpx
import pytest

from retriever.serving.limits import Limits
from retriever.types import Hit, Passage


def post(server, **body):
    return server.post("/retrieve", json=body)


def passage_json(row):
    contents = f'"{row["title"]}"\n{row["text"]}'
    return {"id": row["id"], "title": row["title"], "text": row["text"], "contents": contents}


def test_with_scores_each_passage_is_beside_its_score(server, tiny_passages):
    reply = post(server, queries=["Clontarf Dublin"], topk=2, return_scores=True)
    assert reply.status_code == 200
    (rows,) = reply.json()["result"]
    by_id = {row["id"]: passage_json(row) for row in tiny_passages}
    assert [set(row) for row in rows] == [{"document", "score"}] * 2
    assert rows[0]["document"] == by_id["p02"]
    assert rows[0]["score"] > rows[1]["score"] > 0


@pytest.mark.parametrize("queries", [["Dublin"], ["Dublin", "Dracula"], ["Dublin", "x", "Dracula"]])
def test_without_scores_the_passages_are_the_same(server, queries):
    # Exactly two queries is where unpacking (hits, scores) from a list of hits goes unnoticed.
    scored = post(server, queries=queries, topk=3, return_scores=True).json()["result"]
    plain = post(server, queries=queries, topk=3).json()["result"]
    assert len(plain) == len(queries)
    assert plain == [[row["document"] for row in rows] for rows in scored]


def test_topk_is_three_when_absent_or_null(server):
    for body in ({}, {"topk": None}):
        (rows,) = post(server, queries=["the novel city born author ireland"], **body).json()[
            "result"
        ]
        assert len(rows) == 3


def test_topk_over_the_corpus_gives_what_there_is(server):
    (rows,) = post(server, queries=["Dublin"], topk=1000).json()["result"]
    ids = [row["id"] for row in rows]
    assert 0 < len(ids) <= 12
    assert len(set(ids)) == len(ids)


def test_no_queries_give_no_results(server):
    assert post(server, queries=[]).json() == {"result": []}
    assert post(server, queries=["", "Dracula"]).json()["result"][0] == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"queries": ["a"], "topk": -3}, "topk is -3; expected an integer from 1 to 1000, or 0 or"),
        ({"queries": ["a"], "topk": 1001}, "topk is 1001"),
        ({"queries": ["a"], "topk": 10**30}, "topk is 1e+30"),
        ({"queries": ["a"], "topk": 2.5}, "topk is 2.5"),
        ({"queries": ["a"], "topk": "three"}, 'topk is "three"'),
        ({"queries": ["a"], "topk": True}, "topk is true"),
        ({"queries": ["a"], "return_scores": 2}, "return_scores is 2; expected true or false"),
        ({"queries": ["a"], "return_scores": None}, "return_scores is null"),
        ({"queries": ["a"], "return_scores": [1]}, "return_scores is [1]"),
        ({"queries": "a"}, 'queries is "a"; expected a list of strings'),
        ({"queries": None}, "queries is null; expected a list of strings"),
        ({"queries": ["a", None]}, "queries[1] is null; expected a string"),
        ({"queries": [["a" * 99]]}, f'queries[0] is ["{"a" * 75}...; expected a string'),
        ({}, "queries is missing; expected a list of strings"),
        ([], "body is []; expected an object"),
        ({"queries": ["a"] * 4097}, "4097 queries; send at most 4096"),
        ({"queries": ["a"] * 17, "topk": 1000}, "want 17000 hits; ask for at most 16384"),
        ({"queries": ["a", "b" * 8193]}, "queries[1] has 8193 characters; shorten it"),
    ],
)
def test_a_wrong_request_gets_422_and_the_reason(server, body, problem):
    reply = post(server, **body) if body != [] else server.post("/retrieve", json=[])
    assert reply.status_code == 422
    assert problem in reply.json()["error"]


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"\x00\x01", b"NaN", b"[" * 5000]
    + [b'{"queries": ["%b"]}' % text for text in (b"\xff", b"\\ud800", b"\xed\xa0\x80")],
)
def test_a_body_that_is_not_json_in_utf_8_gets_400_and_the_reason(server, content):
    headers = {"Content-Type": "application/json"}
    reply = server.post("/retrieve", content=content, headers=headers)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("the body is not JSON in UTF-8 (")


def test_an_unknown_path_or_method_gets_one_line(server):
    assert server.get("/nothing").json() == {"error": "Not Found"}
    assert server.get("/retrieve").status_code == 405


def test_health_ready_and_metrics(server):
    assert server.get("/health").json() == {"status": "ok"}
    assert server.get("/ready").json() == {"status": "ready", "kind": "bm25", "passages": 12}
    before = server.get("/metrics").text
    post(server, queries=["never asked", "before"])
    post(server, queries=["before"])
    post(server, queries=["a"], topk=-1)
    after = server.get("/metrics").text

    def grown(name):
        values = [
            sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))
            for text in (before, after)
        ]
        return values[1] - values[0]

    assert grown("retriever_queries_total ") == 3
    assert grown('retriever_requests_total{status="200"} ') == 2
    assert grown('retriever_requests_total{status="422"} ') == 1
    assert grown('retriever_errors_total{kind="invalid"} ') == 1
    assert grown("retriever_request_seconds_count ") == 2
    assert grown("retriever_batch_queries_count ") == 1
    assert grown("retriever_batch_queries_sum ") == 2
    for stage, times in {"wait": 2, "search": 1, "serialise": 1}.items():
        assert grown(f'retriever_stage_seconds_count{{stage="{stage}"}} ') == times
    assert grown("retriever_cache_hits_total ") == 1
    assert grown("retriever_cache_misses_total ") == 2
    assert grown("retriever_cache_entries ") == 2
    assert grown("retriever_cache_bytes ") > 0
    assert "retriever_waiting_queries 0.0" in after
    assert "process_resident_memory_bytes" in after


class GatedRetriever:
    """Waits for its gate; fails when asked to."""

    kind = "gated"
    size = 1

    def __init__(self):
        self.gate = threading.Event()

    def search(self, queries, top_k):
        assert self.gate.wait(100)
        if "fail" in queries:
            raise ZeroDivisionError
        return [[Hit(Passage("1", "", query), 0.5)] for query in queries]

    def close(self):
        pass


def test_overload_gets_503_with_retry_after_and_waiting_requests_are_answered(serving, wait_until):
    retriever = GatedRetriever()
    with serving(retriever, Limits(max_waiting=2)) as server:
        replies = []

        def ask(query):
            replies.append(post(server, queries=[query], return_scores=True))

        threads = [threading.Thread(target=ask, args=[query]) for query in "ab"]
        for thread in threads:
            thread.start()
        wait_until(lambda: server.get("/ready").status_code == 503)
        refused = post(server, queries=["c"])
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert "2 queries already wait" in refused.json()["error"]
        retriever.gate.set()
        for thread in threads:
            thread.join()
        assert [reply.json()["result"][0][0]["score"] for reply in replies] == [0.5, 0.5]
        assert server.get("/ready").status_code == 200


def test_a_failed_search_gets_500_and_the_next_is_answered(serving):
    retriever = GatedRetriever()
    retriever.gate.set()
    with serving(retriever) as server:
        failed = post(server, queries=["fail"])
        assert failed.status_code == 500
        assert failed.json() == {
            "error": "the search failed with ZeroDivisionError; see the server's log."
        }
        assert post(server, queries=["a"]).status_code == 200


def test_the_queries_of_search_r1s_default_batch_fit_in_one_request(server):
    # 512 questions in groups of five: its trainer asks for all of them at once.
    queries = [f"Dublin {number // 5}" for number in range(512 * 5)]
    reply = post(server, queries=queries, topk=3)
    assert reply.status_code == 200
    assert len(reply.json()["result"]) == 2560


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_a_signal(bm25_index, start, wait_until, signum):
    process = start("retriever.server", "--index", bm25_index, "--port", 0)
    line = process.stderr.readline()
    assert "serving 12 passages (bm25) at http://127.0.0.1:" in line
    wait_until(lambda: _is_ready(line.split()[-1]))
    process.send_signal(signum)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")


def _is_ready(url):
    try:
        return httpx.get(f"{url}/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_a_taken_port_is_one_line_and_status_2(bm25_index, run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, stderr = run("retriever.server", "--index", bm25_index, "--port", port)
    assert status == 2
    assert stderr == (
        f"error: cannot listen on 127.0.0.1:{port} (Address already in use); "
        "stop what uses it, or choose another --port.\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--index", "nowhere"], "error: no index at nowhere (manifest.json is missing)"),
        (["--index", "nowhere", "--port", "99999"], "error: "),
        (["--index", "nowhere", "--threads", "0"], "error: threads is 0"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(run, arguments, problem):
    status, stderr = run("retriever.server", "--port", 0, *arguments)
    assert status == 2
    assert stderr.startswith(problem)
    assert stderr.count("\n") == 1
