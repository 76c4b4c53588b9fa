import faiss
import numpy as np
import pytest
import torch

from retriever.indexes.dense import open_vectors
from retriever.indexes.flat import _BF16_UNIT, FlatIndex, _Kernel
from retriever.options import PRECISIONS, OpenOptions
from retriever.storage.faiss_files import FAISS_FILE, map_flat
from retriever.storage.vectors import (
    ENCODED,
    StoredVectors,
    measure_rows,
    open_stored,
    store_vectors,
)

SIZE, DIMENSION = 5_000, 24


def unit_rows(random, n):
    rows = random.standard_normal((n, DIMENSION), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    monkeypatch.setattr("retriever.indexes.flat._MIN_BLOCK", 700)
    monkeypatch.setattr("retriever.indexes.flat._MAX_BLOCK", 700)


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(0)
    rows = unit_rows(random, SIZE)
    rows[4_000:4_400] = rows[:400]  # equal passages, far apart
    queries = unit_rows(random, 20)
    queries[:10] = rows[:10]
    return rows, queries


@pytest.fixture(scope="module")
def id_rank():
    return np.random.default_rng(1).permutation(SIZE).astype(np.int32)


def brute_force(rows, queries, id_rank, top_k):
    scores = (queries.astype(np.float64) @ rows.astype(np.float64).T).astype(np.float32)
    order = np.array([np.lexsort((id_rank, -of_query))[:top_k] for of_query in scores])
    return np.take_along_axis(scores, order, axis=1), order


def open_flat(folder, vectors, id_rank, precision):
    vectors.tofile(folder / ENCODED)
    if precision != "fp32":
        store_vectors(vectors, folder, precision)
    rows = open_stored(folder, precision, *vectors.shape)
    return FlatIndex(rows, measure_rows(rows), id_rank), rows


@pytest.mark.slow
@pytest.mark.parametrize("is_bf16", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_hits_equal_brute_force_over_what_is_stored(
    tmp_path, vectors, id_rank, precision, is_bf16, monkeypatch
):
    index, rows = open_flat(tmp_path, vectors[0], id_rank, precision)
    monkeypatch.setattr(index, "_is_bf16_used", is_bf16)
    for top_k in (1, 7, 900):
        scores, positions = index.search(vectors[1], top_k)
        expected = brute_force(rows.read(slice(None)), vectors[1], id_rank, top_k)
        assert (scores == expected[0]).all()
        assert (positions == expected[1]).all()


def test_faiss_finds_the_same_rows(tmp_path, vectors, id_rank):
    index, _ = open_flat(tmp_path, vectors[0], id_rank, "fp32")
    theirs = faiss.IndexFlatIP(DIMENSION)
    theirs.add(vectors[0])
    expected = theirs.search(vectors[1][10:], 5)
    scores, positions = index.search(vectors[1][10:], 5)
    assert np.allclose(scores, expected[0], atol=1e-6)
    twins = np.arange(SIZE)
    twins[4_000:4_400] = np.arange(400)
    assert (np.sort(twins[positions]) == np.sort(twins[expected[1]])).mean() > 0.99


@pytest.mark.parametrize("together", [1, 7, 8, 20])
def test_an_answer_does_not_depend_on_what_is_searched_with_it(
    tmp_path, vectors, id_rank, together
):
    index, _ = open_flat(tmp_path, vectors[0], id_rank, "fp32")
    expected = index.search(np.tile(vectors[1], (14, 1)), 5)  # more than one group
    found = index.search(vectors[1][:together], 5)
    assert (found[0] == expected[0][:together]).all()
    assert (found[1] == expected[1][:together]).all()
    assert (expected[1][:20] == expected[1][260:]).all()


def test_too_many_rows_for_bfloat16_are_searched_in_float32(id_rank, monkeypatch):
    # All rows are nearly the same, so bfloat16 tells none of them from the best.
    random = np.random.default_rng(2)
    rows = np.ones((SIZE, DIMENSION), dtype=np.float32)
    rows += 1e-4 * random.standard_normal(rows.shape, dtype=np.float32)
    queries = unit_rows(random, 8)
    stored = StoredVectors(rows, "fp32")
    index = FlatIndex(stored, measure_rows(stored), id_rank)
    monkeypatch.setattr(index, "_is_bf16_used", True)
    monkeypatch.setattr("retriever.indexes.flat._SPARE_CANDIDATES", 100)
    scores, positions = index.search(queries, 5)
    expected = brute_force(rows, queries, id_rank, 5)
    assert (scores == expected[0]).all()
    assert (positions == expected[1]).all()


def test_a_bound_that_does_not_hold_is_noticed(vectors, id_rank, monkeypatch):
    stored = StoredVectors(vectors[0], "fp32")
    facts = measure_rows(stored)
    index = FlatIndex(stored, facts, id_rank)
    monkeypatch.setattr(index, "_is_bf16_used", True)
    monkeypatch.setattr(index, "_bf16_kernel", index._fp32_kernel)
    monkeypatch.setattr("retriever.indexes.flat._FP32_UNIT", 1e-12)
    with pytest.raises(ArithmeticError, match="less exact than"):
        index.search(vectors[1], 5)


def test_a_row_is_kept_whose_error_and_rounding_both_pull_it_down():
    # The worst wanted row is exactly 0. Another is exactly 0 too; its sum is off by the whole
    # error, and rounding to bfloat16 takes it down further.
    kernel = _Kernel(lambda block: block, np.array([0.01]), _BF16_UNIT)
    floor = np.array([0.01 / (1 - _BF16_UNIT)])
    assert kernel.lowest(floor) == pytest.approx(0, abs=1e-12)
    fast = torch.tensor(-0.01).bfloat16().item()
    assert fast < -0.01
    assert fast >= kernel.threshold(floor)


def test_the_first_hits_are_the_same_whatever_top_k_is(tmp_path, vectors, id_rank):
    index, _ = open_flat(tmp_path, vectors[0], id_rank, "fp32")
    few, many = index.search(vectors[1], 3), index.search(vectors[1], 50)
    assert (few[0] == many[0][:, :3]).all()
    assert (few[1] == many[1][:, :3]).all()


def test_fewer_rows_than_wanted_give_them_all_once(id_rank):
    stored = StoredVectors(unit_rows(np.random.default_rng(3), 5), "fp32")
    index = FlatIndex(stored, measure_rows(stored), id_rank[:5])
    scores, positions = index.search(stored.codes[:2], 100)
    assert scores.shape == positions.shape == (2, 5)
    assert (np.sort(positions, axis=1) == np.arange(5)).all()
    assert index.search(stored.codes[:0], 3)[1].shape == (0, 3)


def test_sq8_keeps_a_dimension_that_never_changes(tmp_path):
    rows = np.random.default_rng(4).standard_normal((50, 3), dtype=np.float32)
    rows[:, 1] = 0.25
    store_vectors(rows, tmp_path, "sq8")
    read = open_stored(tmp_path, "sq8", 50, 3).read(slice(None))
    assert (read[:, 1] == 0.25).all()
    assert np.abs(read - rows).max() <= np.ptp(rows, axis=0).max() / 255


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_file_of_another_size_is_refused(tmp_path, vectors, id_rank, precision):
    from retriever.errors import BadIndexError

    open_flat(tmp_path, vectors[0], id_rank, precision)
    with pytest.raises(BadIndexError, match=r"expected \(4999, 24\); build the index again"):
        open_stored(tmp_path, precision, SIZE - 1, DIMENSION)
    [path] = [path for path in tmp_path.iterdir() if precision in path.name or precision == "fp32"]
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(BadIndexError, match=f"holds no {precision} vectors of length 24"):
        open_stored(tmp_path, precision, SIZE, DIMENSION)


def test_a_flat_faiss_file_is_searched_where_it_lies(tmp_path, vectors, id_rank):
    theirs = faiss.IndexFlatL2(DIMENSION)
    theirs.add(vectors[0])
    faiss.write_index(theirs, str(tmp_path / FAISS_FILE))
    facts = measure_rows(map_flat(tmp_path / FAISS_FILE))
    settings = {
        "precision": "fp32",
        "dimension": DIMENSION,
        "max_norm": facts.max_norm,
        "bf16_error": facts.bf16_error,
    }
    index = open_vectors(tmp_path, "flat", settings, id_rank, OpenOptions())
    assert (index.search(vectors[1], 3)[1] == brute_force(*vectors, id_rank, 3)[1]).all()
