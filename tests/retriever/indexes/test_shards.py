import contextlib
import json

import numpy as np
import pytest

from retriever.encoders.encoder import open_encoder
from retriever.errors import BadIndexError
from retriever.indexes.dense import DenseRetriever
from retriever.indexes.kinds import open_retriever
from retriever.indexes.shards import Shard, ShardedIndex, check_shardable
from retriever.storage.manifest import read_manifest
from retriever.storage.passages import PassageStore


def ask(shard):
    return lambda vectors, top_k: lambda: shard.search(vectors, top_k)


@pytest.fixture
def open_in_shards(flat_index, encoder_folder):
    with contextlib.ExitStack() as stack:

        def open_it(shards):
            settings = read_manifest(flat_index).settings["encoder"]
            store = stack.enter_context(contextlib.closing(PassageStore(flat_index)))
            asking = [ask(Shard(flat_index, number, shards)) for number in range(shards)]
            index = ShardedIndex(asking, store.id_rank, settings["dimension"])
            return DenseRetriever(index, open_encoder(encoder_folder, settings), store, "flat")

        yield open_it


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 2, 5, 12])
def test_shards_together_find_what_the_whole_index_finds(
    flat_index, open_in_shards, tiny_questions, shards
):
    queries = [row["question"] for row in tiny_questions]
    sharded = open_in_shards(shards)
    with contextlib.closing(open_retriever(flat_index)) as whole:
        for top_k in (1, 3, 12, 100):
            assert sharded.search([*queries, " "], top_k) == whole.search([*queries, " "], top_k)


def test_equal_scores_of_different_shards_are_ordered_by_id():
    # Ids c, a, d, b: position 1 comes first, then 3, 0, 2.
    def found(*rows):
        scores, positions = zip(*rows, strict=True)
        return lambda *_: (
            lambda: (
                np.array([scores], np.float32),
                np.array([positions], np.int64),
            )
        )

    index = ShardedIndex(
        [found((0.5, 0), (0.25, 1)), found((0.5, 3), (0.5, 2))], np.array([2, 0, 3, 1]), 8
    )
    scores, positions = index.search(np.zeros((1, 8), np.float32), 3)
    assert positions.tolist() == [[3, 0, 2]]
    assert scores.tolist() == [[0.5, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("kind", "shards", "problem"),
    [
        ("bm25", 2, "a bm25 index cannot be divided into 2 shards: the weight of a word"),
        ("hybrid", 2, "its BM25 part"),
        ("hnsw", 3, "an approximate index would find other passages.*--replicas"),
        ("flat", 13, "shards is 13; expected 1 to 12"),
        ("flat", 0, "shards is 0"),
    ],
)
def test_what_cannot_be_divided_exactly_is_refused(flat_index, kind, shards, problem):
    manifest = read_manifest(flat_index)
    changed = type(manifest)(kind, manifest.passages, manifest.corpus, manifest.settings)
    with pytest.raises(BadIndexError, match=problem):
        check_shardable(changed, shards)
    if kind != "flat":
        check_shardable(changed, 1)


def test_a_shard_of_a_missing_index_is_refused(tmp_path):
    with pytest.raises(BadIndexError, match="no index at"):
        Shard(tmp_path, 0, 2)
    (tmp_path / "manifest.json").write_text(json.dumps({}))
    with pytest.raises(BadIndexError, match="cannot be read"):
        Shard(tmp_path, 0, 2)
