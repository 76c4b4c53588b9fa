"""Index folders from vectors that are there already, so that nothing is encoded twice.

An index kind goes on with whatever an interrupted build left in its folder; here that is the whole
of ``encoded.f32``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from retriever.indexes.kinds import load_kind
from retriever.options import BuildOptions
from retriever.storage.manifest import FileFacts, Manifest, hash_file, read_manifest, write_manifest
from retriever.storage.passages import PassageStore, write_store
from retriever.storage.vectors import ENCODED

_ROWS_AT_ONCE = 50_000


def derive_index(source: Path, target: Path, kind: str, options: BuildOptions) -> Path:
    """Make an index of another kind from the passages and float32 vectors of a flat one."""
    with _aside(target) as folder:
        for name in [*(path.name for path in source.glob("passages.*")), ENCODED]:
            shutil.copy(source / name, folder / name)
        _write(folder, kind, options, read_manifest(source).corpus)
    return target


def make_synthetic_index(corpus: Path, target: Path, encoder: Path, dimension: int) -> Path:
    """Make a flat index of random vectors of length 1, one for each passage of a corpus.

    Args:
        corpus: JSONL file.
        target: Where the index goes.
        encoder: Encodes the queries; its vectors have ``dimension`` numbers.
        dimension: Length of a vector.
    """
    random = np.random.default_rng(0)
    with _aside(target) as folder:
        left = write_store(corpus, folder)
        with (folder / ENCODED).open("wb") as file:
            while left:
                rows = random.standard_normal(
                    (min(left, _ROWS_AT_ONCE), dimension), dtype=np.float32
                )
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
                file.write(rows.tobytes())
                left -= len(rows)
        _write(folder, "flat", BuildOptions(encoder=encoder), hash_file(corpus))
    return target


def _write(folder: Path, kind: str, options: BuildOptions, corpus: FileFacts) -> None:
    store = PassageStore(folder)
    settings = load_kind(kind).write_index(store, folder, options, lambda _passages: None)
    write_manifest(folder, Manifest(kind, len(store), corpus, settings))
    store.close()


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """Give a folder that takes its name when the block ends well."""
    folder = target.with_name(f".{target.name}.making")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
