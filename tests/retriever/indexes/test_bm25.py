import contextlib
import math
import subprocess
import sys

import pytest

from retriever.build import build_index
from retriever.indexes.kinds import open_retriever
from retriever.indexes.words import split_words

WHAT_SERVING_IMPORTS = """
import sys
from pathlib import Path
import retriever.server
from retriever.indexes.kinds import open_retriever
from retriever.indexes.words import split_words
assert open_retriever(Path(sys.argv[1])).search(["Dublin"], 1)[0]
print([m for m in ("torch", "transformers", "faiss", "numba", "scipy") if m in sys.modules])
"""


@pytest.fixture
def open_bm25(tmp_path, write_corpus):
    with contextlib.ExitStack() as stack:

        def build_and_open(rows):
            build_index(write_corpus(tmp_path / "c.jsonl", rows), tmp_path / "index", "bm25")
            return stack.enter_context(contextlib.closing(open_retriever(tmp_path / "index")))

        yield build_and_open


def found(hits):
    return [hit.passage.id for hit in hits]


def test_scores_are_the_hand_worked_ones(open_bm25):
    # Lengths 2, 3 and 4 words, 3 on average; "blue" is in two of three passages, twice in c.
    retriever = open_bm25(
        [
            {"id": "a", "text": "red green"},
            {"id": "b", "text": "red blue sky"},
            {"id": "c", "text": "blue sea blue boat"},
        ]
    )
    (hits,) = retriever.search(["blue"], 3)
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))  # 0.4700
    c = idf * 2 / (2 + 0.9 * (1 - 0.4 + 0.4 * 4 / 3))  # 0.3113
    b = idf * 1 / (1 + 0.9 * (1 - 0.4 + 0.4 * 3 / 3))  # 0.2474
    assert [(hit.passage.id, hit.score) for hit in hits] == [
        ("c", pytest.approx(c, rel=1e-6)),
        ("b", pytest.approx(b, rel=1e-6)),
    ]
    assert (round(c, 4), round(b, 4)) == (0.3113, 0.2474)


def test_words_of_the_title_count_and_scores_of_words_add_up(open_bm25):
    retriever = open_bm25(
        [{"id": "1", "title": "Malcolm X", "text": "leader"}, {"id": "2", "text": "malcolm only"}]
    )
    (both, one, other) = retriever.search(["malcolm x", "malcolm", "x"], 1)
    assert found(both) == ["1"]
    assert both[0].score == pytest.approx(
        retriever.search(["malcolm"], 2)[0][1].score + other[0].score
    )
    assert one[0].passage.id == "2"  # the shorter passage


def test_equal_scores_are_ordered_by_id_even_at_the_cut(open_bm25):
    ids = ["9", "10", "b", "a", "2"]
    retriever = open_bm25([{"id": i, "text": "the same words"} for i in ids])
    for top_k in range(1, 6):
        (hits,) = retriever.search(["same"], top_k)
        assert found(hits) == sorted(ids)[:top_k]
        assert len({hit.score for hit in hits}) == 1


def test_a_passage_that_shares_no_word_is_no_hit(bm25):
    assert bm25.search(["", "   ", "the of", "xylophone"], 3) == [[], [], [], []]
    (hits,) = bm25.search(["Stoker"], 100_000)
    assert hits
    assert all("Stoker" in hit.passage.contents for hit in hits)


def test_the_tiny_questions_find_their_passages(bm25, tiny_questions):
    for row in tiny_questions:
        (hits,) = bm25.search([row["question"]], 12)
        assert set(found(hits)) & set(row["passage_ids"]), row["question"]


def test_streamed_scores_are_the_bytes_that_bm25s_itself_writes(
    tmp_path, corpus_file, bm25_index, tiny_passages, monkeypatch
):
    import bm25s

    vocabulary, words = {"": 0}, []
    for row in tiny_passages:
        split = split_words(f'"{row["title"]}"\n{row["text"]}')
        words.append([vocabulary.setdefault(word, len(vocabulary)) for word in split])
    theirs = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
    theirs.index((words, vocabulary), show_progress=False)
    theirs.save(tmp_path / "theirs")
    monkeypatch.setattr("retriever.indexes.bm25_scores._COUNTS_AT_ONCE", 7)
    build_index(corpus_file, tmp_path / "in-blocks", "bm25")
    for path in (tmp_path / "theirs").iterdir():
        assert (bm25_index / path.name).read_bytes() == path.read_bytes(), path.name
        assert (tmp_path / "in-blocks" / path.name).read_bytes() == path.read_bytes(), path.name


def test_top_k_below_one_is_refused(bm25):
    with pytest.raises(ValueError, match="top_k is 0"):
        bm25.search(["Dublin"], 0)


def test_a_corpus_of_stop_words_can_be_built_and_finds_nothing(open_bm25):
    assert open_bm25([{"id": "1", "text": "the of and"}]).search(["the"], 3) == [[]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Beyoncé's ÉTUDE", ["beyonce", "s", "etude"]),
        ("The Straße of München", ["strasse", "munchen"]),
        ("हिन्दी", split_words("हिन्दी")),
        ("iOS 7, C", ["ios", "7", "c"]),
    ],
)
def test_words_are_folded(text, words):
    assert split_words(text) == words
    assert split_words(text.upper()) == words


@pytest.mark.slow
def test_serving_bm25_imports_no_torch(bm25_index):
    command = [sys.executable, "-c", WHAT_SERVING_IMPORTS, str(bm25_index)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_hiding_numba_during_the_import_leaves_it_importable(bm25):
    import numba

    assert numba.__version__
