"""The mixes of question kinds, and what every row of them promises of the index."""

import contextlib

import pytest

from data_prep import quickstart
from data_prep.knowledge.candidates import holds_answer
from data_prep.knowledge.mix import CYCLES
from data_prep.quickstart_questions import FILES
from data_prep.rows import read_rows
from retriever.indexes.kinds import open_retriever
from search_r1.answers import gold_answers_of
from tests.data_prep.quickstart_parts import OPTIONS, put_wheels


@pytest.fixture
def artifacts(wheels, tiny_assets, samples_file, artifacts):
    """The artifacts folder after the quickstart's data were made."""
    put_wheels(wheels, artifacts)
    quickstart.prepare("bm25", OPTIONS, tiny_assets, samples_file)
    return artifacts


@pytest.mark.parametrize("mix", CYCLES)
def test_mix_has_its_kinds_by_turns(artifacts, mix):
    folder = artifacts / "questions" / "quickstart"
    for name, cycle in CYCLES[mix].items():
        rows = read_rows(folder / f"{name}{mix}.parquet")
        kinds = [row["extra_info"]["knowledge"] or "real" for row in rows]
        assert kinds == [cycle[i % len(cycle)] for i in range(len(rows))]
        assert {row["extra_info"]["split"] for row in rows} == {name}
    train = read_rows(folder / "train.parquet")
    assert len(train) >= 5
    real = {row["data_source"] for row in train if not row["extra_info"]["knowledge"]}
    assert real <= {"nq", "triviaqa"}


def test_query_of_every_unknown_question_finds_its_answer_first(artifacts):
    rows = read_rows(artifacts / "questions" / "quickstart" / "train.parquet")
    asked = [row for row in rows if row["extra_info"]["knowledge"] == "unknown"]
    assert asked
    with contextlib.closing(open_retriever(artifacts / "indexes" / "quickstart")) as retriever:
        for row in asked:
            ((hit,),) = retriever.search(row["extra_info"]["queries"], 1)
            assert row["reward_model"]["ground_truth"]["target"][0] in hit.passage.text
            assert hit.passage.id.startswith(row["data_source"])


def test_two_hop_questions_need_the_second_query(artifacts):
    rows = read_rows(artifacts / "questions" / "quickstart" / "train_proof.parquet")
    asked = [row for row in rows if row["extra_info"]["knowledge"] == "two_hop"]
    assert asked
    with contextlib.closing(open_retriever(artifacts / "indexes" / "quickstart")) as retriever:
        for row in asked:
            question, golds = row["extra_info"]["question"], gold_answers_of(row)
            queries = [question, *row["extra_info"]["queries"]]
            *early, last = [hits[0].passage.text for hits in retriever.search(queries, 1)]
            assert holds_answer(last, golds)
            assert not any(holds_answer(text, golds) for text in early)


def test_every_row_has_a_query_and_real_ones_that_of_the_question(artifacts):
    for name in FILES.values():
        for row in read_rows(artifacts / "questions" / "quickstart" / name):
            if row["data_source"] in ("nq", "triviaqa"):
                assert row["extra_info"]["queries"] == [row["extra_info"]["question"].rstrip("?")]
            assert row["extra_info"]["queries"]
