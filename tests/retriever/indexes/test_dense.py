import contextlib
import json

import numpy as np
import pytest

from retriever.encoders.encoder import Encoder
from retriever.errors import EncoderError
from retriever.indexes.dense import DenseRetriever
from retriever.indexes.flat import FlatIndex
from retriever.indexes.kinds import open_retriever
from retriever.options import OpenOptions
from retriever.storage.passages import PassageStore, write_store
from retriever.storage.vectors import StoredVectors, measure_rows

DIMENSION = 16


class TableEncoder:
    """Gives the vector that a query names by number."""

    def __init__(self, vectors):
        self.vectors = vectors

    def encode_queries(self, queries):
        return self.vectors[[int(query) for query in queries]]


def unit_rows(random, n):
    # Few distinct values, so that many inner products are equal.
    rows = random.integers(-1, 2, size=(n, DIMENSION)).astype(np.float32)
    rows[:, 0] += 2
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(0)
    distinct = unit_rows(random, 60)
    return {
        "passages": distinct[random.integers(0, 60, size=500)],
        "queries": unit_rows(random, 40),
    }


@pytest.fixture(scope="module")
def ids():
    return [f"p{number}" for number in np.random.default_rng(1).permutation(500)]


@pytest.fixture(scope="module")
def retriever(vectors, ids, tmp_path_factory, write_corpus):
    folder = tmp_path_factory.mktemp("dense")
    corpus = write_corpus(folder / "c.jsonl", [{"id": i, "text": f"text {i}"} for i in ids])
    write_store(corpus, folder)
    store, rows = PassageStore(folder), StoredVectors(vectors["passages"], "fp32")
    index = FlatIndex(rows, measure_rows(rows), store.id_rank)
    return DenseRetriever(index, TableEncoder(vectors["queries"]), store, "flat")


def brute_force(vectors, ids, query, top_k):
    exact = vectors["passages"].astype(np.float64) @ vectors["queries"][query].astype(np.float64)
    scores = exact.astype(np.float32)
    order = sorted(range(len(ids)), key=lambda at: (-scores[at], ids[at]))
    return [(ids[at], float(scores[at])) for at in order[:top_k]]


@pytest.mark.slow
@pytest.mark.parametrize("top_k", [1, 3, 8, 50, 499, 500, 10_000])
def test_hits_equal_brute_force_ties_included(retriever, vectors, ids, top_k):
    queries = [str(number) for number in range(40)]
    for query, hits in zip(queries, retriever.search(queries, top_k), strict=True):
        got = [(hit.passage.id, hit.score) for hit in hits]
        assert got == brute_force(vectors, ids, int(query), top_k)


def test_an_answer_does_not_depend_on_what_is_searched_with_it(retriever):
    queries = [str(number) for number in range(40)]
    together = retriever.search(queries, 5)
    assert [retriever.search([query], 5)[0] for query in queries] == together
    assert [hits[:2] for hits in together] == retriever.search(queries, 2)


def test_a_blank_query_has_no_hits_and_no_query_no_results(retriever):
    assert retriever.search(["", " \n"], 3) == [[], []]
    hits = retriever.search(["", "1", ""], 3)
    assert [len(found) for found in hits] == [0, 3, 0]
    assert retriever.search([], 3) == []


def test_top_k_below_one_is_refused(retriever):
    with pytest.raises(ValueError, match="top_k is -1"):
        retriever.search(["1"], -1)


@pytest.mark.slow
def test_a_built_index_finds_each_passage_by_its_own_contents(flat_index, tiny_passages):
    with contextlib.closing(open_retriever(flat_index)) as retriever:
        queries = [f'"{row["title"]}"\n{row["text"]}' for row in tiny_passages]
        results = retriever.search(queries, 12)
    for row, hits in zip(tiny_passages, results, strict=True):
        assert hits[0].passage.id == row["id"]
        assert hits[0].score == pytest.approx(1.0, abs=0.01)
        assert len({hit.passage.id for hit in hits}) == len(tiny_passages)


def test_the_manifest_tells_which_encoder_was_used(flat_index):
    settings = json.loads((flat_index / "manifest.json").read_text())["settings"]
    facts = settings["encoder"]
    assert (facts["name"], facts["dimension"], facts["pooling"]) == ("model", 32, "mean")
    assert facts["max_tokens"] == 64
    assert len(facts["fingerprint"]) == 64
    assert not settings["encoder_folder"].startswith("/")


def test_another_encoder_is_refused(flat_index, tmp_path, write_encoder):
    other = write_encoder(tmp_path / "other", seed=2)
    with pytest.raises(EncoderError, match="is not the encoder that this index was built with"):
        open_retriever(flat_index, OpenOptions(encoder=other))


def test_a_folder_without_encoder_is_refused(flat_index, tmp_path):
    with pytest.raises(EncoderError, match=r"no sentence-transformers model at .*--encoder"):
        open_retriever(flat_index, OpenOptions(encoder=tmp_path))


@pytest.mark.slow
def test_prefixes_are_put_before_the_text(encoder_folder):
    plain = Encoder(encoder_folder)
    prefixed = Encoder(encoder_folder, query_prefix="query: ", passage_prefix="passage: ")
    assert (plain.facts.query_prefix, plain.facts.passage_prefix) == ("", "")
    expected = plain.encode_queries(["query: dublin", "passage: dublin"])
    assert np.allclose(prefixed.encode_queries(["dublin"])[0], expected[0], atol=1e-2)
    assert np.allclose(prefixed.encode_passages(["dublin"])[0], expected[1], atol=1e-2)
    assert not np.allclose(expected[0], expected[1], atol=1e-2)


def test_vectors_come_in_the_order_of_the_texts_with_length_one(encoder_folder):
    texts = ["a", "a much longer text than the others", "b c", "", "the fifth"]
    encoder = Encoder(encoder_folder, batch_size=2)
    vectors = encoder.encode_queries(texts)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    for text, vector in zip(texts, vectors, strict=True):
        assert encoder.encode_queries([text])[0] @ vector > 0.999
