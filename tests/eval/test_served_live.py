"""A model that our own command serves under real vLLM, evaluated over its address."""

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from eval.run import main
from tests.run_readers import read_lines
from tests.tiny_retriever import serve_passages

pytestmark = [pytest.mark.slow, pytest.mark.engine]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def served(tmp_path):
    """Serve a model that searches on a question, then answers; gives its folder and address."""
    from tests.tiny_model import save_chained_model  # imports torch

    model = tmp_path / "model"
    save_chained_model(model)
    command = [sys.executable, "-m", "search_r1.serve", "--model", str(model), "--port", "0"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--", "--max-model-len", "4096", "--max-num-seqs", "8"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        said = next((line for line in process.stdout if line.startswith("serving ")), None)
        assert said, (tmp_path / "log").read_text()[-5000:]
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield str(model), re.search(r"http://\S+/v1(?=;)", said)[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


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
