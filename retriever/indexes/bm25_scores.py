"""Compute BM25's word scores for any number of passages in little memory.

Two sweeps: the first splits the passages and appends how often each has each word to a file; the
second turns the counts into scores, sorted by word as bm25s wants them (a CSC matrix). bm25s'
own ``index`` holds all words of all passages in Python lists.
"""

import math
import mmap
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.indexes.words import split_words
from retriever.storage.files import map_array
from retriever.storage.passages import PassageStore

_COUNT = np.dtype([("row", np.int32), ("word", np.int32), ("count", np.int32)])
_COUNTS_AT_ONCE = 2**18  # 3 MB, and 20 MB to sort them
_PUT_AT_ONCE = 2**13  # each may touch a page of its own


def count_words(
    store: PassageStore, counts: Path, on_passages: Callable[[int], object]
) -> tuple[dict[str, int], NDArray[np.int32]]:
    """Write how often each passage has each of its words to a file.

    Returns:
        Word to its number, with the empty word, which no passage has, as 0; and the words that
        each passage has, (passages,).
    """
    vocabulary, lengths = {"": 0}, array("i")
    with counts.open("wb") as out:
        for row, passage in enumerate(store):
            words = split_words(passage.contents)
            lengths.append(len(words))
            counted = Counter([vocabulary.setdefault(word, len(vocabulary)) for word in words])
            rows = array("i")
            for word, count in counted.items():
                rows.extend((row, word, count))
            out.write(rows)
            on_passages(1)
    return vocabulary, np.frombuffer(lengths, dtype=np.int32)


def write_scores(
    counts: Path,
    data: Path,
    indices: Path,
    n_words: int,
    lengths: NDArray[np.int32],
    k1: float,
    b: float,
) -> NDArray[np.int64]:
    """Turn the counts into Lucene's BM25 scores, in the form that bm25s saves.

    Args:
        counts: What ``count_words`` wrote.
        data: The .npy file of scores, sorted by word and then by passage.
        indices: The .npy file of their passages.
        n_words: Size of the vocabulary.
        lengths: (passages,) words of each.
        k1: How soon more of the same word stops to matter.
        b: How much a passage's length matters, 0 to 1.

    Returns:
        Where the scores of each word start, (n_words + 1,).
    """
    frequencies = np.zeros(n_words, dtype=np.int64)  # passages that have the word
    for block in _read_counts(counts):
        frequencies += np.bincount(block["word"], minlength=n_words)
    starts = np.zeros(n_words + 1, dtype=np.int64)
    np.cumsum(frequencies, out=starts[1:])
    n = len(lengths)
    rarity = np.array(
        [math.log(1 + (n - f + 0.5) / (f + 0.5)) for f in frequencies.tolist()], dtype=np.float32
    )
    mean_length = lengths.mean()
    scores = map_array(data, np.float32, (int(starts[-1]),))
    rows = map_array(indices, np.int32, (int(starts[-1]),))
    heads = starts[:-1].copy()  # where the next score of a word goes
    for block in _read_counts(counts):
        block = block[np.argsort(block["word"], kind="stable")]
        penalty = k1 * ((1 - b) + b * lengths[block["row"]] / mean_length)
        saturated = block["count"] / (penalty + block["count"])
        places = _places(block["word"], heads)
        _put(scores, places, rarity[block["word"]] * saturated)
        _put(rows, places, block["row"])
    return starts


def _places(words: NDArray[np.int32], heads: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each count of a sorted block goes, and move the heads past them."""
    found, first, repeats = np.unique(words, return_index=True, return_counts=True)
    within = np.arange(len(words)) - np.repeat(first, repeats)
    places: NDArray[np.int64] = heads[words] + within
    heads[found] += repeats
    return places


def _read_counts(path: Path) -> Iterator[NDArray[Any]]:
    with path.open("rb") as file:
        while len(block := np.fromfile(file, _COUNT, _COUNTS_AT_ONCE)):
            yield block


def _put(mapped: Any, places: NDArray[np.int64], values: NDArray[Any]) -> None:
    """Write values to rising places; what was written no longer counts as this process's memory."""
    for start in range(0, len(places), _PUT_AT_ONCE):
        some = slice(start, start + _PUT_AT_ONCE)
        mapped[places[some]] = values[some]
        mapped.base.madvise(mmap.MADV_DONTNEED)
