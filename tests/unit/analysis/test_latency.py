"""Percentiles, and what few queries prove about them."""

import numpy as np
import pytest

from orchestrator.analysis import latency
from workers import scenarios


def test_a_percentile_of_nothing_is_not_known():
    assert latency.percentile([], 0.9) is None


@pytest.mark.parametrize(("share", "fewest"), [(0.9, 64), (0.99, 662)])
def test_a_proof_takes_as_many_queries_as_mlperf_asks(share, fewest):
    assert latency.proven(np.arange(1, fewest), share) is None
    assert latency.proven(np.arange(1, fewest + 1), share) == fewest


def test_more_queries_prove_a_smaller_latency():
    draws = np.random.default_rng(0).exponential(size=100_000)
    bounds = [latency.proven(draws[:count], 0.9) for count in (64, 1000, 100_000)]
    assert bounds[0] > bounds[1] > bounds[2] > np.log(10)  # the true 90th percentile


def test_a_proven_latency_holds_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = [latency.proven(rng.exponential(size=200), 0.9) >= np.log(10) for _ in range(2000)]
    assert np.mean(held) >= 0.99 - 0.005


@pytest.mark.parametrize("queries", [64, 459, 662, 5000])
@pytest.mark.parametrize("share", [0.9, 0.99])
def test_worker_and_report_agree_on_what_is_proven(queries, share):
    most = latency.allowed_late(queries, share)
    proves = [scenarios.is_early_enough(queries, late, share, 0.99) for late in range(most + 2)]
    assert proves == [True] * (most + 1) + [False]
