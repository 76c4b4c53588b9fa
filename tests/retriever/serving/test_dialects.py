"""Clients of other projects, by the shapes that they send and read; see docs/retriever.md."""

import json

import pytest

from retriever.serving.limits import Limits
from retriever.serving.wire import read_request

WORDS = "the novel city born author ireland"


def post(server, **body):
    reply = server.post("/retrieve", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_rllm_names_one_query_and_top_k_and_reads_results(server):
    # Its tool reads results[i]["document"]["id" and "contents"] and results[i]["score"].
    answer = post(server, query="Clontarf Dublin", top_k=2)
    assert answer.keys() == {"query", "num_results", "results"}
    assert (answer["query"], answer["num_results"]) == ("Clontarf Dublin", 2)
    (expected,) = post(server, queries=["Clontarf Dublin"], topk=2, return_scores=True)["result"]
    assert answer["results"] == expected


def test_one_query_without_hits_is_an_empty_list(server):
    nothing = {"query": "zzzz", "num_results": 0, "results": []}
    assert post(server, query="zzzz") == nothing
    assert post(server, query="", k=5) == nothing | {"query": ""}


@pytest.mark.parametrize("name", ["topk", "top_k", "k"])
def test_the_number_of_hits_has_three_names(server, name):
    assert post(server, query=WORDS, **{name: 4})["num_results"] == 4
    assert len(post(server, queries=[WORDS], **{name: 4})["result"][0]) == 4


def test_skyrl_sends_a_list_of_one_and_reads_documents(server):
    # Its tools read result[i][j]["document"]["contents"].
    answer = post(server, queries=["Dracula"], topk=3, return_scores=True)
    assert all(row["document"]["contents"] for row in answer["result"][0])


def test_asearcher_reads_contents_and_url_of_each_passage(serving, write_corpus, tmp_path):
    from retriever.build import build_index
    from retriever.indexes.kinds import open_retriever

    rows = [
        {"id": "1", "contents": '"Dublin"\nA city', "url": "https://example.org/Dublin"},
        {"id": "2", "contents": '"Dublin Bay"\nA bay', "url": None},
    ]
    build_index(write_corpus(tmp_path / "c.jsonl", rows), tmp_path / "i", "bm25")
    retriever = open_retriever(tmp_path / "i")
    with serving(retriever) as client:
        (found,) = post(client, queries=["dublin"], topk=2, return_scores=False)["result"]
    retriever.close()
    by_id = {row["id"]: row for row in found}
    assert by_id["1"]["url"] == "https://example.org/Dublin"
    assert by_id["1"]["contents"] == '"Dublin"\nA city'
    assert by_id["2"].keys() == {"id", "title", "text", "contents"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"topk": 0}, (3, False)),
        ({"topk": None}, (3, False)),
        ({"topk": "7"}, (7, False)),
        ({"topk": "0"}, (3, False)),
        ({"topk": 0, "top_k": None, "k": 9}, (9, False)),
        ({"topk": 2, "k": 9}, (2, False)),
        ({"return_scores": 1}, (3, True)),
        ({"return_scores": 0}, (3, False)),
        ({"return_scores": 1.0}, (3, True)),
        ({"return_scores": "True"}, (3, True)),
        ({"return_scores": "off"}, (3, False)),
    ],
)
def test_values_are_read_as_search_r1s_server_reads_them(given, expected):
    body = json.dumps({"queries": ["a"], **given}).encode()
    wanted = read_request(body, Limits())
    assert (wanted.top_k, wanted.is_scored) == expected


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"query": "a", "queries": ["b"]}, "both query and queries are given; send one of them"),
        ({"query": ["a"]}, 'query is ["a"]; expected a string'),
        ({"query": None}, "query is null; expected a string"),
        ({"query": "a", "top_k": 1001}, "top_k is 1001; expected an integer from 1 to 1000"),
        ({"query": "a", "topk": 2, "k": "x"}, 'k is "x"; expected an integer'),
        ({"query": "b" * 8193}, "has 8193 characters; shorten it"),
        ({"queries": ["a"], "topk": "1" * 5000}, 'topk is "1111'),
        ({"queries": ["a"], "topk": "²"}, 'topk is "²"'),
    ],
)
def test_what_no_client_means_is_refused(server, body, problem):
    reply = server.post("/retrieve", json=body)
    assert reply.status_code == 422
    assert problem in reply.json()["error"]


def test_the_default_is_within_a_small_limit():
    assert read_request(b'{"query": "a", "k": 0}', Limits(max_top_k=2)).top_k == 2
