import contextlib
import json
import os

import faiss
import numpy as np
import pytest

from retriever.adopt import SAMPLES, _pick_samples, adopt_index, main
from retriever.encoders.encoder import Encoder
from retriever.errors import BuildError
from retriever.indexes.kinds import open_retriever
from retriever.options import BuildOptions
from retriever.storage.passages import PassageStore, write_store


@pytest.fixture(scope="module")
def passage_vectors(encoder_folder, tiny_passages):
    texts = [f'"{row["title"]}"\n{row["text"]}' for row in tiny_passages]
    return Encoder(encoder_folder, passage_prefix="passage: ").encode_passages(texts)


@pytest.fixture
def options(encoder_folder):
    return BuildOptions(encoder=encoder_folder, query_prefix="query: ", passage_prefix="passage: ")


def write(index, vectors, path):
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(path))
    return path


def make(factory, vectors, path, metric=faiss.METRIC_INNER_PRODUCT):
    return write(faiss.index_factory(vectors.shape[1], factory, metric), vectors, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factory", "kind"), [("Flat", "flat"), ("IVF2,Flat", "ivf"), ("HNSW4", "hnsw")]
)
@pytest.mark.parametrize("metric", [faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2])
def test_an_adopted_file_is_searched_like_a_built_index(
    tmp_path, corpus_file, passage_vectors, options, tiny_passages, factory, kind, metric
):
    path = make(factory, passage_vectors, tmp_path / "theirs.index", metric)
    manifest = adopt_index(path, corpus_file, tmp_path / "i", options)
    assert (manifest.kind, manifest.passages) == (kind, 12)
    with contextlib.closing(open_retriever(tmp_path / "i")) as retriever:
        [hits] = retriever.search([tiny_passages[3]["text"]], 12)
    facts = json.loads((tmp_path / "i" / "manifest.json").read_text())["settings"]["encoder"]
    assert (facts["query_prefix"], facts["passage_prefix"]) == ("query: ", "passage: ")
    query = Encoder(options.encoder, "query: ").encode_queries([tiny_passages[3]["text"]])[0]
    exact = passage_vectors.astype(np.float64) @ query
    order = [tiny_passages[at]["id"] for at in np.argsort(-exact)]
    assert [hit.passage.id for hit in hits] == order
    assert [hit.score for hit in hits] == pytest.approx(sorted(exact, reverse=True), abs=1e-6)


def test_the_file_is_linked_or_else_copied(
    tmp_path, corpus_file, passage_vectors, options, monkeypatch, caplog
):
    caplog.set_level("INFO", logger="retriever")
    path = make("Flat", passage_vectors, tmp_path / "e5_Flat.index")
    adopt_index(path, corpus_file, tmp_path / "linked", options)
    assert (tmp_path / "linked" / "vectors.faiss").samefile(path)
    assert "was linked, not copied" in caplog.text

    def refuse(source, target):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    adopt_index(path, corpus_file, tmp_path / "copied", options)
    copied = tmp_path / "copied" / "vectors.faiss"
    assert not copied.samefile(path)
    assert copied.read_bytes() == path.read_bytes()
    assert "was copied" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda rows: rows[:-1], "number of rows .* is 11, the corpus's is 12"),
        (lambda rows: rows[:, :16], "dimension .* is 16, the encoder's is 32"),
        (lambda rows: rows[::-1], "median cosine of .* with their rows"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path, corpus_file, passage_vectors, options, spoil, problem
):
    rows = np.ascontiguousarray(spoil(passage_vectors))
    path = make("Flat", rows, tmp_path / "theirs.index")
    with pytest.raises(BuildError, match=problem):
        adopt_index(path, corpus_file, tmp_path / "i", options)
    assert [left.name for left in tmp_path.iterdir()] == ["theirs.index"]


def test_another_encoder_or_prefix_is_noticed(
    tmp_path, corpus_file, passage_vectors, encoder_folder, write_encoder
):
    path = make("Flat", passage_vectors, tmp_path / "theirs.index")
    without_prefix = BuildOptions(encoder=encoder_folder)
    with pytest.raises(BuildError, match=r"passage prefix '' have a median cosine"):
        adopt_index(path, corpus_file, tmp_path / "i", without_prefix)
    other = write_encoder(tmp_path / "other", seed=3)
    with pytest.raises(BuildError, match=r"encoded with model .*Give the encoder"):
        adopt_index(path, corpus_file, tmp_path / "i", BuildOptions(encoder=other))


@pytest.mark.parametrize("given", ["", "query: ", "something else: "])
def test_a_wrong_prefix_is_noticed_where_it_changes_little(
    tmp_path, corpus_file, passage_vectors, encoder_folder, monkeypatch, given
):
    monkeypatch.setattr("retriever.adopt._LEAST_COSINE", 0.1)  # as if every passage were long
    path = make("Flat", passage_vectors, tmp_path / "theirs.index")
    options = BuildOptions(encoder=encoder_folder, passage_prefix=given)
    fits = r"with prefix 'passage: ', which fits better for \d+ of them.*--passage-prefix 'pass"
    with pytest.raises(BuildError, match=fits):
        adopt_index(path, corpus_file, tmp_path / "i", options)


@pytest.mark.parametrize("factory", ["IVF2,SQfp16", "IVF2,SQ8", "IVF2,PQ8x4"])
def test_the_right_prefix_is_accepted_of_rounded_rows(
    tmp_path, corpus_file, passage_vectors, options, factory, monkeypatch
):
    monkeypatch.setattr("retriever.adopt._LEAST_COSINE_PQ", 0.1)  # of 12 rows it learns little
    many = np.tile(passage_vectors, (30, 1))
    index = faiss.index_factory(32, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(many)
    index.add(passage_vectors)
    faiss.write_index(index, str(tmp_path / "theirs.index"))
    assert (
        adopt_index(tmp_path / "theirs.index", corpus_file, tmp_path / "i", options).kind == "ivf"
    )


def test_half_of_the_samples_are_short_and_each_is_taken_once(tmp_path, write_corpus):
    rows = [{"id": str(n), "text": "word " * (1 + (n * 7) % 500)} for n in range(500)]
    write_store(write_corpus(tmp_path / "c.jsonl", rows), tmp_path)
    with contextlib.closing(PassageStore(tmp_path)) as store:
        picked = _pick_samples(store)
        lengths = sorted(len(store[at].text.split()) for at in picked.tolist())
    assert len(set(picked.tolist())) == SAMPLES
    assert (np.diff(picked) > 0).all()
    assert lengths[SAMPLES // 2 - 1] < 40
    assert lengths[-1] > 200


def test_rows_of_different_lengths_are_no_l2_index(tmp_path, corpus_file, passage_vectors, options):
    longer = passage_vectors * np.linspace(1, 2, 12, dtype=np.float32)[:, None]
    path = make("Flat", longer, tmp_path / "theirs.index", faiss.METRIC_L2)
    with pytest.raises(BuildError, match=r"lengths from 1\.000 to 2\.000; expected inner product"):
        adopt_index(path, corpus_file, tmp_path / "i", options)


@pytest.mark.slow
def test_the_command_says_what_is_wrong(
    tmp_path, corpus_file, passage_vectors, encoder_folder, capsys
):
    rest = ["--corpus", corpus_file, "--encoder", encoder_folder, "--index", tmp_path / "i"]

    def adopt(path, *more):
        return main([*map(str, ("--faiss", path, *rest, *more))])

    assert adopt(tmp_path / "absent.index") == 2
    assert "no FAISS file at" in capsys.readouterr().err
    (tmp_path / "torn.index").write_bytes(b"IxFI" + bytes(20))
    assert adopt(tmp_path / "torn.index") == 2
    assert "is no FAISS index" in capsys.readouterr().err
    assert adopt(make("PCA8,Flat", passage_vectors, tmp_path / "pca.index")) == 2
    assert "expected a flat, IVF or HNSW index" in capsys.readouterr().err
    good = make("Flat", passage_vectors, tmp_path / "good.index")
    assert adopt(good, "--passage-prefix", "passage: ") == 0
    assert adopt(good, "--passage-prefix", "passage: ") == 2
    assert "already exists; pass --overwrite" in capsys.readouterr().err
    assert adopt(good, "--passage-prefix", "passage: ", "--overwrite") == 0
