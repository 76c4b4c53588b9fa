"""Results in the formats of others' tools; Inspect itself reads its logs where it is installed."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.steps import DataPrepError
from eval import benchmarks
from eval.benchmarks import Benchmark, load_rows
from eval.export import FORMATS, main
from eval.exports import browsecomp, inspect_log, trec
from eval.manifest import Manifest
from eval.measures import read_result

MANIFEST = Manifest(
    model="m",
    model_sha256=None,
    method="search",
    decoding={"name": "greedy"},
    prompt="user: QUESTION",
    form={},
    limits={"max_response_tokens": 50},
    corpus={"kind": "bm25"},
    questions={"sets": {"facts": 5}, "sha256": "q"},
    in_training=None,
    engine="vllm in process",
    code="abc",
)
INSPECT = os.environ.get("INSPECT_PYTHON")
READ_LOG = """
import json, sys
from inspect_ai.log import read_eval_log
log = read_eval_log(sys.argv[1])
sample = log.samples[0]
print(json.dumps({
    "status": log.status, "samples": len(log.samples), "model": log.eval.model,
    "em": log.results.scores[0].metrics["mean"].value, "completion": sample.output.completion,
    "scores": {name: score.value for name, score in sample.scores.items()},
    "roles": [message.role for message in log.samples[-1].messages],
}))
"""


@pytest.fixture
def result(run, pass_of):
    """Five questions, three of which were searched."""
    one = pass_of()
    run(one)
    MANIFEST.write(one.manifest_path)
    return read_result(one.path)


def test_a_run_file_ranks_what_was_read(result, tmp_path):
    result.records[2]["turns"][0]["passage_ids"] = ["7", "a b", "7"]
    (path,) = trec.write(result, tmp_path)
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    assert lines[:2] == [
        ["facts/2", "Q0", "7", "1", "1.000000", "tiny.search.greedy"],
        ["facts/2", "Q0", "a_b", "2", "0.500000", "tiny.search.greedy"],
    ]
    assert [line[0] for line in lines[2:]] == ["facts/3", "facts/4"]


def test_a_browsecomp_run_file_ends_with_the_answer(result, tmp_path):
    result.records[2]["metadata"]["id"] = "769"
    result.records[3]["prediction"] = None
    paths = browsecomp.write(result, tmp_path)
    assert {path.name[:4] for path in paths} == {"run_"}
    written = json.loads((tmp_path / "tiny.search.greedy" / "run_769.json").read_text())
    assert written["query_id"] == "769"
    assert (written["status"], written["tool_call_counts"]) == ("completed", {"search": 1})
    assert written["retrieved_docids"] == ["1"]
    assert [entry["type"] for entry in written["result"]] == [
        "reasoning",
        "tool_call",
        "reasoning",
        "output_text",
    ]
    assert json.loads(written["result"][1]["arguments"]) == {"query": "Dracula"}
    assert written["result"][-1]["output"] == "Bram Stoker"
    unanswered = json.loads(paths[3].read_text())
    assert unanswered["status"] == "incomplete"
    assert unanswered["result"][-1]["type"] == "reasoning"


def test_questions_of_browsecomp_plus_keep_their_ids(tmp_path, monkeypatch):
    path = tmp_path / "decrypted.jsonl"
    row = {"query_id": "769", "query": "who?", "answer": "Ada", "gold_docs": []}
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataPrepError, match="browsecomp_plus test has 830"):
        load_rows([f"browsecomp_plus={path}"])
    with pytest.raises(DataPrepError, match=r"give its decrypted file as browsecomp_plus=FILE"):
        load_rows(["browsecomp_plus"])
    known = replace(benchmarks.BROWSECOMP_PLUS, number=1)
    monkeypatch.setitem(benchmarks.BENCHMARKS, "browsecomp_plus", known)
    (loaded,) = load_rows([f"browsecomp_plus={path}"])
    assert loaded["extra_info"]["id"] == "769"
    assert loaded["extra_info"]["question"] == "who?"
    assert loaded["reward_model"]["ground_truth"]["target"] == ["Ada"]
    assert isinstance(known, Benchmark)


def test_an_inspect_log_has_a_sample_a_question(result, tmp_path):
    (path,) = inspect_log.write(result, tmp_path)
    log = json.loads(path.read_text())
    assert (log["version"], log["status"], len(log["samples"])) == (2, "success", 5)
    assert [score["name"] for score in log["results"]["scores"]] == ["em", "sub_em", "f1"]
    assert log["results"]["scores"][0]["metrics"]["mean"]["value"] == 1.0
    searched = log["samples"][2]
    assert searched["target"] == ["Bram Stoker"]
    assert [message["role"] for message in searched["messages"]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    call = searched["messages"][1]["tool_calls"][0]
    assert call["id"] == searched["messages"][2]["tool_call_id"]
    assert searched["scores"]["em"] == {"value": 1.0, "answer": "Bram Stoker"}
    assert log["eval"]["metadata"]["corpus"] == {"kind": "bm25"}


@pytest.mark.skipif(not INSPECT, reason="INSPECT_PYTHON names no Python that has inspect_ai")
def test_inspect_reads_its_log(result, tmp_path):
    (path,) = inspect_log.write(result, tmp_path)
    said = subprocess.run(
        [INSPECT, "-c", READ_LOG, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(said.splitlines()[-1]) == {
        "status": "success",
        "samples": 5,
        "model": "search_r1/tiny",
        "em": 1.0,
        "completion": "Bram Stoker",
        "scores": {"em": 1.0, "sub_em": 1.0, "f1": 1.0},
        "roles": ["user", "assistant", "tool", "assistant"],
    }


@pytest.mark.slow  # imports torch
def test_tensorboard_reads_every_figure(result, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = FORMATS["tensorboard"](result, tmp_path)
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {"em/all", "em/known/low", "searches/unknown"} <= set(events.Tags()["scalars"])
    assert events.Scalars("searches/unknown")[0].value == 1.0


@pytest.mark.parametrize("form", ["inspect", "trec", "browsecomp"])
def test_the_command_writes_a_folder_of_results(result, form, tmp_path, capsys):
    out = tmp_path / "out"
    path = str(tmp_path / "tiny.search.greedy.jsonl")
    assert main([path, "--to", form, "--out", str(out)]) == 0
    assert "tiny.search.greedy: " in capsys.readouterr().out
    assert list(out.iterdir())
    assert main([str(tmp_path / "absent"), "--to", form, "--out", str(out)]) == 1
    assert "absent" in capsys.readouterr().err
    assert Path(path).is_file()
