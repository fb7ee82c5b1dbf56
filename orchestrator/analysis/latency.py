"""Percentiles of latencies, and what a limited number of queries proves about them."""

import numpy as np
import scipy
from numpy.typing import ArrayLike

CONFIDENCE = 0.99
"""Of MLPerf Inference."""


def percentile(latencies: ArrayLike, share: float) -> float | None:
    """The latency (of n, seconds) below which `share` of them lie; None of none."""
    values = np.asarray(latencies, dtype=np.float64)
    return float(np.quantile(values, share)) if values.size else None


def proven(latencies: ArrayLike, share: float, confidence: float = CONFIDENCE) -> float | None:
    """A latency below which, with that confidence, `share` of all queries lie; None where too few were asked.

    The t-th largest of them, where t late ones of n are the most that a system would show with a probability of at most
    1 - confidence if only `share` of its queries were in time. It takes 64 queries for 90 % and 662 for 99 %.
    Source: MLPerf Inference rules, appendix "Early stopping", single-stream, with a tolerance of 0.
    """
    values = np.sort(np.asarray(latencies, dtype=np.float64))
    late = allowed_late(values.size, share, confidence)
    return float(values[values.size - late]) if late >= 1 else None


def allowed_late(queries: int, share: float, confidence: float = CONFIDENCE) -> int:
    """The most late queries of so many that still prove that `share` of all are in time; -1 if none do."""
    if not queries:
        return -1
    late = int(scipy.stats.binom.ppf(1 - confidence, queries, 1 - share))
    while late >= 0 and scipy.stats.binom.cdf(late, queries, 1 - share) > 1 - confidence:
        late -= 1
    return late
