"""Which of several subjects is fastest in a cell: simultaneous intervals of their ranks.

A rank lies between one more than those that are surely faster, and the number of all less those surely slower.
Source: Al Mohamad, Goeman and van Zwet 2022, "Simultaneous confidence intervals for ranks".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from orchestrator.analysis.ratios import Ratio, TimedRun, judge, paired
from orchestrator.analysis.scatter import Scatter
from orchestrator.trial import Cell, Turn

Timings = Mapping[str, Mapping[Turn, TimedRun]]
"""The runs of one cell, by subject and turn."""


@dataclass(frozen=True)
class Rank:
    """low, high: the interval of its rank, 1 for the fastest. seconds: the median of its runs, for the eye only."""

    subject: str
    low: int
    high: int
    seconds: float


@dataclass(frozen=True)
class Ranking:
    """ranks: by interval, then by name. ratios: of (a, b): above 1, a is faster. ranges: of the pairs' own ratios."""

    ranks: Sequence[Rank]
    ratios: Mapping[tuple[str, str], Ratio]
    ranges: Mapping[tuple[str, str], tuple[float, float]]

    @property
    def leaders(self) -> list[str]:
        """Those that may be the fastest."""
        return [rank.subject for rank in self.ranks if rank.low == 1]

    @property
    def pairs(self) -> int:
        """The fewest pairs of any two subjects."""
        return min(ratio.pairs for ratio in self.ratios.values())

    def key(self, a: str, b: str) -> tuple[str, str] | None:
        """The key of these two in ratios and ranges, whichever comes first; None if they share no turn."""
        return next((pair for pair in ((a, b), (b, a)) if pair in self.ratios), None)


def rankings(cells: Mapping[Cell, Timings], known: Sequence[Scatter] = ()) -> dict[Cell, Ranking]:
    """The ranking of each cell in which two subjects or more share turns; all cells and pairs are one family."""
    pairs_of = {}
    for cell, timings in cells.items():
        for a, b in combinations(sorted(timings), 2):
            turns = [turn for turn in timings[a] if turn in timings[b]]
            if turns:
                pairs_of[cell, a, b] = paired(
                    [timings[a][turn] for turn in turns], [timings[b][turn] for turn in turns]
                )
    judged = dict(zip(pairs_of, judge([[pairs] for pairs in pairs_of.values()], known), strict=True))
    made = {}
    for cell, timings in cells.items():
        here = {(a, b): ratio for (place, a, b), ratio in judged.items() if place == cell}
        ranges = {
            (a, b): (float(np.exp(pairs.logs.min())), float(np.exp(pairs.logs.max())))
            for (place, a, b), pairs in pairs_of.items()
            if place == cell
        }
        subjects = sorted({subject for pair in here for subject in pair})
        if subjects:
            ranks = [_rank(subject, here, timings[subject], len(subjects)) for subject in subjects]
            made[cell] = Ranking(sorted(ranks, key=lambda rank: (rank.low, rank.high)), here, ranges)
    return made


def _rank(subject: str, ratios: Mapping[tuple[str, str], Ratio], runs: Mapping[Turn, TimedRun], count: int) -> Rank:
    # A difference of under 2 % that is sure is an order, too: `same` is a word about its size.
    faster = sum(_is_sure(ratio, a == subject) for (a, b), ratio in ratios.items() if subject in (a, b))
    slower = sum(_is_sure(ratio, b == subject) for (a, b), ratio in ratios.items() if subject in (a, b))
    seconds = float(np.median([run.seconds for run in runs.values()]))
    return Rank(subject, 1 + slower, count - faster, seconds)


def _is_sure(ratio: Ratio, is_first: bool) -> bool:
    """Whether the first, or else the second, of a pair is surely the faster one."""
    if ratio.low is None or ratio.high is None or ratio.pairs < ratio.fewest:
        return False
    return ratio.low > 1 if is_first else ratio.high < 1
