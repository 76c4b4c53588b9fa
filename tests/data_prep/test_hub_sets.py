import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import hotpotqa, nq
from data_prep.hub import load_hub_rows
from data_prep.nq import NQ
from data_prep.rows import SCHEMA, read_rows
from data_prep.steps import DataPrepError

ROWS = [
    {
        "id": "train_0",
        "question": "who wrote dracula",
        "golden_answers": ["Bram Stoker", " "],
        "metadata": {"type": "bridge"},
    },
    {"id": "train_1", "question": "where is mount fuji", "golden_answers": ["Japan"]},
    {"id": "train_2", "question": "Who wrote Dracula?", "golden_answers": ["Stoker"]},
]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_nq(*arguments):
    return nq.main([str(argument) for argument in arguments])


def test_local_jsonl_becomes_a_questions_file(tmp_path):
    source = write_jsonl(tmp_path / "nq.jsonl", ROWS)
    out = tmp_path / "out"
    assert run_nq("--input", source, "--out", out) == 0
    rows = read_rows(out / "train.parquet")
    assert pq.read_schema(out / "train.parquet").equals(SCHEMA)
    # The third question is the first one again.
    assert [row["extra_info"]["question"] for row in rows] == [row["question"] for row in ROWS[:2]]
    assert rows[0]["reward_model"]["ground_truth"]["target"] == ["Bram Stoker"]
    assert {row["data_source"] for row in rows} == {"nq"}
    assert rows[1]["extra_info"] | {"index": 1, "split": "train"} == rows[1]["extra_info"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["train.parquet"]["license"] == "CC-BY-SA-3.0"
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "train.parquet"]


def test_parquet_input_split_and_limit(tmp_path):
    source = tmp_path / "dev.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS[:2]), source)
    arguments = ["--input", source, "--split", "dev", "--limit", 1, "--out", tmp_path / "out"]
    arguments += ["--source", "hotpotqa"]
    assert hotpotqa.main([str(argument) for argument in arguments]) == 0
    (row,) = read_rows(tmp_path / "out" / "dev.parquet")
    assert row["data_source"] == "hotpotqa"
    assert row["extra_info"]["split"] == "dev"


def test_a_file_of_ones_own_is_not_called_by_the_sets_name(tmp_path, monkeypatch):
    monkeypatch.setenv("SEARCH_R1_ARTIFACTS", str(tmp_path))
    assert run_nq("--input", write_jsonl(tmp_path / "mine.jsonl", ROWS)) == 0
    out = tmp_path / "questions" / "mine"
    assert {row["data_source"] for row in read_rows(out / "train.parquet")} == {"mine"}
    written = json.loads((out / "manifest.json").read_text())["train.parquet"]
    assert (written["license"], written["attribution"]) == ("unknown", "Read from mine.jsonl.")


def test_excluded_test_questions_leave_train_and_other_files_stay(tmp_path):
    out = tmp_path / "out"
    test_file = write_jsonl(tmp_path / "test.jsonl", ROWS[:1])
    assert run_nq("--input", test_file, "--split", "test", "--out", out) == 0
    train_file = write_jsonl(tmp_path / "train.jsonl", ROWS)
    arguments = ["--input", train_file, "--out", out, "--exclude", out / "test.parquet"]
    assert run_nq(*arguments) == 0
    (row,) = read_rows(out / "train.parquet")
    assert row["extra_info"]["question"] == "where is mount fuji"
    assert (out / "test.parquet").exists()
    assert sorted(json.loads((out / "manifest.json").read_text())) == [
        "test.parquet",
        "train.parquet",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no question"),
        ('{"question": "a", "golden_answers": ["b"]}\n{"quest', "in.jsonl:2: not valid JSON"),
        ("[1]\n", "in.jsonl:1: a JSON list"),
        ('{"question": "a"}\n', "no column 'golden_answers' (columns: question)"),
        ('{"golden_answers": ["b"]}\n', "no column 'question'"),
        ('{"question": " ", "golden_answers": ["b"]}\n', "expected a non-empty string"),
        ('{"question": "a", "golden_answers": []}\n', "golden_answers is []"),
        ('{"question": "a", "golden_answers": "b"}\n', "golden_answers is 'b'"),
        ('{"question": "a", "golden_answers": null}\n', "golden_answers is None"),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(tmp_path, capsys, content, message):
    source = tmp_path / "in.jsonl"
    source.write_text(content)
    assert run_nq("--input", source, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_bad_arguments_are_one_clear_line(tmp_path, capsys):
    source = write_jsonl(tmp_path / "in.jsonl", ROWS)
    other = write_jsonl(tmp_path / "in.csv", ROWS)
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1")
    cases = {
        "no file at": ["--input", tmp_path / "missing.jsonl"],
        "expects .jsonl or .parquet": ["--input", other],
        "not a readable parquet file": ["--input", torn],
        "unknown prompt 'nope'": ["--input", source, "--prompt", "nope"],
        "--limit is 0": ["--input", source, "--limit", 0],
        "no questions file at": ["--input", source, "--exclude", tmp_path / "none.parquet"],
        "is not a questions file": ["--input", source, "--exclude", source],
    }
    for message, arguments in cases.items():
        assert run_nq(*arguments, "--out", tmp_path / "out") == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_failed_run_keeps_the_earlier_files(tmp_path):
    out = tmp_path / "out"
    assert run_nq("--input", write_jsonl(tmp_path / "a.jsonl", ROWS), "--out", out) == 0
    before = (out / "train.parquet").read_bytes()
    assert run_nq("--input", write_jsonl(tmp_path / "b.jsonl", []), "--out", out) == 1
    assert (out / "train.parquet").read_bytes() == before


def test_command_line_exits_with_1_and_no_traceback(run_module, tmp_path):
    finished = run_module("data_prep.nq", "--input", tmp_path / "none.jsonl", "--out", tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: no file at")
    assert "Traceback" not in finished.stderr


@pytest.fixture
def hub_copy(tmp_path, monkeypatch):
    """A folder laid out like the hub repository, which the datasets library can load."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    repo = tmp_path / "repo"
    (repo / "nq").mkdir(parents=True)
    write_jsonl(repo / "nq" / "train.jsonl", ROWS[1:])
    write_jsonl(repo / "nq" / "test.jsonl", ROWS[1:2])
    (repo / "README.md").write_text(
        "---\nconfigs:\n- config_name: nq\n  data_files:\n"
        "  - split: train\n    path: nq/train.jsonl\n"
        "  - split: test\n    path: nq/test.jsonl\n---\n"
    )
    return repo


def test_hub_repository_is_loaded_by_name_and_split(hub_copy):
    rows = list(load_hub_rows(NQ, "train", repo=str(hub_copy)))
    assert [row["golden_answers"] for row in rows] == [["Japan"], ["Stoker"]]


def test_missing_hub_split_says_what_to_do(hub_copy):
    with pytest.raises(DataPrepError, match=r"cannot load nq/dev from .*--input FILE"):
        list(load_hub_rows(NQ, "dev", repo=str(hub_copy)))


@pytest.mark.network
def test_real_hub_set_has_the_expected_columns(tmp_path):
    out = tmp_path / "out"
    assert run_nq("--split", "test", "--limit", 5, "--out", out) == 0
    assert len(read_rows(out / "test.parquet")) == 5
