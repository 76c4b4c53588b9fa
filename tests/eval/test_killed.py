"""A real process that was killed half-way goes on to the same file as one that was not."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.run_readers import read_lines
from tests.tiny_completions import Model, serve_model
from tests.tiny_retriever import serve_passages

ROOT = Path(__file__).resolve().parents[2]


def answer(prompt):
    if "</information>" in prompt:
        return "<answer>Bram Stoker</answer>"
    return "<search>Dracula</search>"


class Stuck(Model):
    """Answers the first two questions, and the others once it is let go."""

    def __init__(self):
        super().__init__(answer)
        self.is_free = threading.Event()

    def answer(self, body):
        if "who is number" in body["prompt"]:
            self.is_free.wait(300)
        return super().answer(body)


@pytest.fixture
def command(bpe_tokenizer, question_file, tmp_path):
    bpe_tokenizer.save_pretrained(tmp_path / "tokenizer")

    def make(url, retriever, out):
        return [
            *(sys.executable, "-m", "eval.run", "--url", url, "--served-model", "tiny"),
            *("--tokenizer", str(tmp_path / "tokenizer"), "--benchmarks", str(question_file)),
            *("--retriever", retriever, "--out", str(out), "--prompt", "bare"),
        ]

    return make


def without_times(path):
    records = read_lines(path)
    for record in records:
        for turn in record["turns"]:
            for name in ("generate_s", "tool_s"):
                del turn[name]
            for call in turn["calls"]:
                del call["seconds"]
    return records


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_to_the_same_file(command, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    passages = [{"id": "1", "title": "Dracula", "text": "a novel by Bram Stoker"}]
    (tmp_path / "served").mkdir()
    stuck, whole, cut = Stuck(), tmp_path / "whole", tmp_path / "cut"
    name = "served_text.search.greedy.jsonl"
    with serve_passages(tmp_path / "served", passages) as retriever:
        with serve_model(Model(answer)) as url:
            subprocess.run(command(url, retriever, whole), env=environment, check=True, cwd=ROOT)
        with serve_model(stuck) as url:
            child = subprocess.Popen(command(url, retriever, cut), env=environment, cwd=ROOT)
            ends = time.monotonic() + 300
            while not (cut / name).is_file() or len(read_lines(cut / name)) < 2:
                assert time.monotonic() < ends, "waited too long"
                assert child.poll() is None
                time.sleep(0.05)
            child.send_signal(signal.SIGKILL)
            child.wait()
            kept = read_lines(cut / name)
            stuck.is_free.set()
            subprocess.run(command(url, retriever, cut), env=environment, check=True, cwd=ROOT)
    assert without_times(cut / name) == without_times(whole / name)
    assert len(without_times(cut / name)) == 5
    after = {record["uid"]: record for record in read_lines(cut / name)}
    assert all(after[record["uid"]] == record for record in kept), "no answer is asked for twice"
