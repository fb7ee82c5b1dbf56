"""Intervals of contrasts: how the times of several cells stand to each other, such as the growth of one framework's
time with depth beside that of another.

A contrast is a weighted sum of the logs of times. It is taken turn by turn, because the runs of one turn (one seed and
repeat of every cell) lie closer together than those of two turns; the turns are its sample.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import scipy

from orchestrator.analysis.ratios import FIRST_LOOK
from orchestrator.analysis.scatter import Scatter, moderated, prior_of
from orchestrator.analysis.stats import level_of_each
from orchestrator.trial import Turn

Key = TypeVar("Key", bound=Hashable)


class Estimate(NamedTuple):
    """A value and its simultaneous interval; low and high are None where the runs are too few for one."""

    value: float
    low: float | None
    high: float | None

    def is_above(self, bound: float) -> bool | None:
        """Whether the true value is surely above `bound`; False if surely below, None if the interval holds it."""
        if self.low is None or self.high is None:
            return None
        return True if self.low > bound else False if self.high < bound else None


def exact(contrast: Mapping[Key, float], seconds: Mapping[Key, float]) -> Estimate | None:
    """A contrast of single figures that are taken as they are; None if one of them is missing."""
    if not contrast.keys() <= seconds.keys():
        return None
    value = float(sum(weight * np.log(seconds[key]) for key, weight in contrast.items()))
    return Estimate(value, value, value)


def estimates(
    contrasts: Sequence[Mapping[Key, float]], seconds: Mapping[Key, Mapping[Turn, float]]
) -> list[Estimate | None]:
    """Each contrast, all judged together: in 95 % of cases all of the intervals hold. None where a time is missing.

    seconds: of each key, by turn. Fewer than three common turns give no interval. The scatter of a contrast is
    moderated by that of all others (Smyth 2004), each divided by the sum of its squared weights.
    """
    samples = [_sample(contrast, seconds) for contrast in contrasts]
    squares = [sum(weight**2 for weight in contrast.values()) for contrast in contrasts]
    scatters = [
        Scatter(float(np.var(sample, ddof=1)) / square, sample.size - 1) if sample.size > 1 else None
        for sample, square in zip(samples, squares, strict=True)
    ]
    prior = prior_of([scatter for scatter in scatters if scatter])
    judged = sum(sample.size > 0 for sample in samples)
    results: list[Estimate | None] = []
    for sample, square, scatter in zip(samples, squares, scatters, strict=True):
        if not sample.size:
            results.append(None)
        elif scatter is None or sample.size < FIRST_LOOK:
            results.append(Estimate(float(sample.mean()), None, None))
        else:
            used = moderated(scatter, prior)
            error = np.sqrt(used.variance * square / sample.size)
            results.append(_interval(float(sample.mean()), float(error), used.freedom, judged))
    return results


def mean_difference(differences: Sequence[float], family: int) -> Estimate | None:
    """The mean of differences between blocks, by Student's t, as one of so many; None without any."""
    sample = np.asarray(differences, dtype=np.float64)
    if not sample.size:
        return None
    if sample.size < FIRST_LOOK:
        return Estimate(float(sample.mean()), None, None)
    error = float(np.std(sample, ddof=1) / np.sqrt(sample.size))
    return _interval(float(sample.mean()), error, sample.size - 1, family)


def _sample(contrast: Mapping[Key, float], seconds: Mapping[Key, Mapping[Turn, float]]) -> np.ndarray:
    """The value of the contrast in each turn that all of its keys have (n,)."""
    if not contrast.keys() <= seconds.keys():
        return np.empty(0)
    turns = sorted(set.intersection(*(set(seconds[key]) for key in contrast)))
    return np.array([sum(weight * np.log(seconds[key][turn]) for key, weight in contrast.items()) for turn in turns])


def _interval(value: float, error: float, freedom: float, family: int) -> Estimate:
    half = float(scipy.stats.t.isf(level_of_each(family) / 2, freedom)) * error
    return Estimate(value, value - half, value + half)
