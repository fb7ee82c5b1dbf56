"""Ratios, intervals and verdicts against numbers worked out by hand and against the textbook."""

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind, ttest_rel

from orchestrator.analysis.ratios import FIRST_LOOK, MOST_PAIRS, Pairs, Ratio, TimedRun, judge, paired, scatters
from orchestrator.analysis.scatter import Scatter, findable_factor, noise_factor, pooled


def pairs_of(first, second, order=None):
    """Pairs of seconds; order[i] is 1 where first[i] ran first, by default AB BA AB ..."""
    order = order or [1 if at % 2 == 0 else -1 for at in range(len(first))]
    ours = [TimedRun(2 * at + (side < 0), one) for at, (one, side) in enumerate(zip(first, order, strict=True))]
    theirs = [TimedRun(2 * at + (side > 0), one) for at, (one, side) in enumerate(zip(second, order, strict=True))]
    return paired(ours, theirs)


def noisy(rng, pairs, effect=1.0, noise=0.05, first_run=1.0):
    """Pairs whose second takes `effect` times as long; the run that comes first takes 1 / first_run of its time."""
    order = [1 if at % 2 == 0 else -1 for at in range(pairs)]
    ours, theirs = np.exp(rng.normal(0, noise, (2, pairs)))
    ours = [one / (first_run if side > 0 else 1) for one, side in zip(ours, order, strict=True)]
    theirs = [effect * one / (first_run if side < 0 else 1) for one, side in zip(theirs, order, strict=True)]
    return pairs_of(ours, theirs, order)


def judged(*pairs, **options):
    return judge([[one] for one in pairs], **options)


def test_effect_is_the_geometric_mean_of_the_pairs():
    (ratio,) = judged(pairs_of([1, 1, 1], [2, 3, 4.5]))
    assert ratio.effect == pytest.approx(3.0)


def test_swapping_the_sides_inverts_everything():
    rng = np.random.default_rng(1)
    ours, theirs = np.exp(rng.normal(0, 0.1, (2, 8)))
    (ratio,), (turned,) = judged(pairs_of(ours, theirs)), judged(pairs_of(theirs, ours))
    assert (turned.effect, turned.low, turned.high) == pytest.approx((1 / ratio.effect, 1 / ratio.high, 1 / ratio.low))


def test_pairs_without_noise_have_an_interval_without_width():
    (ratio,) = judged(pairs_of([2.0] * 6, [3.0] * 6))
    assert (ratio.low, ratio.high) == (pytest.approx(1.5), pytest.approx(1.5))
    assert (ratio.p, ratio.verdict) == (pytest.approx(0.0), "faster")


def test_one_pair_has_no_interval():
    (ratio,) = judged(pairs_of([1.0], [2.0]))
    assert (ratio.low, ratio.high, ratio.verdict) == (None, None, "unclear")


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0], []), ([0.0], [1.0]), ([float("nan")], [1.0])])
def test_pairs_that_cannot_be_compared_are_refused(first, second):
    runs = [[TimedRun(at, seconds) for at, seconds in enumerate(side)] for side in (first, second)]
    with pytest.raises(ValueError, match=r"pairs|run"):
        paired(*runs)


def test_a_few_pairs_are_judged_by_the_paired_t_test():
    ours, theirs = [1.0, 1.1, 0.9, 1.2, 1.0], [1.3, 1.2, 1.4, 1.2, 1.3]
    (ratio,) = judged(pairs_of(ours, theirs))
    assert ratio.p == pytest.approx(ttest_rel(np.log(theirs), np.log(ours)).pvalue)


def test_six_pairs_are_judged_without_what_it_does_to_run_first():
    # Source: Grizzle 1965; the two groups of a crossover are compared by an unpaired t-test of equal variances.
    logs = np.array([0.1, -0.2, 0.15, -0.1, 0.2, -0.3])
    (ratio,) = judged(pairs_of([1.0] * 6, np.exp(logs)))
    half_sum = ttest_ind(logs[::2], -logs[1::2])
    assert ratio.p == pytest.approx(half_sum.pvalue)


def test_running_first_moves_no_estimate():
    steady = [noisy(np.random.default_rng(seed), 7, 1.1, 0.01, first_run=1.0) for seed in range(50)]
    moved = [noisy(np.random.default_rng(seed), 7, 1.1, 0.01, first_run=1.3) for seed in range(50)]
    for one, other in zip(steady, moved, strict=True):
        assert judged(one)[0].effect == pytest.approx(judged(other)[0].effect)


def test_mean_of_two_cells_has_welchs_freedom():
    # Of cells with logs x and -y the mean is half the difference of x and y: Welch's test asks for the same.
    rng = np.random.default_rng(8)
    x, y = rng.normal(0.1, 0.1, 5), rng.normal(0, 0.3, 4)
    cells = [pairs_of([1.0] * len(logs), np.exp(logs)) for logs in (x, -y)]
    cells = [Pairs(cell.logs, cell.order) for cell in cells]  # without neighbours, too few scatters to moderate
    (ratio,) = judge([cells])
    assert ratio.p == pytest.approx(ttest_ind(x, y, equal_var=False).pvalue)


def test_interval_p_and_verdict_are_one_statement():
    rng = np.random.default_rng(2)
    for family in range(60):
        rows = [noisy(rng, 6 + family % 5, effect) for effect in (1.0, 1.02, 1.1, 1.2)]
        for sequential in (False, True):
            for ratio in judged(*rows, is_sequential=sequential):
                excludes = ratio.low > 1 or ratio.high < 1
                assert excludes == (ratio.p < 0.05)
                assert (ratio.verdict in ("faster", "slower")) == (excludes and not is_within_two_percent(ratio))


def is_within_two_percent(ratio):
    return ratio.low >= 1 / 1.02 and ratio.high <= 1.02


def test_same_is_a_positive_statement():
    (ratio,) = judged(pairs_of([1.0] * 8, [1.01] * 8))
    assert ratio.verdict == "same"


def test_fewer_than_six_pairs_that_were_fixed_give_no_verdict():
    (ratio,) = judged(pairs_of([1.0] * 5, [2.0] * 5))
    assert (ratio.verdict, ratio.withheld) == ("unclear", "no verdict from fewer than 6 pairs")


def test_three_pairs_that_are_added_may_give_a_verdict():
    (ratio,) = judged(pairs_of([1.0, 1.01, 1.0], [1.5, 1.49, 1.5]), is_sequential=True)
    assert ratio.verdict == "faster"


def test_looking_at_every_pair_widens_the_interval():
    pairs = noisy(np.random.default_rng(3), 10)
    (once,), (often,) = judged(pairs), judged(pairs, is_sequential=True)
    assert once.high < often.high
    assert often.p > once.p


def test_a_larger_family_widens_the_interval_of_a_row():
    pairs = noisy(np.random.default_rng(4), 10)
    (alone,), (one_of_many,) = judged(pairs), judged(pairs, family=38)
    assert alone.high < one_of_many.high
    assert one_of_many.p_alone == alone.p


def test_the_words_tell_which_rule_withheld_a_verdict():
    row = {"effect": 1.1, "low": 0.95, "high": 1.3, "pairs": 6, "error": 0.04, "freedom": 4.0, "level": 0.001}
    of_family = Ratio(p=0.3, p_alone=0.01, family=38, **row)
    assert of_family.withheld.startswith(
        "no verdict, as 38 comparisons are judged together: p = 0.3 (0.01 alone); about"
    )
    assert Ratio(p=0.3, p_alone=0.3, **row).withheld.startswith("no difference shown: p = 0.3; about")


def test_the_pairs_that_are_said_to_be_missing_bring_a_verdict():
    ratio = judged(noisy(np.random.default_rng(6), 6, 1.03, 0.03))[0]
    assert ratio.verdict == "unclear"
    shrunk = ratio.error * np.sqrt(ratio.pairs / (ratio.pairs + ratio.more))
    half = student.isf(ratio.level / 2, ratio.freedom + ratio.more) * shrunk
    assert half < max(np.log(ratio.effect), np.log(1.02) - np.log(ratio.effect))


def test_rows_lend_each_other_their_scatter():
    rng = np.random.default_rng(9)
    rows = [noisy(rng, 6) for _ in range(20)]
    alone = [judged(row, family=20)[0] for row in rows]
    together = judged(*rows)
    widths = [np.log([one.high / one.low for one in of]).mean() for of in (together, alone)]
    assert widths[0] < 0.7 * widths[1]


def test_a_noisy_row_among_quiet_ones_keeps_its_scatter():
    rng = np.random.default_rng(10)
    rows = [noisy(rng, 6, noise=0.01) for _ in range(10)] + [noisy(rng, 6, noise=0.3)]
    assert judged(*rows)[-1].error >= judged(rows[-1])[0].error


def test_earlier_controls_count_as_scatters():
    pairs = noisy(np.random.default_rng(11), 6)
    known = [Scatter(0.005, 8.0)] * 5
    assert judged(pairs, known=known)[0].freedom > judged(pairs)[0].freedom


def test_neighbours_are_successive_runs_of_one_build():
    # A B B A A B: the second B follows the first, the third A the second
    pairs = pairs_of([1.0, 2.0, 4.0], [1.0, 3.0, 1.0])
    assert np.exp(pairs.neighbours) == pytest.approx([3.0, 2.0])


def test_pairs_and_neighbours_each_tell_of_the_scatter():
    of_pairs, of_neighbours = scatters(noisy(np.random.default_rng(12), 200))
    assert (of_pairs.variance, of_neighbours.variance) == (pytest.approx(0.005, rel=0.3), pytest.approx(0.005, rel=0.3))


def test_pooled_scatter_weighs_by_freedom():
    assert pooled([Scatter(1.0, 1.0), Scatter(4.0, 2.0)]) == Scatter(3.0, 3.0)
    assert pooled([]) is None


def test_noise_factor_shrinks_with_the_root_of_the_pairs():
    scatter = Scatter(0.01, 1e9)
    assert np.log(noise_factor(scatter, 1)) == pytest.approx(1.96 * 0.1, rel=1e-3)
    assert np.log(noise_factor(scatter, 4)) == pytest.approx(1.96 * 0.05, rel=1e-3)


@pytest.mark.slow
def test_a_findable_effect_is_found_in_four_of_five_cases():
    rng = np.random.default_rng(5)
    factor = findable_factor(Scatter(2 * 0.05**2, 1e9), 10)
    found = [judged(noisy(rng, 10, factor))[0].verdict == "faster" for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.07)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 4])
def test_a_family_of_equals_errs_in_five_percent_of_cases(rows):
    rng = np.random.default_rng(7)
    families = [judged(*[noisy(rng, 6) for _ in range(rows)]) for _ in range(500)]
    wrong = [any(one.verdict in ("faster", "slower") for one in family) for family in families]
    assert np.mean(wrong) < 0.05 + 3 * (0.05 * 0.95 / 500) ** 0.5


@pytest.mark.slow
def test_looking_at_every_pair_errs_in_five_percent_of_cases():
    rng, wrong = np.random.default_rng(14), []
    for _ in range(300):
        pairs = noisy(rng, MOST_PAIRS)
        looks = (
            judged(Pairs(pairs.logs[:n], pairs.order[:n], pairs.neighbours[: n - 1]), is_sequential=True)[0].p
            for n in range(FIRST_LOOK, MOST_PAIRS + 1)
        )
        wrong.append(any(p < 0.05 for p in looks))
    assert np.mean(wrong) < 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5
