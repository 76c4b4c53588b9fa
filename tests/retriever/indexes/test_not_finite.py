"""NaN and infinite numbers are refused where they come in; they never mean "nothing found"."""

import contextlib
import json
import shutil
from dataclasses import replace

import faiss
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from retriever.adopt import adopt_index
from retriever.build import build_index
from retriever.encoders.encoder import Encoder
from retriever.errors import BadIndexError, EncodingError
from retriever.indexes.dense import check_vectors, open_vectors
from retriever.indexes.flat import FlatIndex
from retriever.indexes.kinds import open_retriever
from retriever.options import BuildOptions, OpenOptions
from retriever.storage.manifest import read_manifest, write_manifest
from retriever.storage.vectors import ENCODED, StoredVectors, measure_rows, store_vectors

ROWS = np.random.default_rng(0).standard_normal((9_000, 4), dtype=np.float32)


@pytest.fixture(scope="module")
def broken_encoder(encoder_folder, tmp_path_factory):
    """An encoder whose vectors of texts with the letter z hold NaN."""
    folder = shutil.copytree(encoder_folder, tmp_path_factory.mktemp("broken") / "model")
    [path] = folder.rglob("model.safetensors")
    weights = load_file(path)
    [name] = [name for name in weights if name.endswith("word_embeddings.weight")]
    letters = next(folder.rglob("tokenizer.json")).read_text()
    known = json.loads(letters)["model"]["vocab"]
    weights[name][[known["z"], known["##z"]]] = torch.nan
    save_file(weights, path, {"format": "pt"})
    return folder


def spoil(rows, place, value):
    spoilt = rows.copy()
    spoilt[place] = value
    return spoilt


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (8_999, 3)])
def test_measuring_rows_refuses_one_that_is_not_finite(place, value):
    rows = StoredVectors(spoil(ROWS, place, value), "fp32")
    with pytest.raises(BadIndexError, match=f"vector of passage {place[0]}, counted from 0, holds"):
        measure_rows(rows)


def test_numbers_too_large_for_half_precision_are_refused(tmp_path):
    store_vectors(spoil(ROWS, (8_500, 1), 7e4), tmp_path, "fp16")
    settings = {"precision": "fp16", "dimension": 4}
    with pytest.raises(BadIndexError, match=r"passage 8500, .*fp32 or bf16 if numbers over 65,504"):
        check_vectors(tmp_path, "flat", settings, np.arange(9_000))


@pytest.mark.parametrize("factory", ["IVF4,Flat", "IVF4,SQfp16", "HNSW4"])
def test_an_approximate_index_is_read_whole_when_it_is_made(tmp_path, factory):
    index = faiss.index_factory(4, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(ROWS)
    index.add(spoil(ROWS, (8_500, 1), 7e4 if "SQ" in factory else np.nan))
    faiss.write_index(index, str(tmp_path / "vectors.faiss"))
    kind = "hnsw" if factory == "HNSW4" else "ivf"
    settings = {"nprobe": 4, "ef_search": 16}
    with pytest.raises(BadIndexError, match=r"vector of passage 8500|no vector .* 8192 to 8999"):
        check_vectors(tmp_path, kind, settings, np.arange(9_000))


def test_an_index_that_does_not_say_it_was_checked_is_read_once_when_opened(tmp_path):
    spoil(ROWS, 17, np.nan).tofile(tmp_path / ENCODED)
    facts = {"precision": "fp32", "dimension": 4, "max_norm": 9.0, "bf16_error": 1.0}
    with pytest.raises(BadIndexError, match="vector of passage 17"):
        open_vectors(tmp_path, "flat", facts, np.arange(9_000), OpenOptions())
    ROWS.tofile(tmp_path / ENCODED)
    checked = check_vectors(tmp_path, "flat", facts, np.arange(9_000))
    assert checked == facts | {"is_finite": True}


def test_a_checked_index_is_not_read_again(tmp_path, monkeypatch):
    ROWS.tofile(tmp_path / ENCODED)
    facts = {"precision": "fp32", "dimension": 4, "max_norm": 9.0, "bf16_error": 1.0}
    checked = check_vectors(tmp_path, "flat", facts, np.arange(9_000))
    monkeypatch.setattr(StoredVectors, "read", None)
    open_vectors(tmp_path, "flat", checked, np.arange(9_000), OpenOptions())


def test_an_exact_search_never_finds_fewer_rows_than_there_are():
    facts = measure_rows(StoredVectors(ROWS, "fp32"))
    index = FlatIndex(StoredVectors(spoil(ROWS, 3, np.nan), "fp32"), facts, np.arange(9_000))
    with np.errstate(invalid="ignore"), pytest.raises(ArithmeticError, match="or a row, holds NaN"):
        index.search(ROWS[:2], 1)


def test_an_encoder_that_gives_nan_is_refused_and_the_text_named(broken_encoder):
    encoder = Encoder(broken_encoder)
    assert np.isfinite(encoder.encode_queries(["lion"])).all()
    with pytest.raises(EncodingError, match=r"infinite numbers for 1 of 2 texts, the first 'zebra"):
        encoder.encode_queries(["lion", "zebra " + "x" * 500])
    with pytest.raises(EncodingError, match=r"for 2 of 2 texts, the first 'zoo'"):
        encoder.encode_passages(["zoo", "z"])


def test_a_build_from_a_broken_encoder_leaves_nothing(tmp_path, write_corpus, broken_encoder):
    rows = [{"id": "1", "text": "lion"}, {"id": "2", "text": "zebra"}]
    corpus = write_corpus(tmp_path / "c.jsonl", rows)
    options = BuildOptions(encoder=broken_encoder)
    with pytest.raises(EncodingError, match="the first 'zebra'"):
        build_index(corpus, tmp_path / "i", "flat", options)
    assert not (tmp_path / "i").exists()


def test_a_query_that_cannot_be_encoded_gets_500_that_names_it_and_spoils_no_other(
    tmp_path, write_corpus, broken_encoder, serving
):
    corpus = write_corpus(tmp_path / "c.jsonl", [{"id": "1", "text": "lion"}])
    build_index(corpus, tmp_path / "i", "flat", BuildOptions(encoder=broken_encoder))
    opened = open_retriever(tmp_path / "i")
    with contextlib.closing(opened) as retriever, serving(retriever) as client:
        reply = client.post("/retrieve", json={"queries": ["a lion", "a zebra"]})
        assert reply.status_code == 500
        assert "gave NaN or infinite numbers" in reply.json()["error"]
        assert "'a zebra'" in reply.json()["error"]
        assert client.post("/retrieve", json={"queries": ["a lion"]}).status_code == 200


def test_a_manifest_says_that_the_vectors_were_checked(flat_index, tmp_path):
    manifest = read_manifest(flat_index)
    assert manifest.settings["vectors"]["is_finite"] is True
    index = shutil.copytree(flat_index, tmp_path / "i")
    vectors = np.memmap(index / ENCODED, np.float32, "r+")
    vectors[40] = np.nan
    vectors.flush()
    del manifest.settings["vectors"]["is_finite"]
    write_manifest(index, replace(manifest, files={}))
    with pytest.raises(BadIndexError, match="vector of passage 1,"):
        open_retriever(index)


@pytest.mark.parametrize("factory", ["Flat", "HNSW4"])
def test_a_file_with_nan_is_not_adopted(tmp_path, corpus_file, encoder_folder, factory):
    texts = [json.loads(line) for line in corpus_file.read_text().splitlines()]
    passages = [f'"{row["title"]}"\n{row["text"]}' for row in texts]
    rows = Encoder(encoder_folder).encode_passages(passages)
    index = faiss.index_factory(32, factory, faiss.METRIC_INNER_PRODUCT)
    index.add(spoil(rows, (5, 0), np.nan))
    faiss.write_index(index, str(tmp_path / "theirs.index"))
    options = BuildOptions(encoder=encoder_folder)
    with pytest.raises(BadIndexError, match="vector of passage 5,"):
        adopt_index(tmp_path / "theirs.index", corpus_file, tmp_path / "i", options)
