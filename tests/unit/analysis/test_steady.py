"""When a training has no steady state."""

import numpy as np
import pytest
from scipy.stats import theilslopes

from orchestrator.analysis.steady import BLOCKS, trend

RNG = np.random.default_rng(0)


def steps(count=600, noise=0.05):
    return 0.1 * RNG.lognormal(0, noise, count)


@pytest.mark.parametrize("count", [40, 59, 600, 617])
def test_the_slope_is_that_of_theil_and_sen(count):
    seconds = steps(count) * np.linspace(1, 1.5, count)
    blocks = [np.median(block) for block in np.array_split(seconds, BLOCKS)]
    change = theilslopes(blocks, np.arange(BLOCKS)).slope * (BLOCKS - 1) / np.median(blocks)
    assert trend(seconds).change == pytest.approx(change, rel=1e-12)


def test_equal_steps_have_no_trend():
    found = trend([0.1] * 100)
    assert (found.change, found.is_steady) == (0.0, True)


def test_steps_that_become_a_fifth_slower_are_not_steady():
    found = trend(steps() * np.linspace(1, 1.2, 600))
    assert found.change == pytest.approx(0.18, abs=0.04)
    assert not found.is_steady


def test_a_trend_under_five_per_cent_is_steady():
    assert trend(steps(noise=0.001) * np.linspace(1, 1.03, 600)).is_steady


def test_one_slow_spell_is_no_trend():
    slow = steps()
    slow[200:260] *= 1.5
    assert trend(slow).is_steady


def test_noise_alone_is_hardly_ever_a_trend():
    assert sum(not trend(steps(noise=0.3)).is_steady for _ in range(300)) < 3


def test_a_few_steps_say_nothing():
    assert trend([0.1, 0.2] * 10) is None
