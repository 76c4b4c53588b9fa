"""Texts are batched so that little of the work is padding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.encoders.text_batches import _cuts, cut_batches, cut_rows


@pytest.mark.parametrize(
    ("lengths", "runs"),
    [
        ([], []),
        ([12] * 64, [(0, 64)]),
        ([12, 11, 10], [(0, 3)]),  # less padding than another call costs
        ([30] * 2 + [10] * 60, [(0, 2), (2, 62)]),
        ([250] + [20] * 5 + [9] * 100, [(0, 1), (1, 6), (6, 106)]),
    ],
)
def test_texts_are_cut_where_padding_costs_more_than_a_call(lengths, runs):
    assert _cuts(lengths) == runs


@given(
    lengths=st.lists(st.integers(0, 300), max_size=80),
    batch_size=st.integers(1, 64),
    is_cpu=st.booleans(),
)
def test_every_text_is_in_one_batch(lengths, batch_size, is_cpu):
    batches = list(cut_batches(lengths, batch_size, is_cpu))
    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    assert all(0 < len(batch) <= batch_size for batch in batches)
    longest = [max(lengths[at] for at in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(
    lengths=st.lists(st.integers(0, 300), max_size=80),
    batch_size=st.integers(1, 64),
    width=st.integers(1, 128),
)
def test_rows_hold_every_text_once_and_no_more_than_fits(lengths, batch_size, width):
    batches = list(cut_rows(lengths, batch_size, width))
    places = [at for rows in batches for row in rows for at in row]
    assert sorted(places) == [at for at, length in enumerate(lengths) if length]
    for rows in batches:
        assert 0 < sum(map(len, rows)) <= batch_size
        most = max(width, *(lengths[at] for row in rows for at in row))
        filled = [sum(lengths[at] for at in row) for row in rows]
        assert max(filled) <= most
        # Two rows that would fit into one are never made.
        assert len(rows) == 1 or sorted(filled)[0] + sorted(filled)[1] > most


def test_short_texts_share_rows():
    assert list(cut_rows([50, 10, 40, 5], 64, 96)) == [[[0, 1], [2, 3]]]
