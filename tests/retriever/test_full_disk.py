"""A disk that is really full: an error and never a signal, and the build goes on later."""

import contextlib
import errno
import json
import os
import shutil
import subprocess

import faiss
import numpy as np
import pytest

from retriever.adopt import adopt_index
from retriever.build import build_index
from retriever.encoders.encoder import Encoder
from retriever.indexes.ann_build import write_faiss
from retriever.indexes.kinds import open_retriever
from retriever.options import BuildOptions
from retriever.storage.files import save_array, write_whole
from retriever.storage.vectors import open_stored, store_vectors

PAGE = os.sysconf("SC_PAGE_SIZE")
ROWS = np.random.default_rng(0).standard_normal((4_000, 8), dtype=np.float32)  # 31 pages


class SmallDisk:
    """A file system of some pages, in memory."""

    def __init__(self, folder):
        self.folder, self.pages = folder, 1
        self._mount("-t", "tmpfs", "tmpfs")

    def _mount(self, *arguments):
        command = ["mount", "-o", f"size={self.pages * PAGE}", *arguments, str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")

    def grow(self, pages):
        self.pages += pages
        self._mount("-o", "remount")


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    if not shutil.which("mount"):
        pytest.skip("a small file system cannot be mounted here: there is no mount")
    small = SmallDisk(folder)
    yield small
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("precision", ["fp16", "bf16", "sq8"])
def test_vectors_without_room_are_an_error_and_never_half_there(disk, precision):
    disk.grow(3)
    with pytest.raises(OSError, match="No space left on device"):
        store_vectors(ROWS, disk.folder, precision)
    assert f"vectors.{precision}.npy" not in names(disk.folder)
    disk.grow(20)
    store_vectors(ROWS, disk.folder, precision)
    assert open_stored(disk.folder, precision, 4_000, 8).size == 4_000


def test_an_array_is_not_cut_short_by_its_last_bytes(disk):
    with pytest.raises(OSError, match="No space left on device"):
        save_array(disk.folder / "a.npy", np.arange(PAGE // 8))  # a page and the header
    disk.grow(1)
    save_array(disk.folder / "a.npy", np.arange(PAGE // 8))
    assert (np.load(disk.folder / "a.npy") == np.arange(PAGE // 8)).all()
    assert names(disk.folder) == ["a.npy"]


def test_a_file_without_room_keeps_what_was_there(disk):
    path = disk.folder / "vectors.json"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_faiss_file_without_room_is_not_there(disk):
    index = faiss.IndexFlatIP(8)
    index.add(ROWS)
    path = disk.folder / "vectors.faiss"
    while disk.pages < -(-ROWS.nbytes // PAGE):  # also without room for the last bytes only
        with pytest.raises(OSError, match="No space left on device"):
            write_faiss(index, path)
        assert not path.exists()
        disk.grow(5)
    disk.grow(5)
    write_faiss(index, path)
    assert faiss.read_index(str(path)).ntotal == 4_000


def build_on(disk, build):
    """Build with ever more room until it fits; gives how often it did not."""
    for failures in range(100):
        try:
            build()
            return failures
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        disk.grow(1)
    pytest.fail(f"it does not fit into {disk.pages} pages either")


@pytest.mark.parametrize(
    ("kind", "choices", "passages", "pages"),
    [
        ("bm25", {}, 300, 1),
        pytest.param("flat", {"precision": "fp16"}, 12, 1, marks=pytest.mark.slow),
        # The first pages are those of the passages and their vectors.
        pytest.param("ivfpq", {"nlist": 2, "pq_bytes": 2}, 300, 17, marks=pytest.mark.slow),
    ],
)
def test_a_build_goes_on_from_every_place_where_the_disk_was_full(
    disk, tmp_path, write_corpus, encoder_folder, kind, choices, passages, pages
):
    rows = [{"id": str(n), "text": f"text {n}"} for n in range(passages)]
    corpus = write_corpus(tmp_path / "c.jsonl", rows)
    options = BuildOptions(encoder=None if kind == "bm25" else encoder_folder, **choices)
    build_index(corpus, tmp_path / "whole", kind, options)
    index = disk.folder / "i"
    disk.grow(pages)
    assert build_on(disk, lambda: build_index(corpus, index, kind, options)) >= 6
    assert names(disk.folder) == ["i"]
    assert names(index) == names(tmp_path / "whole")
    for path in index.iterdir():
        here, there = path.read_bytes(), (tmp_path / "whole" / path.name).read_bytes()
        if path.name in ("manifest.json", "vectors.json"):  # the way to the encoder differs
            here, there = (json.loads(part).keys() for part in (here, there))
        assert here == there, path.name


def test_an_adoption_goes_on_when_there_is_room(disk, tmp_path, corpus_file, encoder_folder):
    texts = [json.loads(line) for line in corpus_file.read_text().splitlines()]
    passages = [f'"{row["title"]}"\n{row["text"]}' for row in texts]
    index = faiss.IndexFlatIP(32)
    index.add(Encoder(encoder_folder).encode_passages(passages))
    faiss.write_index(index, str(tmp_path / "theirs.index"))
    options = BuildOptions(encoder=encoder_folder)

    def adopt():
        adopt_index(tmp_path / "theirs.index", corpus_file, disk.folder / "i", options)

    assert build_on(disk, adopt) >= 5
    with contextlib.closing(open_retriever(disk.folder / "i")) as retriever:
        assert retriever.size == 12
