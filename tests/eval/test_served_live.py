"""A model that our own command serves under real vLLM, evaluated over its address."""

import json
import urllib.request

import pytest

from eval.run import main
from tests.run_readers import read_lines
from tests.running import serve_chained_model
from tests.tiny_retriever import serve_passages

pytestmark = [pytest.mark.slow, pytest.mark.engine]


@pytest.fixture
def served(tmp_path):
    """Serve a model that searches on a question, then answers; gives its folder and address."""
    with serve_chained_model(tmp_path, max_num_seqs=8) as (url, _):
        yield str(tmp_path / "model"), f"{url}/v1"


def test_it_searches_and_answers_as_in_its_rollouts(served, question_file, tiny_passages, tmp_path):
    model, url = served
    with urllib.request.urlopen(f"{url}/models") as reply:
        name = json.load(reply)["data"][0]["id"]
    (tmp_path / "passages").mkdir()
    with serve_passages(tmp_path / "passages", tiny_passages) as retriever:
        options = ["--url", url, "--served-model", name, "--tokenizer", model, "--prompt", "bare"]
        options += ["--benchmarks", str(question_file), "--retriever", retriever]
        assert (
            main([*options, "--method", "search,search_never", "--out", str(tmp_path / "out")]) == 0
        )
    records = read_lines(tmp_path / "out" / "served_text.search.greedy.jsonl")
    assert [turn["model_text"] for turn in records[0]["turns"]] == [
        "<search> Dracula novel</search>",
        "<answer> Stoker</answer>",
    ]
    assert {(r["prediction"], r["stop_reason"]) for r in records} == {("Stoker", "answer")}
    assert records[0]["turns"][0]["passage_ids"][0] == "p01"
    assert records[0]["metadata"]["usage"]["completion_tokens"] > 0
    forced = read_lines(tmp_path / "out" / "served_text.search_never.greedy.jsonl")
    assert {record["prediction"] for record in forced} == {"Stoker"}
