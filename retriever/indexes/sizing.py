"""Which index kind fits a corpus: memory by formula, recall as it was measured."""

import math
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from retriever.options import BuildOptions

HNSW_M = 32
POINTS_PER_CELL = 40  # FAISS warns below 39

# Recall@3 against exact search: 400 questions over the quickstart's 22,326 passages, encoded by
# MiniLM, and over 60,000 mixtures of their vectors.
_OVER = "on 22,326 passages, {} on 60,000 synthetic vectors"
MEASURED_RECALL = {
    "flat --precision fp32": "1.000 (exact)",
    "flat --precision fp16": f"0.998 {_OVER.format('1.000')}",
    "flat --precision bf16": f"0.987 {_OVER.format('0.998')}",
    "flat --precision sq8": f"0.992 {_OVER.format('0.993')}",
    "ivf --precision fp32": f"0.963 {_OVER.format('0.940')} (nprobe 64)",
    "ivf --precision sq8": f"0.926 {_OVER.format('0.917')} (nprobe 33 and 46)",
    "ivfpq --refine sq8": f"0.953 {_OVER.format('0.928')} (nprobe 64)",
    "ivfpq --refine none": f"0.631 {_OVER.format('0.518')} (nprobe 33 and 46)",
    "hnsw": f"0.994 {_OVER.format('0.991')} (built on two threads)",
}
NOT_MEASURED = "not measured"

# A batch of queries is compared with this many numbers in under half a second on two cores.
_EXACT_NUMBERS = 400_000_000
_GRAPH_PASSAGES = 5_000_000  # hnsw links them one after the other
_MEMORY_SHARE = 0.5  # of what is free, for the index; the encoder and others need the rest
_DIMENSION = 768  # of most encoders; taken where the encoder's folder does not say
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "sq8": 1}
_POSITION_BYTES = 8  # FAISS notes the position of each row of a cell,
_PLACE_BYTES = 8  # and, where rows are read back by position, the place of each row
_LINK_BYTES = 4
_PQ_VALUES = 256


@dataclass(frozen=True, slots=True)
class IndexSize:
    """What one kind takes for a corpus."""

    kind: str
    """Index kind."""
    choices: str
    """Build options that are not the defaults, as on the command line."""
    memory_bytes: int
    """What every search reads of the mapped files, so what should fit into memory."""
    disk_bytes: int
    """All files of the vectors; passages come on top."""
    expected_recall: str
    """Recall@3 against exact search, and over what it was measured."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The kind that ``auto`` stands for, and why."""

    kind: str
    """Index kind."""
    summary: str
    """One line for people: kind, recall, memory."""


def size_table(passages: int, dimension: int) -> list[IndexSize]:
    """Return what each kind takes for a corpus, from the exact one on.

    Memory and disk follow from how the files are laid out; recall is what the project measured on
    the corpora it names, and other corpora differ: ``python -m retriever.evaluate`` measures.
    """
    rows = [_flat(passages, dimension, precision) for precision in _BYTES]
    rows += [_ivf(passages, dimension, precision) for precision in ("fp32", "fp16", "sq8")]
    rows += [_ivfpq(passages, dimension, refine) for refine in ("sq8", "none")]
    return [*rows, _hnsw(passages, dimension)]


def count_cells(size: int) -> int:
    """Choose how many cells divide ``size`` vectors."""
    return max(1, min(round(4 * math.sqrt(size)), size // POINTS_PER_CELL))


def choose_pq_bytes(dimension: int) -> int:
    """Choose how many bytes stand for a vector: one for every 8 numbers, or a few more."""
    return next(dimension // width for width in range(8, 0, -1) if dimension % width == 0)


def choose_kind(passages: int, options: BuildOptions, memory_bytes: int | None = None) -> Choice:
    """Choose a kind by the size of the corpus.

    Without an encoder it is BM25. Otherwise the exact kind as long as it is fast and fits, then
    hnsw as long as it fits (ivf where another precision than fp32 is wanted), and ivfpq beyond.

    Args:
        passages: How many there are.
        options: The encoder tells the dimension, and the precision is kept.
        memory_bytes: What may be used; None takes half of what is free now.
    """
    if options.encoder is None:
        return Choice("bm25", f"auto: bm25 for {passages:,} passages, as no encoder is given")
    dimension = read_dimension(options.encoder)
    if memory_bytes is None:
        memory_bytes = int(_MEMORY_SHARE * psutil.virtual_memory().available)
    sizes = [_flat(passages, dimension, options.precision)]
    if passages * dimension > _EXACT_NUMBERS:
        sizes.clear()
    if options.precision == "fp32":
        sizes += [_hnsw(passages, dimension)] if passages <= _GRAPH_PASSAGES else []
        sizes += [_ivfpq(passages, dimension, options.refine or "sq8")]
    else:
        sizes += [_ivf(passages, dimension, options.precision)]
    chosen = next((size for size in sizes if size.memory_bytes <= memory_bytes), sizes[-1])
    return Choice(
        chosen.kind,
        f"auto: {chosen.kind} for {passages:,} passages of {dimension} numbers; about "
        f"{_readable(chosen.memory_bytes)} of memory ({_readable(memory_bytes)} may be used); "
        f"recall@3 against exact search {chosen.expected_recall}",
    )


def read_dimension(encoder: Path) -> int:
    """Return the length of an encoder's vectors as its configuration says, for an estimate."""
    for path in (encoder / "config.json", *sorted(encoder.glob("*/config.json"))):
        try:
            found = orjson.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        width = found.get("word_embedding_dimension") or found.get("hidden_size")
        if isinstance(width, int) and width > 0:
            return width
    return _DIMENSION


def _flat(passages: int, dimension: int, precision: str) -> IndexSize:
    rows = passages * dimension * _BYTES[precision]
    return _size("flat", f"--precision {precision}", rows, rows)


def _ivf(passages: int, dimension: int, precision: str) -> IndexSize:
    per_passage = dimension * _BYTES[precision] + _POSITION_BYTES + _PLACE_BYTES
    total = passages * per_passage + _cells(passages, dimension)
    return _size("ivf", f"--precision {precision}", total, total)


def _ivfpq(passages: int, dimension: int, refine: str) -> IndexSize:
    per_passage = choose_pq_bytes(dimension) + _POSITION_BYTES
    per_passage += _PLACE_BYTES if refine == "none" else 0
    codebook = _PQ_VALUES * dimension * _BYTES["fp32"]
    index = passages * per_passage + _cells(passages, dimension) + codebook
    rows = 0 if refine == "none" else passages * dimension * _BYTES[refine]
    return _size("ivfpq", f"--refine {refine}", index, index + rows)


def _hnsw(passages: int, dimension: int) -> IndexSize:
    # Level 0 has 2m links; one passage in m is on the next level too, with m links, and so on.
    links = (2 * HNSW_M + 1) * _LINK_BYTES + _PLACE_BYTES + _LINK_BYTES
    total = passages * (dimension * _BYTES["fp32"] + links)
    return _size("hnsw", "", total, total)


def _cells(passages: int, dimension: int) -> int:
    return count_cells(passages) * dimension * _BYTES["fp32"]


def _size(kind: str, choices: str, memory_bytes: int, disk_bytes: int) -> IndexSize:
    recall = MEASURED_RECALL.get(f"{kind} {choices}".strip(), NOT_MEASURED)
    return IndexSize(kind, choices, memory_bytes, disk_bytes, recall)


def _readable(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"
