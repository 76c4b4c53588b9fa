import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.questions import Question
from data_prep.rows import SCHEMA, check_prompt, make_row, make_rows, read_rows, write_rows
from data_prep.steps import DataPrepError
from search_r1.prompts import build_prompt

QUESTION = Question(
    "nq-7", "who wrote dracula", ("Bram Stoker", "Stoker"), queries=("dracula author",)
)


def test_row_has_the_shape_that_trainer_and_evaluation_read():
    assert make_row(QUESTION, "nq", "train", 3, "search_r1") == {
        "data_source": "nq",
        "prompt": build_prompt("search_r1", "who wrote dracula"),
        "ability": "fact-retrieval",
        "reward_model": {
            "style": "rule",
            "ground_truth": {"target": ["Bram Stoker", "Stoker"]},
        },
        "extra_info": {
            "split": "train",
            "index": 3,
            "question": "who wrote dracula",
            "prompt_name": "search_r1",
            "knowledge": "",
            "queries": ["dracula author"],
        },
        "agent_name": "search_agent",
    }


def test_file_keeps_rows_and_schema(tmp_path):
    path = tmp_path / "train.parquet"
    rows = make_rows([("nq", QUESTION), ("triviaqa", QUESTION)], "train", "search_r1")
    write_rows(rows, path)
    assert read_rows(path) == rows
    assert [row["extra_info"]["index"] for row in rows] == [0, 1]
    assert pq.read_schema(path).equals(SCHEMA)


def test_schema_is_the_same_for_an_empty_file(tmp_path):
    write_rows([], tmp_path / "empty.parquet")
    assert pq.read_schema(tmp_path / "empty.parquet").equals(SCHEMA)


def test_files_are_byte_for_byte_reproducible(tmp_path):
    rows = make_rows([("nq", QUESTION)], "train", "search_r1")
    write_rows(rows, tmp_path / "a.parquet")
    write_rows(rows, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_wrongly_typed_row_is_refused(tmp_path):
    row = make_row(QUESTION, "nq", "train", 0, "search_r1") | {"data_source": 5}
    with pytest.raises(pa.ArrowException):
        write_rows([row], tmp_path / "train.parquet")


def test_question_without_answer_makes_no_row():
    with pytest.raises(ValueError, match=r"'nq-7': .*target is \(\); expected a list of at least"):
        make_row(Question("nq-7", "who", ()), "nq", "train", 0, "search_r1")


@pytest.mark.parametrize("golds", ["Paris", ("A", "The"), ("Paris", 3), None])
def test_gold_answers_that_cannot_be_used_make_no_row(golds):
    with pytest.raises(ValueError, match=r"'nq-7': reward_model.ground_truth.target is "):
        make_row(Question("nq-7", "who", golds), "nq", "train", 0, "search_r1")


def rows_of_search_r1(target):
    """Rows as Search-R1's own scripts write them: no question in extra_info, columns of the set."""
    return [
        {
            "id": f"test_{number}",
            "question": f"who wrote book {number}?",
            "golden_answers": ["Bram Stoker"],
            "data_source": "nq",
            "prompt": build_prompt("search_r1", f"who wrote book {number}?"),
            "ability": "fact-reasoning",
            "reward_model": {"style": "rule", "ground_truth": {"target": target}},
            "extra_info": {"split": "test"},
        }
        for number in range(2)
    ]


def test_rows_of_search_r1_are_filled_in(tmp_path):
    path = tmp_path / "test.parquet"
    pq.write_table(pa.Table.from_pylist(rows_of_search_r1(["The", "Bram Stoker"])), path)
    extras = [row["extra_info"] for row in read_rows(path)]
    assert [extra["question"] for extra in extras] == ["who wrote book 0?", "who wrote book 1?"]
    assert [extra["index"] for extra in extras] == [0, 1]


def test_a_gold_answer_given_as_a_string_is_refused_where_rows_are_read(tmp_path):
    """Its letters would count: s for Paris."""
    path = tmp_path / "test.parquet"
    pq.write_table(pa.Table.from_pylist(rows_of_search_r1("Paris")), path)
    with pytest.raises(DataPrepError, match=r"row 0: .*target is 'Paris'; expected a list"):
        read_rows(path)


def test_a_file_without_questions_or_columns_is_refused(tmp_path):
    path = tmp_path / "test.parquet"
    rows = [{key: row[key] for key in row if key != "question"} for row in rows_of_search_r1(["x"])]
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(DataPrepError, match=r"row 0: there is no extra_info.question"):
        read_rows(path)
    pq.write_table(pa.table({"prompt": ["who?"]}), path)
    with pytest.raises(DataPrepError, match="has no column data_source, reward_model"):
        read_rows(path)


def test_unknown_prompt_lists_the_known_ones():
    check_prompt("search_r1")
    with pytest.raises(DataPrepError, match=r"unknown prompt 'nope'; choose one of: .*search_r1"):
        check_prompt("nope")


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_text("rows")
    with pytest.raises(DataPrepError, match=r"rows\.parquet is not a readable parquet file \("):
        read_rows(path)
