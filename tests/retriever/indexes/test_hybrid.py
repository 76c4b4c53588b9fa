import contextlib
import json

import pytest

from retriever.build import build_index
from retriever.errors import BadIndexError, BuildError
from retriever.indexes.hybrid import HybridRetriever, fuse_rankings, open_index
from retriever.indexes.kinds import open_retriever
from retriever.options import BuildOptions, OpenOptions
from retriever.storage.manifest import read_manifest
from retriever.storage.passages import PassageStore


class FixedRanker:
    """Finds the same positions for every query."""

    def __init__(self, *positions):
        self.positions = positions

    def find(self, queries, top_k):
        return [[(position, 9.0) for position in self.positions[:top_k]] for _ in queries]


@pytest.fixture(scope="module")
def hybrid_index(tmp_path_factory, corpus_file, encoder_folder):
    folder = tmp_path_factory.mktemp("index") / "hybrid"
    build_index(corpus_file, folder, "hybrid", BuildOptions(encoder=encoder_folder, batch_size=5))
    return folder


@pytest.fixture
def store(bm25_index):
    with contextlib.closing(PassageStore(bm25_index)) as store:
        yield store


def rows(hits):
    return [(hit.passage.id, hit.score) for hit in hits]


def test_fused_scores_are_the_hand_worked_ones():
    # 7 is second and first, 3 first and third, 5 only third, 9 only second.
    assert fuse_rankings([[3, 7, 5], [7, 9, 3]], k=60) == pytest.approx(
        {
            7: 1 / 62 + 1 / 61,  # 0.032522
            3: 1 / 61 + 1 / 63,  # 0.032266
            9: 1 / 62,
            5: 1 / 63,
        }
    )
    assert round(1 / 62 + 1 / 61, 6) == 0.032522


def test_passages_are_ranked_by_fused_score_each_once(store):
    retriever = HybridRetriever(FixedRanker(3, 7, 5), FixedRanker(7, 9, 3), store)
    (hits,) = retriever.search(["any"], 10)
    assert [hit.passage for hit in hits] == [store[at] for at in (7, 3, 9, 5)]
    assert hits[0].score == pytest.approx(0.032522, abs=1e-6)
    assert retriever.search(["any"], 2) == [hits[:2]]


def test_equal_scores_are_ordered_by_id(store):
    retriever = HybridRetriever(FixedRanker(4, 8, 1), FixedRanker(8, 4, 2), store)
    (hits,) = retriever.search(["any"], 4)
    first, second = sorted((store[4].id, store[8].id))
    third, fourth = sorted((store[1].id, store[2].id))
    assert [hit.passage.id for hit in hits] == [first, second, third, fourth]
    assert hits[0].score == hits[1].score > hits[2].score == hits[3].score


def test_only_the_depth_of_each_ranking_counts(store):
    retriever = HybridRetriever(FixedRanker(0, 1, 2), FixedRanker(3, 2, 0), store, depth=1)
    (hits,) = retriever.search(["any"], 10)
    assert {hit.passage.id for hit in hits} == {store[0].id, store[3].id}


@pytest.mark.slow
def test_an_index_fuses_its_own_two_rankings(hybrid_index, flat_index, bm25_index, tiny_questions):
    queries = [row["question"] for row in tiny_questions]
    with contextlib.ExitStack() as stack:
        hybrid, flat, bm25 = (
            stack.enter_context(contextlib.closing(open_retriever(folder)))
            for folder in (hybrid_index, flat_index, bm25_index)
        )
        assert (hybrid.kind, hybrid.size) == ("hybrid", 12)
        found = hybrid.search(queries, 12)
        rankings = zip(flat.search(queries, 100), bm25.search(queries, 100), strict=True)
        for hits, both in zip(found, rankings, strict=True):
            expected = fuse_rankings([[h.passage.id for h in ranking] for ranking in both], 60)
            assert rows(hits) == sorted(expected.items(), key=lambda row: (-row[1], row[0]))
        assert hybrid.search(queries, 3) == [hits[:3] for hits in found]
        assert hybrid.search(["", "  "], 3) == [[], []]
        with pytest.raises(ValueError, match="top_k is 0"):
            hybrid.search(["a"], 0)


def test_the_manifest_describes_both_parts(hybrid_index):
    settings = json.loads((hybrid_index / "manifest.json").read_text())["settings"]
    assert (settings["rrf_k"], settings["rrf_depth"]) == (60, 100)
    assert settings["bm25"]["method"] == "lucene"
    assert settings["dense"]["encoder"]["dimension"] == 32


def test_a_hybrid_index_needs_an_encoder(tmp_path, corpus_file):
    with pytest.raises(BuildError, match="needs an encoder"):
        build_index(corpus_file, tmp_path / "i", "hybrid")


@pytest.mark.parametrize(("name", "value"), [("rrf_k", 0), ("rrf_depth", "deep")])
def test_a_setting_that_cannot_be_used_is_named(hybrid_index, store, name, value):
    manifest = read_manifest(hybrid_index)
    manifest.settings[name] = value
    with pytest.raises(BadIndexError, match=rf"{name} {value!r}; expected a whole number"):
        open_index(hybrid_index, manifest, store, OpenOptions())
