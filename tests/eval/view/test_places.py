"""What a path stands for, and which tokenizer belongs to it."""

import gzip
import json
import re

import pytest

from data_prep.steps import DataPrepError
from eval.view.places import find_places, find_tokenizer, fragment_of, unpack
from tests.eval.view.conftest import record_of, write_lines


def names(*paths):
    return [place.name for place in find_places(list(paths))]


def test_a_folder_of_results_is_one_run_for_each_result(results):
    write_lines(results / "questions.jsonl", [{"question": "no trajectory"}])
    assert names(results) == ["one.search.greedy", "two.search.greedy"]


def test_a_training_run_is_its_steps_and_its_results(run_dir):
    write_lines(run_dir / "eval" / "step_000002.jsonl", [record_of("v")])
    write_lines(run_dir / "eval" / "trained.search.greedy.jsonl", [record_of("e")])
    write_lines(run_dir / "metrics.jsonl", [{"step": 1}])
    assert names(run_dir) == [
        "2026-11-30 training",
        "2026-11-30 validation",
        "trained.search.greedy",
    ]


def test_a_run_that_has_trained_no_step_yet_is_waited_for(tmp_path):
    (tmp_path / "trajectories").mkdir()
    (place,) = find_places([tmp_path])
    assert place.files() == []
    write_lines(tmp_path / "trajectories" / "step_000001.jsonl", [record_of("a")])
    assert len(place.files()) == 1


def test_results_of_one_name_are_told_apart_by_their_folders(results, tmp_path):
    other = write_lines(tmp_path / "b" / "one.search.greedy.jsonl", [record_of("x")])
    found = names(results / "one.search.greedy.jsonl", other, other)
    assert found == [f"{tmp_path.name}/{folder}/one.search.greedy" for folder in ("results", "b")]


def test_a_file_whose_name_is_a_pattern_is_itself(tmp_path):
    write_lines(tmp_path / "a1.jsonl", [record_of("x")])
    path = write_lines(tmp_path / "a[1].jsonl", [record_of("y")])
    assert find_places([path])[0].files() == [path]


@pytest.mark.parametrize(
    ("name", "words"),
    [("absent", "there is nothing at {}; expected a results folder"), (".", "{} holds no traj")],
)
def test_what_holds_no_trajectories_is_refused(tmp_path, name, words):
    with pytest.raises(DataPrepError, match=re.escape(words.format(tmp_path / name))):
        find_places([tmp_path / name])


def test_a_fragment_keeps_what_a_uid_may_hold():
    assert fragment_of("a/b.search", "nq/1?#") == "a%2Fb.search/nq/1%3F%23"


def test_the_tokenizer_is_the_one_of_the_model_that_the_result_or_the_run_names(results, run_dir):
    (place, _) = find_places([results])
    assert find_tokenizer(place) == (
        None,
        "tokens need the tokenizer, and no model is named; give --tokenizer DIR",
    )
    model = results / "model"
    manifest = results / "one.search.greedy.json"
    manifest.write_text(json.dumps({"model": str(model)}))
    assert f"the model's folder ({model}) holds none" in find_tokenizer(place)[1]
    model.mkdir()
    (model / "tokenizer.json").write_text("{}")
    assert find_tokenizer(place) == (model / "tokenizer.json", "")
    config = f"actor_rollout_ref:\n  model:\n    path: {model}\n"
    (run_dir / "config.yaml").write_text(config)
    (steps,) = find_places([run_dir])
    assert find_tokenizer(steps) == (model / "tokenizer.json", "")


def test_packed_results_are_unpacked_with_their_manifests(tmp_path):
    kept, into = tmp_path / "seed-1", tmp_path / "unpacked"
    kept.mkdir(), into.mkdir()
    line = json.dumps(record_of("x")).encode() + b"\n"
    (kept / "a.search.greedy.jsonl.gz").write_bytes(gzip.compress(line))
    (kept / "a.search.greedy.json").write_text("{}")
    assert names(unpack(kept, into)) == ["a.search.greedy"]
    one = unpack(kept / "a.search.greedy.jsonl.gz", into)
    assert (one.read_bytes(), one.with_suffix(".json").read_text()) == (line, "{}")
    assert unpack(tmp_path, into) == tmp_path, "a folder without any is itself"


def test_a_packed_result_that_is_torn_is_named(tmp_path):
    torn = tmp_path / "a.search.greedy.jsonl.gz"
    torn.write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    with pytest.raises(DataPrepError, match=r"a\.search\.greedy\.jsonl\.gz cannot be unpacked"):
        unpack(torn, tmp_path)
