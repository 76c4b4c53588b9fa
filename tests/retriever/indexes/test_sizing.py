import json

import numpy as np
import pytest

from retriever.indexes.ann_build import write_vectors
from retriever.indexes.sizing import choose_kind, read_dimension, size_table
from retriever.options import BuildOptions
from retriever.storage.vectors import ENCODED, store_vectors

SIZE, DIMENSION = 2_000, 32


@pytest.fixture
def encoder(tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text(json.dumps({"hidden_size": 768}))
    return tmp_path / "encoder"


def parse(size):
    """Turn the choices of a row into build options."""
    words = size.choices.split()
    return {words[at][2:]: words[at + 1] for at in range(0, len(words), 2)}


@pytest.mark.slow
@pytest.mark.parametrize("place", range(10))
def test_sizes_are_those_of_the_files(tmp_path, place):
    size = size_table(SIZE, DIMENSION)[place]
    vectors = np.random.default_rng(0).standard_normal((SIZE, DIMENSION), dtype=np.float32)
    choices = parse(size)
    if size.kind != "flat":
        options = BuildOptions(ef_construction=8 if size.kind == "hnsw" else None, **choices)
        write_vectors(size.kind, vectors, tmp_path, options)
    elif choices["precision"] == "fp32":
        vectors.tofile(tmp_path / ENCODED)
    else:
        store_vectors(vectors, tmp_path, choices["precision"])
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size.disk_bytes == pytest.approx(written, rel=0.03)
    assert size.memory_bytes <= size.disk_bytes
    assert size.expected_recall


def test_what_is_read_for_candidates_only_need_not_fit_into_memory():
    table = {(size.kind, size.choices): size for size in size_table(21_015_324, 768)}
    refined, exact = table["ivfpq", "--refine sq8"], table["flat", "--precision fp32"]
    assert exact.memory_bytes == 21_015_324 * 768 * 4
    assert refined.memory_bytes < exact.memory_bytes / 20
    assert refined.disk_bytes > exact.memory_bytes / 4


@pytest.mark.parametrize(
    ("passages", "memory_bytes", "kind"),
    [
        (10_000, 2**30, "flat"),
        (10_000, 2**20, "ivfpq"),  # nothing fits: the smallest
        (500_000, 2**34, "flat"),
        (2_000_000, 2**34, "hnsw"),
        (2_000_000, 2**31, "ivfpq"),
        (21_000_000, 2**37, "ivfpq"),
    ],
)
def test_auto_goes_by_corpus_and_memory(encoder, passages, memory_bytes, kind):
    choice = choose_kind(passages, BuildOptions(encoder=encoder), memory_bytes)
    assert choice.kind == kind
    assert choice.summary.startswith(
        f"auto: {kind} for {passages:,} passages of 768 numbers; about"
    )
    assert "recall@3 against exact search" in choice.summary


def test_auto_keeps_the_precision_that_was_asked_for(encoder):
    options = BuildOptions(encoder=encoder, precision="fp16")
    assert choose_kind(2_000_000, options, 2**34).kind == "ivf"


def test_auto_without_an_encoder_is_bm25():
    assert choose_kind(10, BuildOptions()).kind == "bm25"


def test_auto_looks_at_the_memory_of_this_machine(encoder):
    assert choose_kind(100, BuildOptions(encoder=encoder)).kind == "flat"


def test_the_dimension_is_read_from_the_encoder(tmp_path, encoder, encoder_folder):
    assert read_dimension(encoder) == 768
    assert read_dimension(encoder_folder) == 32
    assert read_dimension(tmp_path) == 768
    (encoder / "config.json").write_text("{")
    assert read_dimension(encoder) == 768
