"""A model behind an address is evaluated as one in this process is: text in, text out."""

import asyncio
import json
import re

import pytest

from data_prep.steps import DataPrepError
from eval import patient
from eval.answerers import Answerer
from eval.manifest import read_manifest
from eval.measures import read_results
from eval.report import make_report, markdown
from eval.run import Setting, evaluate, main
from search_r1.policies.completions import KEY_VARIABLE
from tests.run_readers import read_lines
from tests.tiny_completions import Model, serve_model
from tests.tiny_retriever import serve_passages

NOBODY = "http://127.0.0.1:9/v1"  # the discard port: nothing listens
PASSAGES = [{"id": "1", "title": "Dracula", "text": "a novel by Bram Stoker"}]


def reads_and_answers(prompt):
    if prompt.endswith("<answer>"):
        return "Dublin</answer>"
    if "</information>" in prompt.rpartition("Question: ")[2] or "Doc 1" in prompt:
        return "<answer>Bram Stoker</answer>"
    return "<search>Dracula</search>"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(patient, "_PAUSE_S", 0)


@pytest.fixture
def tokenizer(bpe_tokenizer, tmp_path):
    bpe_tokenizer.save_pretrained(tmp_path / "tokenizer")
    return str(tmp_path / "tokenizer")


@pytest.fixture
def retriever(tmp_path):
    (tmp_path / "served").mkdir()
    with serve_passages(tmp_path / "served", PASSAGES) as url:
        yield url


@pytest.fixture
def command(question_file, tokenizer, retriever, tmp_path):
    def make(url, *more):
        return [
            *("--url", url, "--served-model", "tiny", "--tokenizer", tokenizer),
            *("--benchmarks", str(question_file), "--retriever", retriever),
            *("--out", str(tmp_path / "out"), "--prompt", "bare", "--wait", "0", *more),
        ]

    return make


@pytest.mark.slow  # imports transformers
def test_it_answers_by_every_method_and_says_what_it_is(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(KEY_VARIABLE, "s3cret")
    model = Model(reads_and_answers, key="s3cret")
    with serve_model(model) as url:
        assert main(command(url, "--method", "search,search_never,rag")) == 0
    found = {path.name: read_lines(path) for path in (tmp_path / "out").glob("*.jsonl")}
    assert set(found) == {
        f"served_text.{method}.greedy.jsonl" for method in ("search", "search_never", "rag")
    }
    searched = found["served_text.search.greedy.jsonl"]
    assert {record["stop_reason"] for record in searched} == {"answer"}
    assert {record["prediction"] for record in searched} == {"Bram Stoker"}
    manifest = read_manifest(tmp_path / "out" / "served_text.search.greedy.json")
    assert manifest.engine == f"{url} (text in, text out)"
    assert (manifest.model, manifest.model_sha256) == ("tiny", None)
    report = make_report(read_results([tmp_path / "out"]))
    assert "| served_text.search.greedy (text in, text out) |" in markdown(report)
    written = report.figures["served_text.search.greedy"]["all"]["tokens_written"]
    assert written.value == searched[0]["metadata"]["usage"]["completion_tokens"]
    everything = "".join(path.read_text() for path in (tmp_path / "out").iterdir()) + str(
        capsys.readouterr()
    )
    assert "s3cret" not in everything


@pytest.mark.slow
def test_it_goes_on_at_another_address(command, tmp_path):
    model = Model(reads_and_answers)
    with serve_model(model) as url:
        assert main(command(url)) == 0
    path = tmp_path / "out" / "served_text.search.greedy.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]))
    asked = len(model.requests)
    with serve_model(model) as url:
        assert main(command(url)) == 0
    assert len(read_lines(path)) == 5
    assert len(model.requests) == asked + 2 * 2


@pytest.mark.slow
def test_what_is_wrong_with_it_is_said_before_anything_is_written(
    command, tmp_path, monkeypatch, capsys
):
    model = Model(reads_and_answers, key="s3cret")
    with serve_model(model) as url:
        for change, message in (
            ([], rf"refuses the key \(status 401\); set {KEY_VARIABLE}"),
            (["--served-model", "huge"], "serves no model 'huge'; it has tiny"),
            (["--tokenizer", "absent"], "--tokenizer: there is no folder absent"),
            (["--url", NOBODY], "no server of completions answers at"),
            (["--url", "http://me:pw@host/v1"], "holds a user, a password"),
        ):
            if change:
                monkeypatch.setenv(KEY_VARIABLE, "s3cret")
            assert main(command(url, *change)) == 1
            told = capsys.readouterr().err
            assert re.search(message, told), told
            assert len(told.strip().splitlines()) == 1
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.slow
def test_a_server_that_dies_half_way_ends_it_and_what_was_answered_is_kept(
    rows, tokenizer, retriever, tmp_path
):
    model = Model(reads_and_answers)
    out = tmp_path / "out"

    async def run(url):
        answerer = Answerer("far", "tiny", "bare", ("search",), url, tokenizer)
        await evaluate(Setting({}, retriever, 0), [answerer], rows, out)

    def complete(prompt):
        if len(model.requests) > 4:
            model.failures = [503] * 1000
        return reads_and_answers(prompt)

    model.complete = complete
    with serve_model(model) as url:
        with pytest.raises(DataPrepError, match=r"the model's server .* does not answer .*kept"):
            asyncio.run(run(url))
        kept = (out / "far.search.greedy.jsonl").read_text().splitlines()
        assert all(json.loads(line)["stop_reason"] == "answer" for line in kept)
        model.failures, model.complete = [], reads_and_answers
        asyncio.run(run(url))
    assert len(read_lines(out / "far.search.greedy.jsonl")) == len(rows)


@pytest.mark.slow
def test_a_server_that_is_away_for_a_moment_is_waited_for(command, tmp_path, capsys):
    model = Model(reads_and_answers)
    model.failures = [503, 429]
    with serve_model(model) as url:
        assert main(command(url, "--wait", "60")) == 0
    assert "does not answer (status 503" in capsys.readouterr().out
    assert len(read_lines(tmp_path / "out" / "served_text.search.greedy.jsonl")) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--url", NOBODY], "--url and --served-model belong together"),
        (["--model", "m", "--served-model", "x"], "belong together"),
        (["--model", "m", "--tokenizer", "x"], "--tokenizer belongs to --url"),
        (["--model", "m", "--name", "a/b"], "--name 'a/b' names files"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([*options, "--benchmarks", "nq", "--out", str(tmp_path)])
    assert message in capsys.readouterr().err
