"""Question sets by name or file, and what is refused of them."""

import json

import pytest

from data_prep.questions import Question
from data_prep.rows import make_rows, write_rows
from data_prep.steps import DataPrepError
from eval import benchmarks
from eval.benchmarks import SETS, SEVEN, Benchmark, fingerprint, load_rows, overlap, uid_of
from eval.coverage import coverage, first_ranks, main, table
from retriever.build import build_index
from retriever.types import Hit, Passage


def write_jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def row(question, *golds):
    return {"question": question, "golden_answers": list(golds)}


@pytest.fixture
def two(tmp_path):
    return write_jsonl(
        tmp_path / "mine.jsonl", row("who?", "Ada"), row("where?", "Paris", "Lutetia")
    )


def test_the_seven_are_those_of_search_r1():
    assert sum(each.number for each in SEVEN) == 51_713
    assert SETS["offline"] == ("nq", "triviaqa", "webquestions")


def test_a_file_of_ones_own_is_called_by_its_name(two):
    rows = load_rows([two])
    assert [uid_of(each) for each in rows] == ["mine/0", "mine/1"]
    assert rows[1]["reward_model"]["ground_truth"]["target"] == ["Paris", "Lutetia"]
    assert load_rows([two], 1) == rows[:1]


def test_rows_of_data_prep_keep_what_they_say(tmp_path):
    rows = make_rows([("codes", Question("0", "which?", ("x",), "unknown"))], "test", "bare")
    write_rows(rows, tmp_path / "test.parquet")
    assert load_rows([str(tmp_path / "test.parquet")]) == rows


def test_a_benchmark_of_another_size_is_refused(two, tmp_path, monkeypatch):
    monkeypatch.setitem(benchmarks.BENCHMARKS, "tiny", Benchmark("tiny", "test", 2))
    assert [uid_of(each) for each in load_rows([f"tiny={two}"])] == ["tiny/0", "tiny/1"]
    hopeless = write_jsonl(tmp_path / "the.jsonl", row("what?", "The"), row("who?", "A"))
    assert len(load_rows([f"tiny={hopeless}"])) == 2, "a published set keeps its size"
    with pytest.raises(DataPrepError, match=r"holds 2 questions; bamboogle test has 125"):
        load_rows([f"bamboogle={two}"])


def test_what_cannot_be_asked_is_refused(two, tmp_path):
    for wanted, message in (
        (["nqq"], r"no benchmark 'nqq'; choose from nq, "),
        ([two, two], "more than once"),
        (["nq", "offline"], "more than once"),
        ([str(tmp_path / "absent.jsonl")], "no file at"),
        (
            [write_jsonl(tmp_path / "the.jsonl", row("what?", "The"))],
            "holds no question",
        ),
        (
            [write_jsonl(tmp_path / "text.jsonl", row("what?") | {"golden_answers": "Paris"})],
            "list",
        ),
    ):
        with pytest.raises(DataPrepError, match=message):
            load_rows(wanted)
    with pytest.raises(DataPrepError, match=r"has 2 questions; --number asks for 3"):
        load_rows([two], 3)
    with pytest.raises(DataPrepError, match="--number is 0"):
        load_rows([two], 0)


def test_two_questions_of_one_name_are_refused(tmp_path):
    one = make_rows([("codes", Question("0", "which?", ("x",)))], "test", "bare")
    write_rows(one * 2, tmp_path / "test.parquet")
    with pytest.raises(DataPrepError, match="share their data source and index"):
        load_rows([str(tmp_path / "test.parquet")])


def test_a_checksum_tells_other_questions_and_other_golds(two, tmp_path):
    rows = load_rows([two])
    (tmp_path / "other").mkdir()
    other = write_jsonl(
        tmp_path / "other" / "mine.jsonl", row("who?", "Eve"), row("where?", "Rome")
    )
    assert fingerprint(rows) == fingerprint(load_rows([two]))
    assert len({fingerprint(rows), fingerprint(rows[:1]), fingerprint(load_rows([other]))}) == 3


def test_questions_of_the_training_file_are_found_in_any_case(two, tmp_path):
    write_jsonl(tmp_path / "train.jsonl", row("Who", "Ada"), row("when?", "now"))
    assert overlap(load_rows([two]), tmp_path / "train.jsonl") == ["who?"]


class Index:
    """Finds the passages it is given, in order, for every query."""

    kind, size = "list", 3

    def __init__(self, *texts):
        self._hits = [Hit(Passage(str(n), "T", text), 1.0) for n, text in enumerate(texts)]

    def search(self, queries, top_k):
        return [self._hits[:top_k] for _ in queries]


def test_coverage_is_the_rank_of_the_first_passage_with_a_gold_answer(two):
    rows = load_rows([two])
    ranks = first_ranks(rows, Index("nothing", "in Paris.", "by Ada, in Paris"))
    assert ranks == [3, 2]
    found = coverage(rows, ranks)
    assert {depth: one["value"] for depth, one in found["mine"].items()} == {
        "1": 0.0,
        "3": 1.0,
        "10": 1.0,
        "100": 1.0,
    }
    assert "| mine | 2 | 0.0% (0.0%-65.8%) | 100.0%" in table(found)


def test_coverage_of_an_index_that_is_not_there_says_so(two, tmp_path, capsys):
    assert main(["--benchmarks", two, "--index", str(tmp_path / "absent")]) == 1
    assert "absent" in capsys.readouterr().err


def test_coverage_is_written_with_what_it_is_of(two, tmp_path, capsys):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(json.dumps({"id": "1", "title": "Paris", "text": "where Lutetia was"}) + "\n")
    build_index(corpus, tmp_path / "index", "bm25")
    out = tmp_path / "coverage.json"
    options = ["--benchmarks", two, "--index", str(tmp_path / "index"), "--out", str(out)]
    assert main(options) == 0
    assert "| mine | 2 | 50.0%" in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert written["index"].items() >= {"kind": "bm25", "passages": 1, "encoder": None}.items()
    assert len(written["index"]["corpus_sha256"]) == 64
    assert written["processor"]
