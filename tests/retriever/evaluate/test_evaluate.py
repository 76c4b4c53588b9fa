"""Recall and answer recall against numbers worked by hand; the command over real indexes."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from retriever.errors import RetrievalError
from retriever.evaluate.__main__ import main
from retriever.evaluate.plot import plot_frontier
from retriever.evaluate.quality import (
    Question,
    answer_recall,
    has_answer,
    read_questions,
    recall,
)
from retriever.evaluate.report import Plan, format_table
from retriever.evaluate.sweep import make_sweep
from retriever.storage.manifest import FileFacts, Manifest, write_manifest
from retriever.types import Hit, Passage


def hit(title, text):
    return Hit(Passage("1", title, text), 1.0)


def write_questions(path, rows):
    columns = [
        {
            "extra_info": {"question": text},
            "reward_model": {"ground_truth": {"target": answers}},
        }
        for text, answers in rows
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(columns), path)
    return path


@pytest.fixture
def questions_file(tmp_path):
    rows = [
        ("Who wrote Dracula?", ["Bram Stoker"]),
        ("What is the capital of Ireland?", ["Dublin"]),
        ("How high is the moon?", ["very"]),
    ]
    return write_questions(tmp_path / "questions.parquet", rows)


def test_recall_is_the_mean_share_of_the_exact_best() -> None:
    found = [["a", "b", "c"], ["x", "y", "z"]]
    exact = [["a", "c", "d"], ["x", "y", "z"]]
    assert recall(found, exact, 1) == 1.0
    assert recall(found, exact, 2) == pytest.approx((1 / 2 + 2 / 2) / 2)
    assert recall(found, exact, 3) == pytest.approx((2 / 3 + 3 / 3) / 2)


def test_recall_leaves_out_queries_without_an_exact_hit_and_counts_missing_ones() -> None:
    assert recall([[], []], [[], ["a", "b"]], 2) == 0.0
    assert recall([["a"]], [["a", "b"]], 2) == 0.5
    assert recall([[]], [[]], 3) == 1.0


@pytest.mark.parametrize(
    ("answers", "question", "text", "is_found"),
    [
        (("Bram Stoker",), "Who wrote Dracula?", "by the author Bram  Stoker.", True),
        (("Stoke",), "Who wrote Dracula?", "by Bram Stoker.", False),  # whole words only
        (("The Seine",), "A river?", "on the seine!", True),  # articles and case do not count
        (("42",), "How many?", "there are 42 of them", False),  # two characters
        (("Dracula",), "Who wrote Dracula?", "Dracula is a novel", False),  # it is in the question
        (("Paris Paris",), "Where?", "Paris is a city", False),  # not across title and text
        ((), "Where?", "Paris", False),
    ],
)
def test_an_answer_counts_as_whole_words_that_the_question_lacks(
    answers, question, text, is_found
) -> None:
    assert has_answer(Question(question, answers), [hit("Paris", text)]) is is_found


def test_answer_recall_looks_at_the_first_hits_only() -> None:
    asked = [Question("Who?", ("Stoker",)), Question("Where?", ("Dublin",))]
    hits = [[hit("", "no"), hit("", "Stoker")], [hit("Dublin", "a city"), hit("", "no")]]
    assert answer_recall(asked, hits, 1) == 0.5
    assert answer_recall(asked, hits, 2) == 1.0


def test_questions_are_read_in_order(questions_file) -> None:
    first, second = read_questions(questions_file, limit=2)
    assert first == Question("Who wrote Dracula?", ("Bram Stoker",))
    assert second.gold_answers == ("Dublin",)


def test_a_file_without_questions_is_named(tmp_path) -> None:
    path = tmp_path / "other.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), path)
    with pytest.raises(RetrievalError, match=r"other\.parquet cannot be read as questions"):
        read_questions(path)
    with pytest.raises(RetrievalError, match="missing"):
        read_questions(tmp_path / "missing.parquet")


def test_a_sweep_turns_only_the_knobs_of_a_kind(bm25_index) -> None:
    (setting,) = make_sweep([bm25_index], {"nprobe": [1, 2], "ef_search": None})
    assert (setting.kind, setting.turned, setting.label) == ("bm25", {}, "bm25")


def test_a_sweep_takes_every_combination_of_a_kind(tmp_path) -> None:
    write_manifest(tmp_path, Manifest("ivfpq", 1, FileFacts(0, ""), {}))
    knobs = {"nprobe": [1, 2], "refine_factor": [4, 8], "ef_search": [16]}
    turned = [tuple(setting.turned.values()) for setting in make_sweep([tmp_path], knobs)]
    assert turned == [(1, 4), (1, 8), (2, 4), (2, 8)]


def test_a_plan_needs_questions_and_depths() -> None:
    with pytest.raises(ValueError, match="no questions"):
        Plan([])
    with pytest.raises(ValueError, match="top_ks"):
        Plan([Question("Who?", ())], top_ks=())


@pytest.mark.slow
def test_the_command_writes_rows_table_and_plot(
    bm25_index, questions_file, tmp_path, capfd
) -> None:
    out, image = tmp_path / "out.json", tmp_path / "frontier.png"
    arguments = ["--index", bm25_index, "--against", bm25_index, "--questions", questions_file]
    assert (
        main([*map(str, arguments), "--topk", "1,3", "--out", str(out), "--plot", str(image)]) == 0
    )
    report = json.loads(out.read_text())
    assert report["questions"] == {"file": "questions.parquet", "count": 3}
    (row,) = report["rows"]
    assert (row["index"], row["kind"], row["settings"]) == ("bm25", "bm25", {})
    assert row["recall"] == {"1": 1.0, "3": 1.0}
    assert row["answer_recall"]["3"] == pytest.approx(2 / 3)
    assert row["latency_ms"]["p50"] >= row["search_ms"] > 0
    assert set(row["queries_per_s"]) == {"1", "64"}
    assert row["resident_mb"] > row["index_mb"] > 0
    assert image.stat().st_size > 1000
    assert "| bm25 | 1.000 | 0.667 |" in capfd.readouterr().out


@pytest.mark.slow
def test_a_log_file_gets_a_line_for_each_setting_and_no_more(flat_index, questions_file, run):
    status, stderr = run(
        "retriever.evaluate", "--index", flat_index, "--questions", questions_file, "--batch", "1"
    )
    assert (status, stderr) == (0, "flat  measured\n")  # no bars, no warning of left semaphores


def test_a_missing_index_ends_the_command_with_one_line(questions_file, tmp_path, capfd) -> None:
    arguments = ["--index", str(tmp_path / "none"), "--questions", str(questions_file)]
    assert main(arguments) == 2
    assert capfd.readouterr().err.startswith("error: no index at")


def make_row(name, **settings):
    return {
        "index": name,
        "kind": name,
        "settings": settings,
        "recall": {"3": 0.5},
        "answer_recall": {"3": 0.25},
        "latency_ms": {"p50": 1.0, "p99": 2.0},
        "search_ms": 0.125,
        "queries_per_s": {"64": 100.0},
        "index_mb": 3.0,
        "resident_mb": 400.0,
    }


def test_a_table_shows_the_knobs_and_a_dash_where_nothing_is_exact() -> None:
    rows = [make_row("ivf", nprobe=4), make_row("bm25")]
    del rows[1]["recall"]
    assert format_table(rows, 3).splitlines()[2:] == [
        "| ivf nprobe=4 | 0.500 | 0.250 | 1.0 | 2.0 | 0.12 | 100 | 3.0 | 400 |",
        "| bm25 | - | 0.250 | 1.0 | 2.0 | 0.12 | 100 | 3.0 | 400 |",
    ]


@pytest.mark.slow
def test_a_plot_is_drawn_without_recall_too(tmp_path) -> None:
    row = make_row("bm25")
    del row["recall"]
    plot_frontier([row], tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")
