"""How long trainings take to reach an accuracy, where some of them do not reach it. Pure.

The seconds of a subject's seeds are taken as log-normal. A training that ended without the target is censored: all
that is known is that it takes longer than it lasted. Median and scale are those of the largest likelihood (Meeker and
Escobar 1998, Statistical Methods for Reliability Data, chapter 8); the interval holds the medians whose likelihood is
not much smaller. How much is exact where nothing is censored: the interval is then Student's, of the logarithms. With r
trainings that reached the target it is r ln(1 + t^2 / (r - 1)), t of r - 1 degrees of freedom.

The performance profile is that of Dolan and More 2002, as AlgoPerf (Dahl et al. 2023) scores trainings: the share of
cells that a subject solves within so many times the best seconds of a cell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from orchestrator.analysis.stats import Array
from orchestrator.records.stored import StoredTrial

_Flags = NDArray[np.bool_]

LEVEL = 0.95

ROUNDING = 1e-9
"""Logarithms of seconds that differ by no more are equal."""

FEWEST_REACHED = 2
"""One training that reached the target says nothing about the scatter."""

_WIDEST = 50.0
"""Standard deviations within which the end of an interval is looked for; beyond them it is open."""


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
    scale = float(logs[reached].std())
    if scale < ROUNDING and reached.all():
        middle_seconds = float(np.exp(centre))
        return Estimate(middle_seconds, middle_seconds, middle_seconds, of_reached, count)
    scale = max(scale, ROUNDING)
    units = (logs - centre) / scale  # so that one search suits all

    def cost_at(at: Array) -> float:
        return _cost(float(at[0]), float(at[1]), units, reached)

    best = scipy.optimize.minimize(cost_at, np.zeros(2), method="Nelder-Mead")
    middle, spread = float(best.x[0]), float(np.exp(best.x[1]))
    t = float(scipy.stats.t.ppf((1 + level) / 2, of_reached - 1))
    allowed = float(best.fun) + of_reached * np.log1p(t**2 / (of_reached - 1)) / 2

    def beyond(at: float) -> float:
        return float(_profile(at, units, reached) - allowed)

    ends = []
    for side in (-1, 1):
        far = middle + side * _WIDEST * spread * max(t, 1.0)
        ends.append(float(scipy.optimize.brentq(beyond, middle, far)) if beyond(far) > 0 else None)
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


def _profile(middle: float, units: Array, reached: _Flags) -> float:
    """The cost at a median, with the scale that suits it best."""
    found = scipy.optimize.minimize_scalar(
        lambda spread: _cost(middle, spread, units, reached), bounds=(-14.0, 14.0), method="bounded"
    )
    return float(found.fun)


def _cost(middle: float, log_spread: float, units: Array, reached: _Flags) -> float:
    """Minus the logarithm of the likelihood."""
    apart = (units - middle) / np.exp(log_spread)
    of_reached = np.asarray(scipy.stats.norm.logpdf(apart[reached])) - log_spread
    of_others = np.asarray(scipy.stats.norm.logsf(apart[np.logical_not(reached)]))
    return -float(of_reached.sum() + of_others.sum())
