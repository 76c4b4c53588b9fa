import pytest

from retriever.serving.pace import Pace


def test_nobody_waits_before_anything_is_known():
    pace = Pace(256)
    assert (pace.window_s, pace.batch_size, pace.estimate_s(1000)) == (0.0, 256, 0.0)


def test_the_window_is_a_tenth_of_a_search_and_never_long():
    pace = Pace(256)
    pace.observe(1, 0.02)
    assert pace.window_s == pytest.approx(0.002)
    for _ in range(99):
        pace.observe(1, 60.0)
    assert pace.window_s == 0.01


def test_batches_shrink_until_a_search_is_short_but_not_below_what_is_efficient():
    pace = Pace(256)
    for _ in range(99):
        pace.observe(256, 1.0)
    assert pace.batch_size == pytest.approx(128, abs=3)
    for _ in range(99):
        pace.observe(64, 10.0)
    assert pace.batch_size == pytest.approx(64, abs=3)
    for _ in range(99):
        pace.observe(64, 0.001)
    assert pace.batch_size == pytest.approx(256, abs=3)


def test_small_batches_say_nothing_about_large_ones():
    pace = Pace(256)
    for _ in range(99):
        pace.observe(1, 1.0)
    assert pace.batch_size == 256


def test_the_estimate_counts_the_searches_before_and_its_own():
    pace = Pace(10)
    pace.observe(10, 2.0)
    assert pace.estimate_s(0) == 2.0
    assert pace.estimate_s(25) == pytest.approx(2.0 * 3)


def test_one_slow_search_is_soon_forgotten():
    pace = Pace(10)
    pace.observe(1, 40.0)  # a mapped index comes from the disk
    for _ in range(3):
        pace.observe(1, 0.01)
    assert pace.estimate_s(0) < 0.5
    pace.observe(1, 40.0)
    assert pace.estimate_s(0) < 10.0
