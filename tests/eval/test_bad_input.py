"""What is wrong with files and servers is said in a line, and no answer is lost."""

import asyncio
import json

import pytest
from pyarrow import Table, parquet

from data_prep.questions import Question
from data_prep.rows import make_rows
from data_prep.steps import DataPrepError
from eval.benchmarks import load_rows
from eval.compare import main as compare_main
from eval.coverage import main as coverage_main
from eval.engine import ask_mortal
from eval.measures import read_result
from eval.patient import GuardedPolicy
from eval.protocol import describe_corpus, require_corpus
from eval.report import main as report_main
from eval.run import main
from search_r1.client import SearchClientConfig
from tests.run_readers import read_lines
from tests.tiny_completions import Model, serve_model
from tests.tiny_retriever import serve_passages

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens
PASSAGES = [{"id": "1", "title": "Dracula", "text": "a novel by Bram Stoker"}]


@pytest.fixture
def written(tmp_path):
    """Write rows to a JSON-lines file; gives its name."""

    def write(*rows):
        path = tmp_path / "mine.jsonl"
        path.write_text(
            "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
        )
        return str(path)

    return write


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"question": "who?"}], "mine.jsonl:1: no column 'golden_answers'"),
        ([{"question": "who?", "golden_answers": "Ada"}], "'Ada'; expected a list"),
        ([{"question": "who?", "golden_answers": []}], "expected a list with at least one answer"),
        ([{"question": "who?", "golden_answers": [1]}], "expected a list"),
        ([{"question": " ", "golden_answers": ["Ada"]}], "expected a non-empty string"),
        ([{"question": "who?", "golden_answers": ["The"]}], "holds no question"),
        (
            [{"id": "7", "question": q, "golden_answers": ["Ada"]} for q in ("who?", "what?")],
            "has 1 id.s. more than once, such as '7'",
        ),
        (['{"question": "who?", "golden'], "mine.jsonl:1: not valid JSON"),
        (["[1]"], "mine.jsonl:1: a JSON list"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(written, rows, message):
    with pytest.raises(DataPrepError, match=message):
        load_rows([written(*rows)])


def test_a_question_that_nothing_could_answer_is_left_out_and_told(written, capsys):
    rows = load_rows(
        [written(*({"question": "who?", "golden_answers": [g]} for g in ("A", "Ada")))]
    )
    assert [row["reward_model"]["ground_truth"]["target"] for row in rows] == [["Ada"]]
    assert "1 question(s) left out, whose answers normalise to nothing" in capsys.readouterr().out


def test_a_question_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "test.parquet"
    path.write_bytes(b"no parquet at all")
    with pytest.raises(DataPrepError, match="is not a readable parquet file"):
        load_rows([str(path)])


def test_a_gold_answer_that_is_no_list_is_not_read_letter_by_letter(tmp_path):
    rows = make_rows([("codes", Question("0", "which?", ("x",)))], "test", "bare")
    rows[0]["reward_model"]["ground_truth"]["target"] = "Paris"
    parquet.write_table(Table.from_pylist(rows), tmp_path / "test.parquet")
    with pytest.raises(DataPrepError, match="target is 'Paris'; expected a list"):
        load_rows([str(tmp_path / "test.parquet")])


def test_a_file_of_something_else_is_neither_gone_on_with_nor_lost(run, pass_of):
    one = pass_of()
    for foreign in ('{"loss": 1.0}\n', "[1, 2]\n"):
        one.path.write_text(foreign)
        with pytest.raises(DataPrepError, match="holds a line that is no trajectory"):
            run(one)
        assert one.path.read_text() == foreign


def test_a_result_of_something_else_is_not_read(run, pass_of, tmp_path, capsys):
    one = pass_of()
    run(one)
    assert compare_main([str(one.path), str(one.path)]) == 1
    assert "is no manifest of eval.run" in capsys.readouterr().err
    manifest = dict.fromkeys(
        ("model", "method", "prompt", "engine", "code", "model_sha256", "in_training"), ""
    )
    manifest |= {key: {} for key in ("decoding", "form", "limits", "corpus")}
    one.manifest_path.write_text(json.dumps(manifest | {"questions": {"sets": {"facts": 5}}}))
    assert len(read_result(one.path).records) == 5
    one.path.write_text('{"loss": 1.0}\n' * 5)
    assert report_main([str(one.path), "--out", str(tmp_path / "report")]) == 1
    assert "cannot be read (KeyError('stop_reason'))" in capsys.readouterr().err


def test_an_index_that_is_none_is_told(written, tmp_path, capsys):
    questions = written({"question": "who?", "golden_answers": ["Ada"]})
    (tmp_path / "index").mkdir()
    for folder in ("absent", "index"):
        place = str(tmp_path / folder)
        assert coverage_main(["--benchmarks", questions, "--index", place]) == 1
        told = capsys.readouterr().err
        assert told.startswith(f"error: --index {place}: ")
        assert len(told.splitlines()) == 1


@pytest.fixture
def served(bpe_tokenizer, question_file, tmp_path):
    """Give the command line of a served model at an address, over a retriever at another."""
    bpe_tokenizer.save_pretrained(tmp_path / "tokenizer")

    def command(url, retriever):
        return [
            *("--url", url, "--served-model", "tiny", "--tokenizer", str(tmp_path / "tokenizer")),
            *("--benchmarks", str(question_file), "--retriever", retriever),
            *("--out", str(tmp_path / "out"), "--prompt", "bare", "--wait", "0"),
        ]

    return command


@pytest.mark.slow  # imports transformers
def test_a_retriever_that_is_not_there_is_told_before_anything_is_asked(served, capsys):
    model = Model(lambda _: "<answer>x</answer>")
    with serve_model(model) as url:
        assert main(served(url, NOBODY)) == 1
    told = capsys.readouterr().err
    assert f"error: no retrieval server answers at {NOBODY}" in told
    assert len(told.splitlines()) == 1
    assert model.requests == []


@pytest.fixture
def two_corpora(tmp_path):
    """Serve two corpora; gives both addresses."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    other = [*PASSAGES, {"id": "2", "title": "Paris", "text": "a city"}]
    with serve_passages(folders[0], PASSAGES) as one, serve_passages(folders[1], other) as two:
        yield one, two


@pytest.mark.slow
def test_answers_over_another_corpus_are_not_gone_on_with(served, two_corpora, tmp_path, capsys):
    one, two = two_corpora
    path = tmp_path / "out" / "served_text.search.greedy.jsonl"
    with serve_model(Model(lambda _: "<answer>x</answer>")) as url:
        assert main(served(url, one)) == 0
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[:2]))
        assert main(served(url, two)) == 1
    assert "its trajectories are of another corpus" in capsys.readouterr().err.splitlines()[-1]
    assert path.read_text() == "".join(lines[:2])


def test_a_corpus_that_changes_meanwhile_sets_the_answers_aside(run, pass_of, two_corpora):
    configs = [SearchClientConfig(url=url) for url in two_corpora]
    one = pass_of()
    run(one)
    records = read_lines(one.path)
    corpus = asyncio.run(describe_corpus(configs[0]))
    asyncio.run(require_corpus(configs[0], corpus, one))
    asyncio.run(require_corpus(SearchClientConfig(url=NOBODY), corpus, one))
    assert read_lines(one.path) == records
    with pytest.raises(DataPrepError, match=r"serves another corpus than when tiny\.search"):
        asyncio.run(require_corpus(configs[1], corpus, one))
    assert not one.path.exists()
    assert read_lines(one.path.with_suffix(".jsonl.mixed")) == records


@pytest.mark.slow  # imports vLLM
def test_an_engine_that_dies_is_told_in_a_line():
    from search_r1.policies.local_vllm import EngineDeadError

    class Dead:
        async def generate(self, context_ids, **options):
            raise EngineDeadError

    with pytest.raises(DataPrepError, match=r"the engine died; .*what was answered is kept"):
        asyncio.run(GuardedPolicy(Dead(), ask_mortal).generate([1], max_tokens=1, stop=()))
