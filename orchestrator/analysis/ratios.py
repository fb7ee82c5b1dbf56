"""Paired ratios: how many times as fast one build is as another, with an interval that is also the verdict.

The unit is a pair of processes that ran next to each other. A family of comparisons has simultaneous intervals: all of
them hold together in 95 % of cases, and one that excludes 1 is a verdict (docs/adr/0009; benchmarks/verdicts.py).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import scipy

from orchestrator.analysis.scatter import Prior, Scatter, moderated, prior_of
from orchestrator.analysis.stats import ENOUGH_REPEATS, SIGNIFICANT, Array, level_of_each, p_of_family

SAME = 1.02
"""A difference below this factor counts as none."""

FIRST_LOOK = 3
"""Pairs after which a comparison that adds pairs until it knows may give its first verdict."""

MOST_PAIRS = 30
"""Pairs after which such a comparison stops."""

ADJACENT_FREEDOM = 0.7
"""Degrees of freedom of a difference of two runs where the next difference shares a run with it (von Neumann 1941)."""

_FAR = 500  # more pairs than anybody runs

Verdict = Literal["faster", "slower", "same", "unclear"]


class TimedRun(NamedTuple):
    """One process. place: of its start among all, in any unit; seconds: of its median step, epoch ..."""

    place: float
    seconds: float


@dataclass(frozen=True)
class Pairs:
    """The pairs of one comparison.

    logs:       (n,) log of how many times as long the second of a pair took as the first: above 0 the first is faster.
    order:      (n,) 1 where the first of the two also ran first, else -1.
    neighbours: (k,) log ratios of runs of one build that followed each other: what noise alone does.
    """

    logs: Array
    order: Array
    neighbours: Array = field(default_factory=lambda: np.empty(0))

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return len(self.logs)


_WIDE = 100.0
"""So many times its lower end, the upper end of an interval is no number that anybody could use."""


@dataclass(frozen=True)
class Ratio:
    """How many times as long the second takes as the first: above 1, the first is faster.

    low, high: the simultaneous interval of its family; None for a single pair, which has none.
    p, p_alone: two-sided; for the family (below 0.05 exactly if the interval excludes 1), and if it were the only one.
    family:    how many comparisons are judged together.
    fewest:    pairs that a verdict takes.
    error, freedom, level: of the log of the effect: its standard error, degrees of freedom, and the interval's level.
    """

    effect: float
    low: float | None
    high: float | None
    pairs: int
    p: float
    p_alone: float
    family: int = 1
    fewest: int = ENOUGH_REPEATS
    error: float = 0.0
    freedom: float = 0.0
    level: float = SIGNIFICANT

    @property
    def more(self) -> int | None:
        """Pairs that would bring a verdict in addition, if effect and scatter stay; 0 with one, None if over 500."""
        if self.verdict != "unclear":
            return 0
        if not self.freedom:
            return None
        added = np.arange(1, _FAR + 1)
        shrunk = self.error * np.sqrt(self.pairs / (self.pairs + added))
        half = scipy.stats.t.isf(self.level / 2, self.freedom + added) * shrunk
        estimate = abs(np.log(self.effect))
        is_enough = (half < max(estimate, np.log(SAME) - estimate)) & (self.pairs + added >= self.fewest)
        return int(added[is_enough.argmax()]) if is_enough.any() else None

    @property
    def verdict(self) -> Verdict:
        """faster, slower: the interval excludes 1. same: it lies within 2 % of 1. unclear: neither, or few pairs."""
        if self.low is None or self.high is None or self.pairs < self.fewest:
            return "unclear"
        if self.low >= 1 / SAME and self.high <= SAME:
            return "same"
        return "faster" if self.low > 1 else "slower" if self.high < 1 else "unclear"

    @property
    def interval(self) -> str:
        """'[1.070, 1.520]'; '' without one, and words in place of one that is so wide that it says nothing."""
        if self.low is None or self.high is None:
            return ""
        if self.high > _WIDE * self.low:
            return f"(its interval is more than {_WIDE:.0f} times wide)"
        return f"[{self.low:.3f}, {self.high:.3f}]"

    @property
    def withheld(self) -> str:
        """Which rule withheld a verdict, and what would bring one; '' if there is a verdict."""
        if self.verdict != "unclear":
            return ""
        if self.pairs < self.fewest:
            return f"no verdict from fewer than {self.fewest} pairs"
        more = f"over {_FAR} more pairs" if self.more is None else f"about {self.more} more pairs"
        if self.p_alone < SIGNIFICANT <= self.p:
            why = f"no verdict, as {self.family} comparisons are judged together"
            return f"{why}: p = {self.p:.2g} ({self.p_alone:.1g} alone); {more} would give one"
        return f"no difference shown: p = {self.p:.2g}; {more} would give a verdict"


def paired(first: Sequence[TimedRun], second: Sequence[TimedRun]) -> Pairs:
    """The pairs first[i] and second[i], by the time at which they ran.

    Raises ValueError if there is none, if one is without a partner, or for a time that is not above zero.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"pairs need as many runs on both sides, and one at least: {len(first)} and {len(second)}")
    seconds = np.array([[a.seconds, b.seconds] for a, b in zip(first, second, strict=True)])
    if not np.all(np.isfinite(seconds)) or not np.all(seconds > 0):
        raise ValueError("a run takes more than zero seconds, and a finite number of them")
    order = np.array([1.0 if a.place <= b.place else -1.0 for a, b in zip(first, second, strict=True)])
    sides = enumerate((first, second))
    runs = sorted((run.place, side, at, run.seconds) for side, runs in sides for at, run in enumerate(runs))
    neighbours = [
        np.log(right[3] / left[3])
        for left, right in itertools.pairwise(runs)
        if left[1] == right[1] and left[2] != right[2]
    ]
    return Pairs(np.log(seconds[:, 1] / seconds[:, 0]), order, np.array(neighbours))


def scatters(pairs: Pairs) -> list[Scatter]:
    """What the pairs, and the neighbours of one build, tell about the scatter between runs."""
    scatters = [_fit(pairs).scatter]
    shifts = len(pairs.neighbours) - 1
    if shifts >= 1:
        scatters.append(Scatter(float(np.var(pairs.neighbours, ddof=1)), ADJACENT_FREEDOM * shifts))
    return [scatter for scatter in scatters if scatter.freedom > 0]


def judge(
    rows: Sequence[Sequence[Pairs]],
    known: Sequence[Scatter] = (),
    *,
    family: int | None = None,
    is_sequential: bool = False,
) -> list[Ratio]:
    """The ratio of each row, all judged together. A row of several cells is their geometric mean.

    known:  scatters of earlier controls of these builds on this machine.
    family: how many comparisons the family has, if more than these.
    is_sequential: intervals that hold however often one looks and whenever one stops, from FIRST_LOOK to MOST_PAIRS
                   pairs; then rows do not lend each other their scatter, so that a verdict that stood still stands.

    The estimate of a cell is the mean of its logs, for six pairs or more with the effect of the order taken out (the
    analysis of a two-period crossover, Grizzle 1965), and scatters are moderated as in Smyth 2004, but never lowered.
    Raises ValueError for a row without cells, or a cell without pairs.
    """
    if not rows:
        return []
    if not all(rows):
        raise ValueError("a mean needs one cell at least")
    size = family or len(rows)
    level = level_of_each(size)
    design = _Design(size, _level_of_a_look(level) if is_sequential else level, is_sequential)
    told = [[scatter for pairs in row for scatter in scatters(pairs)] for row in rows]
    shared = prior_of([*known, *itertools.chain(*told)])
    return [
        _ratio([_fit(pairs) for pairs in row], prior_of([*known, *own]) if is_sequential else shared, design)
        for row, own in zip(rows, told, strict=True)
    ]


class _Fit(NamedTuple):
    """estimate: mean log. weight: 1 / weight of the scatter is the variance of the estimate."""

    estimate: float
    scatter: Scatter
    weight: float
    pairs: int


class _Design(NamedTuple):
    family: int
    level: float
    is_sequential: bool


def _fit(pairs: Pairs) -> _Fit:
    """Mean and scatter of the logs; from six pairs on without what it does to run first."""
    logs, n = pairs.logs, pairs.count
    if not n:
        raise ValueError("a comparison needs one pair at least")
    tilt = pairs.order - pairs.order.mean()
    spread = float(tilt @ tilt)
    has_order = n >= ENOUGH_REPEATS and spread > 0
    slope = float(tilt @ logs) / spread if has_order else 0.0
    middle = float(pairs.order.mean())
    residuals = logs - logs.mean() - slope * tilt
    freedom = n - 1 - has_order
    variance = float(residuals @ residuals) / freedom if freedom else 0.0
    weight = 1 / (1 / n + (middle**2 / spread if has_order else 0.0))
    return _Fit(float(logs.mean()) - slope * middle, Scatter(variance, freedom), weight, n)


def _ratio(cells: Sequence[_Fit], prior: Prior | None, design: _Design) -> Ratio:
    """The mean over cells, with Satterthwaite's degrees of freedom (1946) for several."""
    used = [moderated(cell.scatter, prior) for cell in cells]
    estimate = float(np.mean([cell.estimate for cell in cells]))
    pairs = min(cell.pairs for cell in cells)
    fewest = FIRST_LOOK if design.is_sequential else ENOUGH_REPEATS
    effect = float(np.exp(estimate))
    if min(scatter.freedom for scatter in used) == 0:
        return Ratio(effect, None, None, pairs, 1.0, 1.0, design.family, fewest)
    squares = np.array([scatter.variance / cell.weight for scatter, cell in zip(used, cells, strict=True)])
    squared_error = float(squares.sum()) / len(cells) ** 2
    freedom = used[0].freedom
    if len(cells) > 1 and squared_error:
        freedom = float(squares.sum() ** 2 / np.sum(squares**2 / [scatter.freedom for scatter in used]))
    half = float(scipy.stats.t.isf(design.level / 2, freedom)) * np.sqrt(squared_error)
    if squared_error:
        p = float(2 * scipy.stats.t.sf(abs(estimate) / np.sqrt(squared_error), freedom))
    else:
        p = 1.0 if estimate == 0 else 0.0
    low, high = float(np.exp(estimate - half)), float(np.exp(estimate + half))
    error = float(np.sqrt(squared_error))
    where = (design.family, fewest, error, freedom, design.level)
    return Ratio(effect, low, high, pairs, _adjusted(p, design), p, *where)


def _adjusted(p: float, design: _Design) -> float:
    """The p of a whole family, and of all looks: below 0.05 exactly where p is below the level of the design."""
    return p_of_family(_level_of_looks(p) if design.is_sequential else p, design.family)


def _level_of_a_look(level: float) -> float:
    """The level of one look, so that all looks together err in `level` of cases.

    Simulated for a look after every pair from the 3rd to the 30th (benchmarks/verdicts.py): 0.122 of a level of 5 %,
    0.075 of one of 0.13 %; this curve lies below them. Source: Jennison and Turnbull 1989, repeated confidence
    intervals.
    """
    return float(0.118 * (level / 0.05) ** 0.13 * level)


def _level_of_looks(level: float) -> float:
    """The inverse of _level_of_a_look."""
    return float(min(1.0, (level * 0.05**0.13 / 0.118) ** (1 / 1.13)))
