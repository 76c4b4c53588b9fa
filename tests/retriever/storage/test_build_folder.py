"""The folder a build writes into: where it is, who may take it, what is left of it."""

import logging
import os
from pathlib import Path

import orjson
import pytest

from retriever.errors import BuildError, CorpusError
from retriever.storage import build_folder as module
from retriever.storage.build_folder import aside_of, build_folder, check_place
from retriever.storage.manifest import NAME as MANIFEST
from retriever.storage.manifest import PLAN
from retriever.storage.vectors import ENCODED

LOGGED = "retriever.storage.build_folder"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_index(folder, text):
    """Write what counts as an index."""
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(text)
    return folder


def build(folder, text="new", plan=None, is_replaced=False):
    with build_folder(folder, plan or {"kind": "x"}, is_replaced) as aside:
        (aside / MANIFEST).write_text(text)


def stop(folder, error, plan, left="done"):
    """Begin a build that an exception ends after it wrote a file."""
    with build_folder(folder, plan, False) as aside:
        (aside / left).touch()
        raise error


def test_the_index_is_built_aside_and_appears_whole(tmp_path):
    index = tmp_path / "deep" / "down" / "wiki"
    with build_folder(index, {"kind": "x", "at": 1}, False) as aside:
        assert aside == aside_of(index) == tmp_path / "deep" / "down" / ".wiki.building"
        assert not index.exists()
        assert orjson.loads((aside / PLAN).read_bytes()) == {"at": 1, "kind": "x"}
        (aside / "part").touch()
    assert names(tmp_path / "deep" / "down") == ["wiki"]
    assert names(index) == ["part"]


def test_a_relative_place_is_beside_the_index_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert aside_of(Path("wiki")) == tmp_path / ".wiki.building"


def test_the_folders_above_may_exist_already(tmp_path):
    build(tmp_path / "a")
    build(tmp_path / "b")
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_is_no_index_is_never_replaced(tmp_path, is_replaced):
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "letters.txt").touch()
    expected = "i is no index" if is_replaced else "already exists; pass --overwrite"
    with pytest.raises(BuildError, match=expected):
        check_place(tmp_path / "i", is_replaced)
    with pytest.raises(BuildError, match=expected):
        build(tmp_path / "i", is_replaced=is_replaced)
    assert names(tmp_path) == ["i"]


def test_an_index_is_replaced_only_when_asked(tmp_path):
    index = write_index(tmp_path / "i", "old")
    with pytest.raises(BuildError, match="already exists; pass --overwrite"):
        build(index)
    assert (index / MANIFEST).read_text() == "old"
    build(index, is_replaced=True)
    assert (index / MANIFEST).read_text() == "new"
    assert names(tmp_path) == ["i"]


def test_an_empty_folder_may_be_taken(tmp_path):
    (tmp_path / "i").mkdir()
    build(tmp_path / "i", is_replaced=True)
    assert (tmp_path / "i" / MANIFEST).read_text() == "new"


def test_the_old_index_stays_in_its_place_until_the_new_one_is_whole(tmp_path):
    index = write_index(tmp_path / "i", "old")
    with build_folder(index, {}, True):
        assert (index / MANIFEST).read_text() == "old"


def test_an_interrupted_build_goes_on_where_it_was(tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        stop(tmp_path / "i", KeyboardInterrupt(), {"a": 1, "b": 2})
    assert names(tmp_path) == [".i.building"]
    with (
        caplog.at_level(logging.INFO, LOGGED),
        build_folder(tmp_path / "i", {"b": 2, "a": 1}, False) as aside,
    ):
        assert (aside / "done").exists()
    assert "going on with the build that was interrupted" in caplog.text
    assert names(tmp_path / "i") == ["done"]


def test_a_build_of_something_else_starts_anew(tmp_path, caplog):
    with pytest.raises(OSError, match="full"):
        stop(tmp_path / "i", OSError("full"), {"a": 1})
    with build_folder(tmp_path / "i", {"a": 2}, False) as aside:
        assert names(aside) == [PLAN]
        assert orjson.loads((aside / PLAN).read_bytes()) == {"a": 2}
    assert "what was being built there is something else" in caplog.text


@pytest.mark.parametrize("error", [CorpusError("bad row"), ValueError("bad option")])
@pytest.mark.parametrize(("left", "kept"), [("done", []), (ENCODED, [".i.building"])])
def test_bad_input_leaves_nothing_unless_vectors_were_encoded(tmp_path, error, left, kept):
    with pytest.raises(type(error), match="bad"):
        stop(tmp_path / "i", error, {}, left)
    assert names(tmp_path) == kept


def test_two_builds_of_one_index_do_not_run_at_once(tmp_path):
    with build_folder(tmp_path / "i", {}, False) as aside:
        with pytest.raises(BuildError, match=r"another build of .*i is running \(.*building.lock"):
            build(tmp_path / "i")
        build(tmp_path / "j")
        assert aside.exists()
    assert names(tmp_path) == ["i", "j"]


def test_a_lock_file_that_was_replaced_while_it_was_opened_is_not_the_lock(tmp_path, monkeypatch):
    """The last holder may remove the file between a newcomer's open and its lock."""
    path = tmp_path / ".i.building.lock"
    locked = []

    def flock(file, operation):
        locked.append(os.fstat(file.fileno()).st_ino)
        if len(locked) == 1:
            path.unlink()
        elif len(locked) == 2:
            path.rename(tmp_path / "gone")
            path.touch()
        real(file, operation)

    real = module.fcntl.flock
    monkeypatch.setattr(module.fcntl, "flock", flock)
    with build_folder(tmp_path / "i", {}, False):
        assert len(locked) == 3
        assert path.stat().st_ino == locked[-1]
    (tmp_path / "gone").unlink()
    assert names(tmp_path) == ["i"]


def test_a_replacement_that_was_killed_before_its_end_is_tidied_up(tmp_path, caplog):
    write_index(tmp_path / "i", "new already")
    write_index(tmp_path / ".i.building-old", "old")
    build(tmp_path / "i", "newer", is_replaced=True)
    assert (tmp_path / "i" / MANIFEST).read_text() == "newer"
    assert names(tmp_path) == ["i"]
    assert caplog.text == ""


def test_an_index_that_a_killed_replacement_moved_away_is_put_back(tmp_path, caplog):
    write_index(tmp_path / ".i.building-old", "old")
    with pytest.raises(BuildError, match="already exists"):
        build(tmp_path / "i")
    assert (tmp_path / "i" / MANIFEST).read_text() == "old"
    assert names(tmp_path) == ["i"]
    assert "its replacement was interrupted" in caplog.text
