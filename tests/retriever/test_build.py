import contextlib
import json
import shutil
import signal

import pytest

from retriever.build import build_index
from retriever.errors import BadIndexError, BuildError, CorpusError
from retriever.kinds import open_retriever
from retriever.options import BuildOptions, OpenOptions


@pytest.fixture(scope="module")
def long_corpus(tmp_path_factory, write_corpus):
    rows = [{"id": str(n), "text": f"word{n} " + "many words " * 30} for n in range(60_000)]
    return write_corpus(tmp_path_factory.mktemp("long") / "corpus.jsonl", rows)


@pytest.fixture
def index_copy(tmp_path, bm25_index):
    return shutil.copytree(bm25_index, tmp_path / "copy")


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_two_builds_give_the_same_bytes(tmp_path, corpus_file, bm25_index):
    build_index(corpus_file, tmp_path / "again", "bm25")
    for path in bm25_index.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_manifest_lists_every_file(bm25_index):
    manifest = json.loads((bm25_index / "manifest.json").read_text())
    assert (manifest["kind"], manifest["passages"]) == ("bm25", 12)
    assert {*manifest["files"], "manifest.json"} == set(names(bm25_index))


def test_the_command_builds_and_says_so(tmp_path, corpus_file, run):
    status, stderr = run(
        "retriever.build", "--corpus", corpus_file, "--index", tmp_path / "i", "--kind", "bm25"
    )
    assert (status, names(tmp_path)) == (0, ["i"])
    assert "bm25 index of 12 passages" in stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--kind", "ball-tree"], "unknown index kind 'ball-tree'; choose one of: bm25, flat."),
        (["--kind", "flat"], "needs an encoder; give its folder with --encoder"),
        (["--kind", "flat", "--encoder", "nowhere"], "no sentence-transformers model at nowhere"),
        (["--kind", "bm25", "--batch-size", "0"], "batch_size is 0"),
        (["--kind", "bm25", "--threads", "0"], "threads is 0"),
        (["--kind", "bm25", "--corpus", "absent.jsonl"], "no corpus file at absent.jsonl"),
    ],
)
def test_the_command_fails_with_one_line_and_leaves_nothing(
    tmp_path, corpus_file, capsys, arguments, problem
):
    from retriever.build import main

    before = signal.getsignal(signal.SIGTERM)
    index = tmp_path / "i"
    status = main(["--corpus", str(corpus_file), "--index", str(index), *arguments])
    signal.signal(signal.SIGTERM, before)
    stderr = capsys.readouterr().err
    assert status == 2
    assert f"error: {problem}" in stderr or problem in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    assert names(tmp_path) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_build_leaves_nothing(tmp_path, long_corpus, start, wait_until, signum):
    process = start(
        "retriever.build", "--corpus", long_corpus, "--index", tmp_path / "i", "--kind", "bm25"
    )
    wait_until(lambda: names(tmp_path))
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 128 + signum
    assert "Traceback" not in stderr
    assert names(tmp_path) == []


def test_what_a_killed_build_left_is_removed_by_the_next(
    tmp_path, long_corpus, corpus_file, start, wait_until
):
    process = start(
        "retriever.build", "--corpus", long_corpus, "--index", tmp_path / "i", "--kind", "bm25"
    )
    wait_until(lambda: names(tmp_path))
    process.kill()
    process.communicate()
    assert names(tmp_path) == [f".i.building-{process.pid}"]
    build_index(corpus_file, tmp_path / "i", "bm25")
    assert names(tmp_path) == ["i"]


def test_an_existing_index_is_kept_unless_it_is_to_be_replaced(tmp_path, bm25_index, write_corpus):
    index = shutil.copytree(bm25_index, tmp_path / "i")
    corpus = write_corpus(tmp_path / "c.jsonl", [{"id": "new", "text": "Dublin"}])
    with pytest.raises(BuildError, match="already exists; pass --overwrite"):
        build_index(corpus, index, "bm25")
    bad = write_corpus(tmp_path / "bad.jsonl", [{"id": "new"}])
    with pytest.raises(CorpusError):
        build_index(bad, index, "bm25", is_replaced=True)
    with contextlib.closing(open_retriever(index)) as retriever:
        assert retriever.size == 12
    build_index(corpus, index, "bm25", is_replaced=True)
    with contextlib.closing(open_retriever(index)) as retriever:
        assert retriever.search(["dublin"], 3)[0][0].passage.id == "new"
    assert sorted(names(tmp_path)) == ["bad.jsonl", "c.jsonl", "i"]


def test_a_folder_that_is_no_index_is_never_replaced(tmp_path, corpus_file):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(BuildError, match="is no index, so it is not replaced"):
        build_index(corpus_file, tmp_path / "thesis", "bm25", BuildOptions(), is_replaced=True)
    assert names(tmp_path / "thesis") == ["chapter1.txt"]


def test_a_torn_file_is_refused(index_copy):
    path = index_copy / "passages.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadIndexError, match=r"passages\.jsonl has \d+ bytes, .*the file is torn"):
        open_retriever(index_copy)


def test_an_altered_file_is_refused(index_copy):
    path = index_copy / "data.csc.index.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadIndexError, match=r"data\.csc\.index\.npy has sha256 .*was altered"):
        open_retriever(index_copy)


def test_a_large_file_is_hashed_on_request_only(index_copy, monkeypatch):
    monkeypatch.setattr("retriever.manifest.FULL_CHECK_BYTES", 10)
    path = index_copy / "data.csc.index.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    open_retriever(index_copy).close()
    with pytest.raises(BadIndexError, match="was altered"):
        open_retriever(index_copy, OpenOptions(is_verified=True))


def test_a_missing_file_is_refused(index_copy):
    (index_copy / "vocab.index.json").unlink()
    with pytest.raises(BadIndexError, match=r"vocab\.index\.json is missing"):
        open_retriever(index_copy)


def test_a_folder_without_manifest_is_refused_with_the_command_to_build(tmp_path):
    with pytest.raises(BadIndexError, match=r"no index at .*python -m retriever\.build --corpus"):
        open_retriever(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format_version": 99}, "has format 99, this version reads 1"),
        ({"passages": 13}, "holds 12 passages, its manifest says 13"),
        ({"kind": "ball-tree"}, "unknown index kind 'ball-tree'"),
        ({"settings": {"analysis": "whitespace"}}, "splits words as 'whitespace'"),
        ({"files": 3}, "cannot be read"),
        ({"surplus": 3}, "cannot be read"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(index_copy, change, problem):
    path = index_copy / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadIndexError, match=problem):
        open_retriever(index_copy)
    path.write_text("{")
    with pytest.raises(BadIndexError, match="cannot be read"):
        open_retriever(index_copy)
