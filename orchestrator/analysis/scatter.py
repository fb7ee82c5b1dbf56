"""The scatter between runs: estimates of it, what several estimates say of each, and what pairs of runs can find."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import scipy
from scipy.special import digamma, polygamma

from orchestrator.analysis.stats import SIGNIFICANT

FEWEST_SCATTERS = 4
"""With fewer of them nothing is learnt about how much scatters differ."""


class Scatter(NamedTuple):
    """An estimate of the variance of a pair's log ratio, with its degrees of freedom."""

    variance: float
    freedom: float


class Prior(NamedTuple):
    """What all scatters together say of any: its expected variance, worth so many degrees of freedom; theirs in all."""

    scatter: Scatter
    pooled_freedom: float


def prior_of(scatters: Sequence[Scatter]) -> Prior | None:
    """The distribution of variances that these were drawn from; None if they are too few to tell.

    Source: Smyth 2004, "Linear models and empirical Bayes methods", section 6.2; freedom is capped as in limma.
    """
    if len(scatters) < FEWEST_SCATTERS:
        return None
    freedom = np.array([scatter.freedom for scatter in scatters])
    logs = np.log(np.maximum([scatter.variance for scatter in scatters], 1e-12))
    centred = logs - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(np.var(centred, ddof=1) - np.mean(polygamma(1, freedom / 2)))
    if excess <= 0:
        return Prior(Scatter(float(np.exp(centred.mean())), np.inf), float(freedom.sum()))
    worth = 2 * _inverse_trigamma(excess)
    variance = float(np.exp(centred.mean() + digamma(worth / 2) - np.log(worth / 2)))
    return Prior(Scatter(variance, worth), float(freedom.sum()))


def moderated(own: Scatter, prior: Prior | None) -> Scatter:
    """A scatter and what all others say of it; its own variance if that is larger, for a noisy row among quiet ones."""
    if prior is None or not own.freedom:
        return own
    (variance, worth), pooled = prior
    if np.isinf(worth):
        return Scatter(max(own.variance, variance), pooled)
    mixed = (worth * variance + own.freedom * own.variance) / (worth + own.freedom)
    return Scatter(max(own.variance, mixed), min(worth + own.freedom, pooled))


def pooled(scatters: Iterable[Scatter]) -> Scatter | None:
    """All scatters as one, weighted by their freedom; None without any."""
    known = list(scatters)
    freedom = sum(scatter.freedom for scatter in known)
    return Scatter(sum(scatter.variance * scatter.freedom for scatter in known) / freedom, freedom) if freedom else None


def noise_factor(scatter: Scatter, pairs: int) -> float:
    """The factor that noise alone exceeds in 5 % of comparisons of so many pairs."""
    return float(np.exp(scipy.stats.t.isf(SIGNIFICANT / 2, scatter.freedom) * np.sqrt(scatter.variance / pairs)))


def findable_factor(scatter: Scatter, pairs: int) -> float:
    """The factor that a single comparison of so many pairs finds in 80 % of cases."""
    freedom = max(pairs - 2, 1)
    reach = scipy.stats.t.isf(SIGNIFICANT / 2, freedom) + scipy.stats.t.isf(0.2, freedom)
    return float(np.exp(reach * np.sqrt(scatter.variance / pairs)))


def _inverse_trigamma(value: float) -> float:
    """x with trigamma(x) = value, by Newton's method on its reciprocal (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x
