"""Putting a new index in the place of another, also after a kill in the middle of it."""

import contextlib
import shutil

import pytest

from retriever.build import build_index
from retriever.errors import BuildError
from retriever.kinds import open_retriever


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
