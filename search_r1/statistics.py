"""Intervals of shares, means and differences, for the summary of a run and for evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

_RESAMPLES = 5000
_Z = 1.959964  # 95 % of a normal distribution lie within this many deviations


def wilson_interval(share: float, number: int) -> tuple[float, float]:
    """Give the 95 % Wilson interval of a share of so many questions."""
    centre = (share + _Z**2 / (2 * number)) / (1 + _Z**2 / number)
    spread = share * (1 - share) / number + _Z**2 / (4 * number**2)
    half = _Z * np.sqrt(spread) / (1 + _Z**2 / number)
    # Rounding may put an end past the share itself where that is 0 or 1.
    return float(min(share, max(0.0, centre - half))), float(max(share, min(1.0, centre + half)))


def bootstrap_interval(values: np.ndarray[Any, Any], seed: int = 0) -> tuple[float, float]:
    """Give the 95 % interval of the mean of values, shape (questions,), by resampling them."""
    low, high = np.quantile(_resampled(np.random.default_rng(seed), values), [0.025, 0.975])
    return float(low), float(high)


def difference_interval(
    first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]
) -> tuple[float, float]:
    """Give the 95 % interval of the mean of ``second`` minus that of ``first``, other questions."""
    generator = np.random.default_rng(0)
    after = _resampled(generator, second)
    low, high = np.quantile(after - _resampled(generator, first), [0.025, 0.975])
    return float(low), float(high)


def _resampled(
    generator: np.random.Generator, values: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Give the means of values, shape (questions,), drawn anew again and again: (resamples,)."""
    draws = generator.integers(len(values), size=(_RESAMPLES, len(values)))
    means: np.ndarray[Any, Any] = values[draws].mean(axis=1)
    return means
