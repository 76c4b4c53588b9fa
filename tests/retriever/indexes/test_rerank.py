import contextlib

import pytest

from retriever.errors import EncoderError
from retriever.indexes.rerank import RerankedRetriever
from retriever.types import Hit, Passage
from tests.tiny_bert import LETTERS, save_tiny_bert


class FixedRetriever:
    """Finds the first of the passages it was given, for every query that is not blank."""

    kind = "fixed"

    def __init__(self, *passages):
        self.passages = passages
        self.size = len(passages)
        self.is_closed = False

    def search(self, queries, top_k):
        hits = [Hit(passage, 1.0 / n) for n, passage in enumerate(self.passages, 1)]
        return [hits[:top_k] if query.strip() else [] for query in queries]

    def close(self):
        self.is_closed = True


def write_cross_encoder(folder, num_labels=1):
    """Save a two-layer BERT with random weights and a classification head."""
    from transformers import BertForSequenceClassification

    letters = f"{LETTERS}?"
    return save_tiny_bert(
        folder, BertForSequenceClassification, seed=5, letters=letters, num_labels=num_labels
    )


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory):
    return write_cross_encoder(tmp_path_factory.mktemp("cross") / "tiny-cross-encoder")


@pytest.fixture
def passages(tiny_passages):
    return [Passage(row["id"], row["title"], row["text"]) for row in tiny_passages]


@pytest.fixture
def reference(cross_encoder):
    """Score one pair alone, by transformers."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(cross_encoder).eval()
    tokenizer = AutoTokenizer.from_pretrained(cross_encoder)

    def score(query, passage):
        batch = tokenizer(
            query, passage.contents, truncation=True, max_length=128, return_tensors="pt"
        )
        with torch.inference_mode():
            return float(model(**batch).logits[0, 0])

    return score


@pytest.mark.slow
def test_hits_are_ordered_by_the_cross_encoder(cross_encoder, passages, reference):
    retriever = RerankedRetriever(FixedRetriever(*passages), cross_encoder, depth=8)
    queries = ["who wrote dracula?", "where is the river?"]
    for query, hits in zip(queries, retriever.search(queries, 100), strict=True):
        scores = {passage.id: reference(query, passage) for passage in passages[:8]}
        assert [hit.passage.id for hit in hits] == sorted(scores, key=lambda key: -scores[key])
        for hit in hits:
            assert hit.score == pytest.approx(scores[hit.passage.id], rel=1e-3, abs=1e-4)
        assert len({round(hit.score, 3) for hit in hits}) > 1  # the random model tells them apart


def test_the_best_three_are_the_first_of_the_best_five(cross_encoder, passages):
    retriever = RerankedRetriever(FixedRetriever(*passages), cross_encoder, depth=10)
    (three,), (five,) = retriever.search(["dublin"], 3), retriever.search(["dublin"], 5)
    assert three == five[:3]
    assert (retriever.kind, retriever.size) == ("fixed+reranker", len(passages))


def test_equal_texts_have_equal_scores_and_are_ordered_by_id(cross_encoder):
    same = [Passage(key, "", "the same text") for key in "cadb"]
    others = [Passage(f"z{n}", "", "another text " * n) for n in range(60)]
    retriever = RerankedRetriever(FixedRetriever(*same, *others), cross_encoder, depth=64)
    (hits,) = retriever.search(["a query"], 64)
    found = [hit for hit in hits if hit.passage.text == "the same text"]
    assert [hit.passage.id for hit in found] == [*"abcd"]
    assert len({hit.score for hit in found}) == 1


def test_long_passages_and_blank_queries_are_no_trouble(cross_encoder):
    long = Passage("1", "T", "many words " * 5000)
    retriever = RerankedRetriever(FixedRetriever(long), cross_encoder, depth=3, threads=1)
    ((hit,), nothing) = retriever.search(["what?", " "], 3)
    assert (hit.passage, nothing) == (long, [])
    assert retriever.search([" "], 3) == [[]]
    with pytest.raises(ValueError, match="top_k is 0"):
        retriever.search(["what?"], 0)


def test_closing_closes_what_is_inside(cross_encoder):
    inner = FixedRetriever()
    with contextlib.closing(RerankedRetriever(inner, cross_encoder, depth=3)):
        pass
    assert inner.is_closed


def test_what_cannot_be_used_is_named(tmp_path, cross_encoder):
    inner = FixedRetriever()
    with pytest.raises(EncoderError, match=r"no cross-encoder at .*nowhere.*--reranker"):
        RerankedRetriever(inner, tmp_path / "nowhere", depth=3)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EncoderError, match="cannot be loaded"):
        RerankedRetriever(inner, tmp_path, depth=3)
    with pytest.raises(EncoderError, match="has 3 labels; expected 1"):
        RerankedRetriever(inner, write_cross_encoder(tmp_path / "three", 3), depth=3)
    with pytest.raises(ValueError, match="depth is 0"):
        RerankedRetriever(inner, cross_encoder, depth=0)
