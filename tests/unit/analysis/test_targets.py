"""Seconds to a target: the estimate with censored trainings, its coverage, and the performance profile."""

import numpy as np
import pytest

from orchestrator.analysis import targets


def test_without_censoring_the_interval_is_students():
    seconds = np.array([10.0, 12.0, 11.0, 14.0])
    found = targets.estimate(seconds, [True] * 4)
    logs = np.log(seconds)
    half = 3.182446 * logs.std(ddof=1) / 2
    assert found.median == pytest.approx(np.exp(logs.mean()), rel=1e-4)
    assert (found.low, found.high) == pytest.approx((np.exp(logs.mean() - half), np.exp(logs.mean() + half)), rel=1e-3)


def test_a_censored_training_makes_the_median_larger():
    reached = targets.estimate([10, 11, 12], [True] * 3)
    censored = targets.estimate([10, 11, 12, 13], [True, True, True, False])
    assert censored.median > reached.median
    assert (censored.reached, censored.count) == (3, 4)


@pytest.mark.parametrize("is_reached", [[False] * 4, [True, False, False, False]])
def test_fewer_than_two_that_reach_it_give_no_interval(is_reached):
    found = targets.estimate([10, 11, 12, 13], is_reached)
    assert (found.median, found.low, found.high, found.count) == (None, None, None, 4)


def test_equal_seconds_are_a_median_and_no_error():
    found = targets.estimate([10.0, 10.0, 10.0], [True] * 3)
    assert found.median == pytest.approx(10.0, rel=1e-3)


@pytest.mark.parametrize(("count", "limit"), [(4, np.inf), (6, 1.2)])
def test_intervals_hold_the_true_median_in_about_95_of_100(count, limit):
    chance, held, drawn = np.random.default_rng(1), 0, 0
    for _ in range(120):
        seconds = np.exp(0.3 * chance.standard_normal(count))
        found = targets.estimate(np.minimum(seconds, limit), seconds <= limit)
        drawn += found.median is not None
        held += found.median is not None and (found.low or 0) <= 1 <= (found.high or np.inf)
    assert (
        0.89 <= held / drawn <= 1.0
    )  # of 120, 95 % is 0.91 to 0.99 in 99 of 100 cases; benchmarks/coverage.py has more


def test_a_profile_counts_cells_within_so_many_times_the_best():
    seconds = {"a": {"x": 10.0, "y": 20.0}, "b": {"x": 30.0, "y": 10.0}, "c": {"x": 5.0}}
    assert targets.profile(seconds) == {
        "x": [(1.0, 1 / 3), (1.0, 2 / 3), (3.0, 1.0)],
        "y": [(1.0, 1 / 3), (2.0, 2 / 3)],
    }
