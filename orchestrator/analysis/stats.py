"""Medians, spreads and paired ratios: numpy in, numbers out.

The independent unit is a process (one repeat), never a step. Outliers are counted, not removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2_contingency, median_abs_deviation, norm
from scipy.stats import t as student

Array = NDArray[np.float64]

OUTLIER_MADS = 3.5
SPREAD_CAVEAT = 0.05  # a larger spread of the repeats, as a share of their median, is a caveat
ENOUGH_REPEATS = 6  # with fewer, no verdict is given
SAME = 1.02  # a difference below this factor counts as none
SIGNIFICANT = 0.05
RESAMPLES = 10_000

Verdict = Literal["faster", "slower", "same", "unclear"]


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


@dataclass(frozen=True)
class Ratio:
    """How many times as long `b` takes as `a`: above 1, a is faster. low and high bound the 95 % interval.

    p: two-sided, by Student's t-test of the pairs' logs; 1 for a single pair.
    """

    effect: float
    low: float
    high: float
    pairs: int
    p: float


def summarise(values: ArrayLike, warmup: int = 0) -> Summary | None:
    """Median, quantiles and outliers of `values` (n,) after the first `warmup`; None if none is left."""
    steady = _numbers(values)[warmup:]
    if not steady.size:
        return None
    median = float(np.median(steady))
    mad = float(median_abs_deviation(steady))
    p05, p95 = np.percentile(steady, [5, 95])
    outliers = int(np.sum(np.abs(steady - median) > OUTLIER_MADS * mad))
    return Summary(int(steady.size), median, float(p05), float(p95), mad, outliers)


def repeats(values: ArrayLike) -> Repeats | None:
    """Median and spread of one number per process (n,); None if there is none."""
    numbers = _numbers(values)
    if not numbers.size:
        return None
    median, low, high = float(np.median(numbers)), float(numbers.min()), float(numbers.max())
    return Repeats(int(numbers.size), median, low, high, (high - low) / median if median else 0.0)


def paired_ratio(a: Sequence[ArrayLike], b: Sequence[ArrayLike], seed: int = 0) -> Ratio:
    """exp(median over pairs of log(median b / median a)), with a hierarchical bootstrap interval of 95 %.

    a, b: a[i] and b[i] are the steady steps (n,) of two runs that ran next to each other, in seconds; a run with a
          single number (an epoch, a total) is an array of one.
    seed: of the resampling, so that the same runs give the same interval.
    Each of the 10,000 resamples draws pairs, then steps within both runs of every pair drawn.
    Raises ValueError if there is no pair, a run without steps, or a time that is not above zero.
    """
    return geometric_mean([(a, b)], seed)


def geometric_mean(cells: Sequence[tuple[Sequence[ArrayLike], Sequence[ArrayLike]]], seed: int = 0) -> Ratio:
    """The geometric mean of the paired ratios of several cells, with its interval.

    cells: (a, b) of each, as paired_ratio takes them. The result's `pairs` is the smallest number of any cell.
    Raises ValueError as paired_ratio does, and if there is no cell.
    """
    if not cells:
        raise ValueError("a mean needs one cell at least")
    all_runs = [_pairs(a, b) for a, b in cells]
    rng = np.random.default_rng(seed)
    logs = [_logs(runs) for runs in all_runs]
    pairs = min(map(len, all_runs))
    resampled = np.mean([_resampled(runs, rng) for runs in all_runs], axis=0)
    tail = _tail(pairs)
    effect, low, high = np.exp([np.mean([np.median(cell) for cell in logs]), *np.quantile(resampled, [tail, 1 - tail])])
    return Ratio(float(effect), float(low), float(high), pairs, _t_test(logs))


def noise_floor(a: Sequence[ArrayLike], b: Sequence[ArrayLike], seed: int = 0) -> float:
    """The factor below which 95 % of comparisons of a build with itself stay on this machine; at least 1.

    a, b: an A/A control, as paired_ratio takes them. Resamples are centred on their median, because the true ratio of a
          control is 1; their scatter is the noise of this many pairs.
    """
    resampled = _resampled(_pairs(a, b), np.random.default_rng(seed))
    return float(np.exp(np.percentile(np.abs(resampled - np.median(resampled)), 95)))


def verdicts(ratios: Sequence[Ratio], floors: ArrayLike = 1.0) -> list[Verdict]:
    """One verdict for each ratio; the family-wise error rate is 5 % (Holm).

    floors: the noise floor, a factor (see noise_floor), for all or for each.
    faster, slower: significant, and by more than both its noise floor and 2 %. same: the whole interval is within 2 %.
    unclear: anything else, and every ratio of fewer than six pairs.
    """
    significant = holm([ratio.p for ratio in ratios])
    thresholds = np.broadcast_to(np.maximum(floors, SAME), len(ratios))
    return [_verdict(ratio, at in significant, thresholds[at]) for at, ratio in enumerate(ratios)]


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
    return _t_test([_numbers(differences)])


def same_share(counts: Sequence[int], totals: Sequence[int]) -> float:
    """p of Pearson's test of homogeneity: that all shares counts[i] / totals[i] are equal.

    Conservative where the runs share their test pictures.
    """
    table = np.array([counts, np.subtract(totals, counts)])
    table = table[table.sum(axis=1) > 0]
    return float(chi2_contingency(table, correction=False).pvalue) if len(table) == 2 else 1.0


def _verdict(ratio: Ratio, is_significant: bool, threshold: float) -> Verdict:
    if ratio.pairs < ENOUGH_REPEATS:
        return "unclear"
    if ratio.low >= 1 / SAME and ratio.high <= SAME:
        return "same"
    if is_significant and ratio.low > 1 and ratio.effect > threshold:
        return "faster"
    if is_significant and ratio.high < 1 and ratio.effect < 1 / threshold:
        return "slower"
    return "unclear"


def _pairs(a: Sequence[ArrayLike], b: Sequence[ArrayLike]) -> list[tuple[Array, Array]]:
    if not len(a) or len(a) != len(b):
        raise ValueError(f"pairs need as many runs on both sides, and one at least: {len(a)} and {len(b)}")
    return [(_times(left), _times(right)) for left, right in zip(a, b, strict=True)]


def _logs(runs: Sequence[tuple[Array, Array]]) -> Array:
    """log(median b / median a) of each pair."""
    return np.array([np.log(np.median(right) / np.median(left)) for left, right in runs])


def _resampled(runs: Sequence[tuple[Array, Array]], rng: np.random.Generator) -> Array:
    """The median log ratio of each resample, (RESAMPLES,): pairs are drawn, then steps within both runs of each."""
    drawn = rng.integers(len(runs), size=(RESAMPLES, len(runs)))
    logs = np.empty(drawn.shape)
    for at, (left, right) in enumerate(runs):
        here = drawn == at
        draws = int(here.sum())
        logs[here] = np.log(_resampled_medians(right, draws, rng) / _resampled_medians(left, draws, rng))
    return np.asarray(np.median(logs, axis=1))


def _tail(pairs: int) -> float:
    """The share of resamples to leave out at each end for 95 %: 2.5 % of many pairs, 0.5 % of six.

    The bootstrap underestimates the scatter of a few pairs; Student's t corrects for it. With the plain 2.5 % an
    interval of six pairs misses the true value once in 16 times, not once in 20.
    Source: Hesterberg 2015, "What Teachers Should Know About the Bootstrap", expanded percentiles; without the factor
    for the mean, since resamples of a median do not scatter too little.
    """
    if pairs == 1:
        return 0.025  # of one pair only its steps are resampled
    return float(norm.sf(student.isf(0.025, pairs - 1)))


def _t_test(cells: Sequence[Array]) -> float:
    """Two-sided p of the mean over cells of the mean log of each; of one cell, the paired t-test.

    Source: Satterthwaite 1946 for the degrees of freedom of several cells with different variances.
    """
    if min(map(len, cells)) == 1:
        return 1.0
    squared_errors = np.array([np.var(logs, ddof=1) / len(logs) for logs in cells])
    mean, squared_error = np.mean([np.mean(logs) for logs in cells]), np.sum(squared_errors)
    if squared_error == 0:
        return 1.0 if mean == 0 else 0.0
    freedom = squared_error**2 / np.sum(squared_errors**2 / [len(logs) - 1 for logs in cells])
    return float(2 * student.sf(len(cells) * abs(mean) / np.sqrt(squared_error), freedom))


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
