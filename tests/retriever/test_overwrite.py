"""Putting a new index in the place of another, also after a kill in the middle of it."""

import contextlib
import fcntl
import shutil
from pathlib import Path

import pytest

from retriever.build import build_index
from retriever.errors import BuildError
from retriever.indexes.kinds import open_retriever
from retriever.storage.build_folder import build_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def count_passages(index):
    with contextlib.closing(open_retriever(index)) as retriever:
        return retriever.size


@pytest.fixture
def new_corpus(tmp_path, write_corpus):
    return write_corpus(tmp_path / "c.jsonl", [{"id": "new", "text": "Dublin"}])


@pytest.mark.slow
def test_an_overwrite_that_was_killed_is_followed_by_one_that_works(
    tmp_path, bm25_index, new_corpus, start_held
):
    index = shutil.copytree(bm25_index, tmp_path / "i")
    command = ("--corpus", new_corpus, "--index", index, "--kind", "bm25", "--overwrite")
    process = start_held("retriever.build", "shutil:rmtree", *command)
    process.kill()
    process.communicate()
    assert names(tmp_path) == [".i.building-old", ".i.building.lock", "c.jsonl", "i"]
    build_index(new_corpus, index, "bm25", is_replaced=True)
    assert count_passages(index) == 1
    assert names(tmp_path) == ["c.jsonl", "i"]


def test_what_a_killed_overwrite_left_of_the_old_index_is_removed(tmp_path, bm25_index, new_corpus):
    for name in ("i", ".i.building-old"):
        shutil.copytree(bm25_index, tmp_path / name)
    build_index(new_corpus, tmp_path / "i", "bm25", is_replaced=True)
    assert count_passages(tmp_path / "i") == 1
    assert names(tmp_path) == ["c.jsonl", "i"]


def test_an_index_that_a_killed_overwrite_had_moved_away_is_put_back(
    tmp_path, bm25_index, new_corpus
):
    shutil.copytree(bm25_index, tmp_path / ".i.building-old")  # killed between the two renames
    with pytest.raises(BuildError, match="already exists; pass --overwrite"):
        build_index(new_corpus, tmp_path / "i", "bm25")
    assert count_passages(tmp_path / "i") == 12
    assert names(tmp_path) == ["c.jsonl", "i"]


def test_the_old_index_is_put_back_when_the_new_one_cannot_take_its_place(
    tmp_path, bm25_index, new_corpus, monkeypatch
):
    index = shutil.copytree(bm25_index, tmp_path / "i")
    rename = Path.rename

    def refuse(self, target):
        if self.name == ".i.building":
            raise OSError("no such luck")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no such luck"):
        build_index(new_corpus, index, "bm25", is_replaced=True)
    assert names(tmp_path) == [".i.building", "c.jsonl", "i"]
    assert count_passages(index) == 12
    monkeypatch.undo()
    build_index(new_corpus, index, "bm25", is_replaced=True)  # what was built is still there
    assert count_passages(index) == 1
    assert names(tmp_path) == ["c.jsonl", "i"]


def test_an_empty_folder_is_no_obstacle_to_an_overwrite(tmp_path, new_corpus):
    (tmp_path / "i").mkdir()
    build_index(new_corpus, tmp_path / "i", "bm25", is_replaced=True)
    assert count_passages(tmp_path / "i") == 1


def fail_to_build(folder, error, **files):
    with build_folder(folder, {"kind": "bm25", "corpus": 7}, is_replaced=False) as aside:
        for name, content in files.items():
            (aside / name.replace("_", ".")).write_text(content)
        raise error


@pytest.mark.parametrize("error", [BuildError("bad"), ValueError("bad")])
def test_bad_input_leaves_nothing_unless_vectors_were_encoded(tmp_path, error):
    with pytest.raises(type(error), match="bad"):
        fail_to_build(tmp_path / "i", error)
    assert names(tmp_path) == []
    with pytest.raises(type(error), match="bad"):
        fail_to_build(tmp_path / "i", error, encoded_f32="")
    assert names(tmp_path) == [".i.building"]


def test_a_build_of_the_same_goes_on_and_forgets_what_was_half_written(tmp_path, caplog):
    caplog.set_level("INFO", logger="retriever")
    with pytest.raises(OSError, match="full"):
        fail_to_build(tmp_path / "i", OSError("full"), whole="kept", a_part="half", b_part="half")
    assert names(tmp_path) == [".i.building"]
    with build_folder(tmp_path / "i", {"corpus": 7, "kind": "bm25"}, False) as aside:
        assert names(aside) == ["build.json", "whole"]
    assert "going on with the build that was interrupted" in caplog.text
    assert names(tmp_path / "i") == ["whole"]
    assert names(tmp_path) == ["i"]


def test_an_index_in_a_folder_that_is_not_there_yet_is_built(tmp_path):
    with build_folder(tmp_path / "a" / "b" / "i", {}, False):
        pass
    assert names(tmp_path / "a" / "b") == ["i"]


def test_a_lock_file_that_was_replaced_while_it_was_opened_is_not_taken_for_the_lock(
    tmp_path, monkeypatch
):
    flock, calls = fcntl.flock, []

    def replace_first(file, operation):
        calls.append(operation)
        if len(calls) == 1:  # its last holder removes it, another takes a new one
            (tmp_path / ".i.building.lock").unlink()
            (tmp_path / ".i.building.lock").touch()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    with build_folder(tmp_path / "i", {}, False):
        assert (tmp_path / ".i.building.lock").exists()
    assert calls == [fcntl.LOCK_EX | fcntl.LOCK_NB] * 2
