"""Medians, spreads and paired ratios: numpy in, numbers out.

The independent unit is a process (one repeat), never a step. Nothing is deleted: outliers are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import median_abs_deviation

Array = NDArray[np.float64]

OUTLIER_MADS = 3.5
SPREAD_DOUBT = 0.05  # repeats that lie further apart than this share of their median raise a doubt
ENOUGH_REPEATS = 6  # with fewer, no verdict is given
RESAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """One run's steps, in their own unit; `outliers` lie beyond median +- 3.5 MAD and are counted in all the rest."""

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


@dataclass(frozen=True)
class Ratio:
    """How many times as long `b` takes as `a`: above 1, a is faster. low and high bound the 95 % interval."""

    effect: float
    low: float
    high: float
    pairs: int


def summarise(values: ArrayLike, warmup: int = 0) -> Summary | None:
    """What is typical of `values` (n,) after the first `warmup`; None if none is left (no steady state)."""
    steady = _numbers(values)[warmup:]
    if not steady.size:
        return None
    median = float(np.median(steady))
    mad = float(median_abs_deviation(steady))
    p05, p95 = np.percentile(steady, [5, 95])
    outliers = int(np.sum(np.abs(steady - median) > OUTLIER_MADS * mad))
    return Summary(int(steady.size), median, float(p05), float(p95), mad, outliers)


def repeats(values: ArrayLike) -> Repeats | None:
    """What is typical of one number per process (n,); None if there is none."""
    numbers = _numbers(values)
    if not numbers.size:
        return None
    median, low, high = float(np.median(numbers)), float(numbers.min()), float(numbers.max())
    return Repeats(int(numbers.size), median, low, high, (high - low) / median if median else 0.0)


def paired_ratio(a: Sequence[ArrayLike], b: Sequence[ArrayLike], seed: int = 0) -> Ratio:
    """exp(median over pairs of log(median b / median a)), with a hierarchical bootstrap interval of 95 %.

    a, b: a[i] and b[i] are the steady steps (n,) of two runs that ran next to each other, in seconds; a run that is
          one number alone (an epoch, a total) is an array of one.
    seed: of the resampling: the same runs give the same interval.
    Each of the 10,000 resamples draws pairs, then steps within both runs of every pair drawn.
    Raises ValueError if there is no pair, a run without steps, or a time that is not above zero.
    """
    if not len(a) or len(a) != len(b):
        raise ValueError(f"pairs need as many runs on both sides, and one at least: {len(a)} and {len(b)}")
    runs = [(_times(left), _times(right)) for left, right in zip(a, b, strict=True)]
    effect = float(np.exp(np.median([np.log(np.median(right) / np.median(left)) for left, right in runs])))
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(runs), size=(RESAMPLES, len(runs)))
    logs = np.empty(drawn.shape)
    for at, (left, right) in enumerate(runs):
        here = drawn == at
        draws = int(here.sum())
        logs[here] = np.log(_resampled_medians(right, draws, rng) / _resampled_medians(left, draws, rng))
    low, high = np.exp(np.percentile(np.median(logs, axis=1), [2.5, 97.5]))
    return Ratio(effect, float(low), float(high), len(runs))


def _resampled_medians(steps: Array, draws: int, rng: np.random.Generator) -> Array:
    """Medians of `draws` bootstrap samples of `steps`, drawn without making the samples.

    Drawing n of n values with replacement is drawing n uniform numbers u and taking values[floor(n u)]; the k-th
    smallest of n uniform numbers has a Beta(k, n + 1 - k) distribution, and the next one above it lies a
    Beta(1, n - k) share of the rest higher. So a median costs two random numbers instead of n.
    """
    values, n = np.sort(steps), steps.size
    lower_rank = (n + 1) // 2
    lower = rng.beta(lower_rank, n + 1 - lower_rank, size=draws)
    if n % 2:
        return values[_places(lower, n)]
    upper = lower + (1 - lower) * rng.beta(1, n - lower_rank, size=draws)
    return np.asarray((values[_places(lower, n)] + values[_places(upper, n)]) / 2)


def _places(uniform: Array, n: int) -> NDArray[np.intp]:
    return np.minimum((uniform * n).astype(np.intp), n - 1)


def _times(steps: ArrayLike) -> Array:
    numbers = _numbers(steps)
    if not numbers.size or not np.all(numbers > 0):
        raise ValueError("a run needs at least one step, and every step takes more than zero seconds")
    return numbers


def _numbers(values: ArrayLike) -> Array:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.all(np.isfinite(numbers)):
        raise ValueError(f"expected finite numbers in one row, got shape {numbers.shape}")
    return numbers
