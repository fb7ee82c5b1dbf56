"""Medians, spreads and tests: numpy in, numbers out; ratios of pairs are in ratios.py.

The independent unit is a process (one repeat), never a step. Outliers are counted, not removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

OUTLIER_MADS = 3.5
SPREAD_CAVEAT = 0.05  # a larger spread of the repeats, as a share of their median, is a caveat
ENOUGH_REPEATS = 6  # with fewer, no verdict is given
SIGNIFICANT = 0.05
ROUNDING = 1e-12  # differences that vary by no larger share of themselves are equal


@dataclass(frozen=True)
class Summary:
    """One run's steps, in their own unit; `outliers` lie beyond median +- 3.5 MAD and are part of all other numbers."""

    count: int
    median: float
    p05: float
    p95: float
    mad: float
    outliers: int


@dataclass(frozen=True)
class Repeats:
    """One number per process, in its own unit; spread = (high - low) / median, 0.0 for a single repeat."""

    count: int
    median: float
    low: float
    high: float
    spread: float


def summarise(values: ArrayLike, warmup: int = 0) -> Summary | None:
    """Median, quantiles and outliers of `values` (n,) after the first `warmup`; None if none is left."""
    steady = np.sort(_numbers(values)[warmup:])
    if not steady.size:
        return None
    middle = _quantile(steady, 0.5)
    apart = np.abs(steady - middle)
    mad = median(apart)
    outliers = int(np.sum(apart > OUTLIER_MADS * mad))
    return Summary(int(steady.size), middle, _quantile(steady, 0.05), _quantile(steady, 0.95), mad, outliers)


def median(values: Array) -> float:
    """The median of finite values (n,), n > 0; np.median takes over four times as long for a few hundred of them."""
    return _quantile(np.sort(values), 0.5)


def medians(rows: Array) -> Array:
    """The median of each row (n, m), m > 0, of finite values."""
    ordered, middle = np.sort(rows, axis=1), rows.shape[1] // 2
    middles: Array = (ordered[:, (rows.shape[1] - 1) // 2] + ordered[:, middle]) / 2
    return middles


def _quantile(ordered: Array, share: float) -> float:
    """np.quantile of sorted values: linear between two neighbours."""
    place = share * (ordered.size - 1)
    below = int(place)
    low, high = float(ordered[below]), float(ordered[min(below + 1, ordered.size - 1)])
    return low + (high - low) * (place - below)


def repeats(values: ArrayLike) -> Repeats | None:
    """Median and spread of one number per process (n,); None if there is none."""
    numbers = _numbers(values)
    if not numbers.size:
        return None
    median, low, high = float(np.median(numbers)), float(numbers.min()), float(numbers.max())
    return Repeats(int(numbers.size), median, low, high, (high - low) / median if median else 0.0)


def level_of_each(family: int) -> float:
    """The level at which each of so many is judged, so that all of them together err in 5 % of cases (Sidak 1967)."""
    return float(1 - (1 - SIGNIFICANT) ** (1 / family))


def p_of_family(p: float, family: int) -> float:
    """The p of one of so many: below 0.05 exactly where `p` is below level_of_each."""
    return float(-np.expm1(family * np.log1p(-min(p, 1 - 1e-16))))


def holm(p_values: Sequence[float]) -> set[int]:
    """Indices of the significant ones, at a family-wise error rate of 5 %.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    ranked = sorted(range(len(p_values)), key=lambda at: p_values[at])
    significant: set[int] = set()
    for rank, at in enumerate(ranked):
        if p_values[at] > SIGNIFICANT / (len(p_values) - rank):
            break
        significant.add(at)
    return significant


def t_test(differences: ArrayLike) -> float:
    """Two-sided p that the mean of `differences` (n,) is zero; 1 for a single one.

    Under the null hypothesis differences are symmetric; then the test keeps its level, also with long tails
    (simulated in tests/unit/analysis/test_stats.py).
    """
    numbers = _numbers(differences)
    if len(numbers) < 2:
        return 1.0
    if np.ptp(numbers) <= ROUNDING * np.abs(numbers).max():
        return 0.0 if numbers[0] else 1.0
    return float(scipy.stats.ttest_1samp(numbers, 0).pvalue)


def same_share(counts: Sequence[int], totals: Sequence[int]) -> float:
    """p of Pearson's test of homogeneity: that all shares counts[i] / totals[i] are equal.

    Conservative where the runs share their test pictures.
    """
    table = np.array([counts, np.subtract(totals, counts)])
    table = table[table.sum(axis=1) > 0]
    return float(scipy.stats.chi2_contingency(table, correction=False).pvalue) if len(table) == 2 else 1.0


def _numbers(values: ArrayLike) -> Array:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.all(np.isfinite(numbers)):
        raise ValueError(f"expected finite numbers in one row, got shape {numbers.shape}")
    return numbers
