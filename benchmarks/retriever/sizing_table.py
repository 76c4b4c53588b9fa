"""What wiki-18 would need, by formula: nothing here was measured."""

from __future__ import annotations

from retriever.evaluate.report import lay_out
from retriever.indexes.sizing import IndexSize, size_table

PASSAGES, DIMENSION = 21_015_324, 768  # wiki-18, encoded by e5-base-v2

_GPUS = 8


def make_sizing_table() -> str:
    """Give the Markdown table of every kind for wiki-18."""
    sizes = size_table(PASSAGES, DIMENSION)
    rows = [["index", "on disk, GB", "main memory, GB", "or on GPUs, GB", f"each of {_GPUS}, GB"]]
    for size in sizes:
        on_gpus = count_gpu_bytes(size, sizes)
        cells = ["-", "-"] if on_gpus is None else [_gb(on_gpus), _gb(on_gpus / _GPUS)]
        label = f"`{size.kind} {size.choices}".strip() + "`"
        rows.append([label, _gb(size.disk_bytes), _gb(size.memory_bytes), *cells])
    about = f"Computed, not measured: {PASSAGES:,} vectors of {DIMENSION} numbers."
    return f"{lay_out(rows)}\n\n{about}"


def count_gpu_bytes(size: IndexSize, sizes: list[IndexSize]) -> int | None:
    """Compute what a kind takes on all GPUs together; None for one that stays in main memory.

    Args:
        size: One of ``sizes``.
        sizes: All kinds for the corpus.
    """
    by_name = {(each.kind, each.choices): each.memory_bytes for each in sizes}
    if size.kind == "hnsw":
        return None
    if (size.kind, size.choices) == ("flat", "--precision sq8"):  # kept as float16 there
        return by_name["flat", "--precision fp16"]
    return size.memory_bytes


def _gb(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.1f}"
