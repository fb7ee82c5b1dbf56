"""Statistics against numbers worked out by hand."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from orchestrator.analysis import stats


def test_summary_takes_the_middle_step_after_the_warm_up():
    assert stats.summarise([90.0, 80.0, 1.0, 2.0, 3.0], warmup=2).median == 2.0


def test_summary_counts_only_the_steps_after_the_warm_up():
    assert stats.summarise([90.0, 80.0, 1.0, 2.0, 3.0], warmup=2).count == 3


def test_percentiles_interpolate_between_steps():
    summary = stats.summarise(np.arange(1.0, 22.0))  # 1 ... 21: 5 % of 20 gaps is one gap from either end
    assert (summary.p05, summary.p95) == (2.0, 20.0)


def test_mad_is_the_median_distance_from_the_median():
    assert stats.summarise([1.0, 1.0, 2.0, 4.0, 9.0]).mad == 1.0  # distances 1 1 0 2 7


def test_outliers_lie_beyond_three_and_a_half_mads_and_count():
    # median 3, distances 2 1 0 1 97: MAD 1, so the bounds are -0.5 and 6.5
    summary = stats.summarise([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (summary.outliers, summary.count) == (1, 5)


def test_a_value_on_the_bound_is_no_outlier():
    assert stats.summarise([1.0, 2.0, 3.0, 4.0, 6.5]).outliers == 0


def test_a_run_that_never_left_its_warm_up_has_no_summary():
    assert stats.summarise([1.0, 2.0], warmup=2) is None


def test_steps_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        stats.summarise([1.0, float("nan")])


def test_spread_is_the_range_as_a_share_of_the_median():
    assert stats.repeats([9.0, 10.0, 12.0]) == stats.Repeats(count=3, median=10.0, low=9.0, high=12.0, spread=0.3)


def test_one_repeat_has_no_spread():
    assert stats.repeats([4.0]).spread == 0.0


def test_no_repeat_has_no_summary():
    assert stats.repeats([]) is None


@pytest.mark.parametrize(("differences", "p"), [([1, -1, 1, -1], 1.0), ([0, 0], 1.0), ([0.3], 1.0), ([-1] * 5, 0.0)])
def test_seed_differences_that_cancel_or_never_vary_have_a_p(differences, p):
    assert stats.t_test(differences) == p


def test_differences_of_seeds_are_judged_by_the_textbook():
    differences = [0.03, 0.01, 0.04, 0.01, 0.05, -0.01]
    assert stats.t_test(differences) == pytest.approx(ttest_1samp(differences, 0).pvalue)


@pytest.mark.parametrize("tails", [3, 30], ids=["long tails", "short tails"])
def test_six_seeds_part_equal_levels_in_five_percent_of_cases(tails):
    rng = np.random.default_rng(11)
    wrong = sum(stats.t_test(seeds) < 0.05 for seeds in rng.standard_t(tails, (2000, 6)))
    assert wrong / 2000 < 0.06  # 0.05 and twice its standard error


def test_shares_that_chance_alone_parts_are_the_same():
    assert stats.same_share([900, 905, 898], [1000, 1000, 1000]) > 0.05
    assert stats.same_share([900, 800, 900], [1000, 1000, 1000]) < 0.001
    assert stats.same_share([1000, 1000], [1000, 1000]) == 1.0


def test_pearsons_figure_is_that_of_the_textbook():
    # 60 of 100 against 40 of 100: chi-squared is 4 * 10^2 / 50 = 8 with one degree of freedom
    assert stats.same_share([60, 40], [100, 100]) == pytest.approx(0.0046777, abs=1e-6)


def test_holm_stops_at_the_first_that_is_not_significant():
    assert stats.holm([0.04, 0.01, 0.03]) == {1}
    assert stats.holm([0.02, 0.01, 0.01]) == {0, 1, 2}
    assert stats.holm([]) == set()


def test_equal_differences_are_certain_despite_rounding():
    assert stats.t_test([0.1 + 0.2, 0.3, 0.3]) == 0.0
