"""Intervals of contrasts of times, judged together."""

import itertools

import numpy as np
import pytest

from orchestrator.analysis.contrasts import Estimate, estimates, exact, mean_difference

TWICE = {"slow": 1.0, "fast": -1.0}


def turns(noise=0.0, count=6, seed=0, **seconds):
    rng = np.random.default_rng(seed)
    drifts = rng.normal(0, 0.3, count)
    return {
        name: {(0, turn): value * float(np.exp(drifts[turn] + rng.normal(0, noise))) for turn in range(count)}
        for name, value in seconds.items()
    }


def test_a_contrast_is_the_log_of_a_ratio():
    (found,) = estimates([TWICE], turns(slow=2.0, fast=1.0))
    assert np.exp(found.value) == pytest.approx(2.0)


def test_a_drift_that_all_of_a_turn_share_widens_no_interval():
    (found,) = estimates([TWICE], turns(0.01, slow=2.0, fast=1.0))
    assert found.is_above(0) is True
    assert found.high - found.low < 0.1


def test_a_growth_beside_another_is_a_contrast_of_four():
    growth = {"deep": 1.0, "flat": -1.0, "other deep": -1.0, "other flat": 1.0}
    seconds = turns(**{"deep": 4.0, "flat": 1.0, "other deep": 2.0, "other flat": 1.0})
    (found,) = estimates([growth], seconds)
    assert np.exp(found.value) == pytest.approx(2.0)


def test_fewer_than_three_common_turns_give_no_interval():
    (found,) = estimates([TWICE], turns(count=2, slow=2.0, fast=1.0))
    assert (found.low, found.high, found.is_above(0)) == (None, None, None)


def test_what_was_not_measured_has_no_estimate():
    assert estimates([TWICE], turns(slow=2.0)) == [None]
    assert exact(TWICE, {"slow": 2.0}) is None


def test_runs_of_different_turns_are_no_pair():
    assert estimates([TWICE], {"slow": {(0, 0): 2.0}, "fast": {(0, 1): 1.0}}) == [None]


def test_exact_figures_have_an_interval_without_width():
    found = exact(TWICE, {"slow": 2.0, "fast": 1.0})
    assert found == Estimate(np.log(2.0), np.log(2.0), np.log(2.0))


def test_a_mean_of_differences_has_students_interval():
    found = mean_difference([0.01, 0.02, 0.03], family=1)
    assert (found.value, found.low) == (pytest.approx(0.02), pytest.approx(0.02 - 4.3027 * 0.01 / np.sqrt(3), abs=1e-5))


def test_of_many_comparisons_of_equal_times_few_families_err():
    """Thirty contrasts that share their places, three turns each: one false statement in 5 % of runs at most."""
    names = [f"place {at}" for at in range(10)]
    contrasts = [{slow: 1.0, fast: -1.0} for fast, slow in itertools.combinations(names, 2)][:30]
    false = 0
    for seed in range(200):
        found = estimates(contrasts, turns(0.05, count=3, seed=seed, **dict.fromkeys(names, 1.0)))
        false += any(one.is_above(0) is not None for one in found)
    assert false <= 16  # of 200; 5 % would be more in 2 % of cases
