"""How long trainings take to reach an accuracy, where some of them do not reach it. Pure.

The seconds of a subject's seeds are taken as log-normal. A training that ended without the target is censored: all
that is known is that it takes longer than it lasted. Median and scale are those of the largest likelihood (Meeker and
Escobar 1998, Statistical Methods for Reliability Data, chapter 8); the interval holds the medians whose likelihood is
not much smaller. How much is exact where nothing is censored: the interval is then Student's, of the logarithms. With r
trainings that reached the target it is r ln(1 + t^2 / (r - 1)), t of r - 1 degrees of freedom.

The performance profile is that of Dolan and More 2002, as AlgoPerf (Dahl et al. 2023) scores trainings: the share of
cells that a subject solves within so many times the best seconds of a cell.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from orchestrator.analysis.stats import Array
from orchestrator.records.stored import StoredTrial

_Flags = NDArray[np.bool_]

LEVEL = 0.95

FEWEST_REACHED = 2
"""One training that reached the target says nothing about the scatter."""

LEAST_SCATTER = 1e-3
"""Of the logarithms: trainings whose seconds differ by less than a thousandth scatter by that."""

_WIDEST = 50.0
"""Standard deviations within which the end of an interval is looked for; beyond them it is open."""

_LOG_RANGE = 14.0
"""Of the scatter that is looked for, from the least."""


@dataclass(frozen=True)
class Attempt:
    """One training towards a target, in seconds.

    start:      from the first line of its process to its first batch: imports, building the network, opening pictures.
    steps:      of its epochs. evaluation: of scoring the validation pictures after each. epochs: how many there were.
    is_reached: whether its last epoch reached the target; else it is censored at what it lasted.
    """

    start: float
    steps: float
    evaluation: float
    epochs: int
    is_reached: bool

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.start + self.steps + self.evaluation


@dataclass(frozen=True)
class Estimate:
    """The median seconds to the target and its interval; None where too few reached it, or where an end is open."""

    median: float | None
    low: float | None
    high: float | None
    reached: int
    count: int


def attempt(job: StoredTrial) -> Attempt | None:
    """The attempt of a training that ended ok; None for one without a target."""
    target, timeline = job.trial.training.target, job.timeline
    if target is None or job.outcome.status != "ok" or not timeline.epochs:
        return None
    first, score = timeline.epochs[0], timeline.last_score(target.split)
    return Attempt(
        start=max(0.0, first.t - first.epoch_seconds),
        steps=sum(epoch.epoch_seconds for epoch in timeline.epochs),
        evaluation=sum(score.evaluate_seconds for score in timeline.scores if score.split == target.split),
        epochs=len(timeline.epochs),
        is_reached=score is not None and score.accuracy >= target.accuracy,
    )


def estimate(seconds: Sequence[float], is_reached: Sequence[bool], level: float = LEVEL) -> Estimate:
    """The median of log-normal seconds (n,), those not reached censored, with the interval of that level."""
    logs, reached = np.log(np.asarray(seconds, dtype=float)), np.asarray(is_reached, dtype=bool)
    count, of_reached = int(logs.size), int(reached.sum())
    if of_reached < FEWEST_REACHED:
        return Estimate(None, None, None, of_reached, count)
    centre = float(logs[reached].mean())
    scale = max(float(logs.std()), LEAST_SCATTER)
    units = (logs - centre) / scale  # so that one search suits all
    least = LEAST_SCATTER / scale

    def cost(at: float) -> float:
        return _profile(at, units, reached, least)

    middle = _lowest(cost, np.linspace(-3.0, 12.0, 31))
    t = float(scipy.stats.t.ppf((1 + level) / 2, of_reached - 1))
    allowed = cost(middle) + of_reached * np.log1p(t**2 / (of_reached - 1)) / 2
    ends = []
    for side in (-1, 1):
        far = middle + side * _WIDEST * max(t, 1.0)
        is_open = cost(far) <= allowed
        ends.append(None if is_open else float(scipy.optimize.brentq(lambda at: cost(at) - allowed, middle, far)))
    low, high = (None if end is None else float(np.exp(centre + scale * end)) for end in ends)
    return Estimate(float(np.exp(centre + scale * middle)), low, high, of_reached, count)


def profile(seconds: Mapping[str, Mapping[str, float]]) -> dict[str, list[tuple[float, float]]]:
    """subject -> [(ratio, share of cells solved within ratio times the best)], rising.

    seconds: cell -> subject -> median; a subject that is not in a cell has not solved it.
    """
    ratios: dict[str, list[float]] = {}
    for solved in seconds.values():
        best = min(solved.values(), default=1.0)
        for subject, own in solved.items():
            ratios.setdefault(subject, []).append(own / best)
    cells = len(seconds)
    return {
        subject: [(ratio, (at + 1) / cells) for at, ratio in enumerate(sorted(own))] for subject, own in ratios.items()
    }


def _profile(middle: float, units: Array, reached: _Flags, least: float) -> float:
    """Minus the logarithm of the likelihood at a median, with the scatter that suits it best; but for a constant.

    least: the smallest scatter that is looked for.
    """
    of_reached, of_others = units[reached] - middle, units[np.logical_not(reached)] - middle
    squares = float((of_reached**2).sum())

    def cost(log_scatter: float) -> float:
        scatter = math.exp(log_scatter)
        density = -squares / scatter**2 / 2 - of_reached.size * log_scatter
        return -float(density + scipy.special.log_ndtr(-of_others / scatter).sum())

    return cost(_lowest(cost, np.linspace(math.log(least), math.log(least) + _LOG_RANGE, 29)))


def _lowest(cost: Callable[[float], float], grid: Array) -> float:
    """Where a cost is lowest within a grid: beside its lowest point, more closely."""
    at = int(np.argmin([cost(float(point)) for point in grid]))
    low, high = float(grid[max(0, at - 1)]), float(grid[min(len(grid) - 1, at + 1)])
    found = float(scipy.optimize.minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)
    return min((found, low, high), key=cost)
