import contextlib
import fcntl
import json
import resource
import shutil
import signal
from dataclasses import fields

import pytest

from retriever.build import build_index, main
from retriever.build_options import parse_arguments, read_options
from retriever.errors import BadIndexError, BuildError, CorpusError
from retriever.indexes.kinds import open_retriever
from retriever.options import BuildOptions, OpenOptions


@pytest.fixture(scope="module")
def long_corpus(tmp_path_factory, write_corpus):
    rows = [{"id": str(n), "text": f"word{n} " + "many words " * 30} for n in range(25_000)]
    return write_corpus(tmp_path_factory.mktemp("long") / "corpus.jsonl", rows)


@pytest.fixture
def index_copy(tmp_path, bm25_index):
    return shutil.copytree(bm25_index, tmp_path / "copy")


def run_main(arguments):
    """Run the command in this process, without its handler of SIGTERM afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        return main(arguments)
    finally:
        signal.signal(signal.SIGTERM, before)


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


@pytest.mark.slow
def test_the_command_builds_and_says_so(tmp_path, corpus_file, run):
    status, stderr = run(
        "retriever.build", "--corpus", corpus_file, "--index", tmp_path / "i", "--kind", "bm25"
    )
    assert (status, names(tmp_path)) == (0, ["i"])
    assert "bm25 index of 12 passages" in stderr
    assert "\r" not in stderr
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--kind", "ball-tree"], "unknown index kind 'ball-tree'; choose one of: bm25, flat,"),
        (["--kind", "flat"], "needs an encoder; give its folder with --encoder"),
        (["--kind", "flat", "--encoder", "nowhere"], "no sentence-transformers model at nowhere"),
        (["--kind", "bm25", "--ray"], "--ray encodes vectors, and no encoder was given"),
        (["--kind", "bm25", "--batch-size", "0"], "batch_size is 0"),
        (["--kind", "bm25", "--threads", "0"], "threads is 0"),
        (["--kind", "bm25", "--corpus", "absent.jsonl"], "no corpus file at absent.jsonl"),
    ],
)
def test_the_command_fails_with_one_line_and_leaves_nothing(
    tmp_path, corpus_file, capsys, arguments, problem
):
    index = tmp_path / "i"
    status = run_main(["--corpus", str(corpus_file), "--index", str(index), *arguments])
    stderr = capsys.readouterr().err
    assert status == 2
    assert f"error: {problem}" in stderr or problem in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    assert names(tmp_path) == []


@pytest.mark.slow
def test_a_killed_build_goes_on_to_the_same_bytes(tmp_path, long_corpus, start_held):
    build_index(long_corpus, tmp_path / "whole", "bm25")
    command = ("--corpus", long_corpus, "--index", tmp_path / "i", "--kind", "bm25")
    # The passages are finished, their words are counted.
    process = start_held("retriever.build", "retriever.indexes.bm25:write_scores", *command)
    assert (tmp_path / ".i.building" / "counts.part").exists()
    read = (tmp_path / ".i.building" / "passages.rank.npy").stat().st_mtime_ns
    process.kill()
    process.communicate()
    assert sorted(names(tmp_path)) == [".i.building", ".i.building.lock", "whole"]
    build_index(long_corpus, tmp_path / "i", "bm25")
    assert sorted(names(tmp_path)) == ["i", "whole"]
    assert (tmp_path / "i" / "passages.rank.npy").stat().st_mtime_ns == read
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "i" / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_another_build_left_is_not_used(tmp_path, corpus_file, caplog):
    left = tmp_path / ".i.building"
    left.mkdir()
    (left / "build.json").write_text("{}")
    (left / "passages.rank.npy").write_text("of another corpus")
    build_index(corpus_file, tmp_path / "i", "bm25")
    assert names(tmp_path) == ["i"]
    assert "what was being built there is something else" in caplog.text
    open_retriever(tmp_path / "i").close()


def test_two_builds_of_one_index_keep_apart(tmp_path, corpus_file):
    with (tmp_path / ".i.building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BuildError, match=r"another build of .* is running"):
            build_index(corpus_file, tmp_path / "i", "bm25")
    build_index(corpus_file, tmp_path / "i", "bm25")
    assert names(tmp_path) == ["i"]


@contextlib.contextmanager
def files_up_to(size):
    """Let no file of this process grow further: writing then fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# capsys keeps what is printed in memory: pytest's own file could not grow either.
@pytest.mark.usefixtures("capsys")
@pytest.mark.parametrize("size", [100, 200, 1_000, 1_650])
def test_a_full_disk_is_an_error_and_the_build_goes_on_later(
    tmp_path, bm25_index, corpus_file, size
):
    # The first file that is too large: plan, offsets, passages, vocabulary.
    with files_up_to(size), pytest.raises(OSError, match=r"File too large|requested and"):
        build_index(corpus_file, tmp_path / "i", "bm25")
    assert names(tmp_path) == [".i.building"]
    build_index(corpus_file, tmp_path / "i", "bm25")
    assert names(tmp_path) == ["i"]
    for path in bm25_index.iterdir():
        assert (tmp_path / "i" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
def test_a_full_disk_keeps_the_vectors(tmp_path, write_corpus, encoder_folder, capsys):
    corpus = write_corpus(
        tmp_path / "c.jsonl", [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}]
    )
    command = ["--corpus", str(corpus), "--encoder", str(encoder_folder), "--kind", "flat"]
    assert run_main([*command, "--index", str(tmp_path / "whole")]) == 0
    with files_up_to(1_000):  # room for everything but the manifest
        assert run_main([*command, "--index", str(tmp_path / "i")]) == 2
    encoded = tmp_path / ".i.building" / "encoded.f32"
    written = encoded.stat().st_mtime_ns
    assert "run the same command again to go on" in capsys.readouterr().err
    assert run_main([*command, "--index", str(tmp_path / "i")]) == 0
    assert (tmp_path / "i" / "encoded.f32").stat().st_mtime_ns == written
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "i" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
def test_a_dense_build_killed_while_encoding_goes_on_to_the_same_bytes(
    tmp_path, long_corpus, encoder_folder, start_held
):
    rows = long_corpus.read_text().splitlines(keepends=True)[:2_500]
    corpus = tmp_path / "c.jsonl"
    corpus.write_text("".join(rows))
    options = BuildOptions(encoder=encoder_folder)
    build_index(corpus, tmp_path / "whole", "flat", options)
    index, encoded = tmp_path / "i", tmp_path / ".i.building" / "encoded.f32"
    command = ["--corpus", corpus, "--index", index, "--kind", "flat", "--encoder", encoder_folder]
    process = start_held(
        "retriever.build", "retriever.encoders.encode:encode_chunk", *command, after=2
    )
    process.kill()
    process.communicate()
    left = encoded.stat().st_size
    assert 0 < left < 2_500 * 128
    build_index(corpus, index, "flat", options)
    for path in (tmp_path / "whole").iterdir():
        assert (index / path.name).read_bytes() == path.read_bytes(), path.name


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
    monkeypatch.setattr("retriever.storage.manifest.FULL_CHECK_BYTES", 10)
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
        ({"format_version": 99}, "has format 99, this version reads 2"),
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


def test_every_option_of_a_build_has_a_flag():
    command = ["--corpus", "c", "--index", "i"]
    assert read_options(parse_arguments(command, None)) == BuildOptions()
    command += ["--devices", "cuda:0, cuda:1", "--encoder", "e", "--refine", "fp16", "--seed", "3"]
    command += ["--encoder-preset", "dpr", "--pooling", "cls", "--nlist", "9", "--pq-bytes", "8"]
    command += ["--query-prefix", "q", "--passage-prefix", "p", "--batch-size", "7"]
    command += ["--threads", "2", "--precision", "sq8", "--hnsw-m", "5", "--ef-construction", "6"]
    options = read_options(parse_arguments(command, None))
    assert options.devices == ("cuda:0", "cuda:1")
    unchanged = [f.name for f in fields(options) if getattr(options, f.name) == f.default]
    assert unchanged == []
