"""What is paired with what, what is refused and why, and the words of a verdict."""

import numpy as np
import pytest

from orchestrator.analysis import comparison
from orchestrator.analysis.noise import Noise, NoiseFloors, noise_floors
from orchestrator.analysis.ratios import Ratio
from orchestrator.analysis.scatter import Scatter
from orchestrator.analysis.timed import cell_pairs, timed_run
from orchestrator.commands import compare
from orchestrator.console import flags
from orchestrator.errors import CatalogueError, SpecError
from orchestrator.home import REPOSITORY
from orchestrator.planning.plan import expand
from orchestrator.planning.spec import load_spec
from orchestrator.records.run_folder import Until
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.records.timeline import read_timeline
from orchestrator.trial import Outcome
from tests import fake_run as fake
from tests import fake_stored

SPEC = REPOSITORY / "experiments" / "compare.json"
NO_FLOORS = NoiseFloors()


def timed(variant="1.5", seconds=0.1, outcome=fake.OK, is_unverified=False, warmup=20, framework="mxnet", **asked):
    exit_ = fake.ENDED.model_copy(update={"launched_unix": asked.pop("launched", 1.0)})
    trial = fake.trial(framework, variant, **asked)
    record = fake.trial_record(trial, is_unverified=is_unverified)
    return StoredTrial(record, outcome, exit_, read_timeline(fake.training(seconds, warmup=warmup, epochs=1)))


def run(*trials, host="here", **facts):
    return StoredRun(fake.run_facts(host=fake.host(hostname_sha256=host), **facts), trials, ())


def pairs_of(variant_seconds, repeats=6):
    return [timed(variant, seconds, repeat=repeat) for repeat in range(repeats) for variant, seconds in variant_seconds]


def test_variants_of_one_run_are_paired_by_question():
    stored = run(
        timed("1.5", 0.1), timed("1.5-mkl", 0.05), timed("1.5", 0.2, repeat=1), timed("1.5-mkl", 0.05, repeat=1)
    )
    (pairs,) = cell_pairs(stored.trials, "mxnet:1.5", "mxnet:1.5-mkl").values()
    assert np.exp(pairs.logs) == pytest.approx([2.0, 4.0])


def in_two_formats():
    full = [timed("1.5", 0.1, repeat=repeat) for repeat in range(6)]
    return run(*full, *(timed("1.5-int8", 0.05, repeat=repeat, precision="int8") for repeat in range(6)))


def test_a_pair_that_is_named_may_be_of_two_number_formats():
    pair = ("mxnet:1.5", "mxnet:1.5-int8")
    (row,) = comparison.family(in_two_formats(), [pair], NO_FLOORS)
    assert (row["cell"], row["pairs"]) == ("ResNet-20@32 cpu", 6)
    assert row["ratio"] == pytest.approx(2.0)


def test_a_look_at_a_pair_of_two_formats_sees_both():
    stored = in_two_formats()
    facts = stored.facts.model_copy(update={"compared": ("mxnet:1.5", "mxnet:1.5-int8")})
    ratio = comparison.look(StoredRun(facts, stored.trials, ()), stored.trials[-1].trial.cell, NO_FLOORS, 1)
    assert ratio.pairs == 6


def test_only_steps_after_the_warm_up_count():
    assert timed_run(timed(warmup=20)).seconds == 0.1
    slow_start = [0.9] * 20 + [0.1] * 10
    assert timed_run(fake_stored.timed(epochs=1, changes={"epoch": {"step_seconds": slow_start}})).seconds == 0.1


def test_a_control_pairs_neighbours_and_alternates_sides():
    stored = run(*(timed("1.5", 0.1 * (repeat + 1), repeat=repeat) for repeat in range(4)))
    (pairs,) = cell_pairs(stored.trials, "mxnet:1.5", "mxnet:1.5").values()
    assert np.exp(pairs.logs) == pytest.approx([1 / 2, 4 / 3])


def test_the_order_of_a_pair_is_that_of_its_launches():
    first, second = timed("1.5", launched=7.0), timed("1.9", launched=3.0)
    (pairs,) = cell_pairs([first, second], "mxnet:1.5", "mxnet:1.9").values()
    assert pairs.order.tolist() == [1.0]  # the candidate, which is the first of its pairs, ran first
    (turned,) = cell_pairs([first, second], "mxnet:1.9", "mxnet:1.5").values()
    assert turned.order.tolist() == [-1.0]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (timed("1.9", outcome=Outcome(status="timeout", fault="subject", reason="too slow")), "ended timeout"),
        (timed("1.9", is_unverified=True), "ran without a passing selfcheck"),
        (timed("1.9", warmup=30), "has no step after its warm-up"),
    ],
)
def test_a_trial_without_a_sound_number_is_refused_by_name(bad, said):
    with pytest.raises(SpecError, match=rf"mxnet:1\.9 ResNet-20@32 .* {said}"):
        cell_pairs([timed("1.5"), bad], "mxnet:1.5", "mxnet:1.9")


def rows_of(seconds, floors=NO_FLOORS, **facts):
    stored = run(*pairs_of([("1.5", 0.1), ("1.9", seconds)]), compared=("mxnet:1.5", "mxnet:1.9"), **facts)
    (row,) = comparison.rows(stored, floors)
    return row


def test_a_candidate_that_takes_half_as_long_is_twice_as_fast():
    row = rows_of(0.05)
    assert (row["verdict"], row["words"]) == ("faster", "2.00x faster [2.00, 2.00]")


def test_a_candidate_that_takes_twice_as_long_is_twice_as_slow():
    assert rows_of(0.2)["words"] == "2.00x slower [2.00, 2.00]"


def test_what_differs_by_one_percent_is_the_same():
    assert rows_of(0.101)["verdict"] == "same"


def test_the_noise_of_earlier_comparisons_widens_the_interval():
    trials = [timed("1.5", 0.1, repeat=repeat) for repeat in range(6)]
    trials += [timed("1.9", 0.095 + 0.002 * (repeat % 3), repeat=repeat) for repeat in range(6)]
    stored = run(*trials, compared=("mxnet:1.5", "mxnet:1.9"))
    quiet, wild = (floors_of(("mxnet", "cpu"), variance) for variance in (0.0001, 0.004))
    ((first,), (second,)) = (comparison.rows(stored, floors) for floors in (quiet, wild))
    assert second["high"] / second["low"] > first["high"] / first["low"]
    assert second["noise_floor"] > first["noise_floor"] > 1


def floors_of(where, variance):
    return NoiseFloors({where: Noise((Scatter(variance, 9.0),) * 6, ("control",))})


def test_the_noise_of_another_framework_or_device_says_nothing():
    floors = floors_of(("tensorflow", "cpu"), 0.2)
    assert floors.scatters({("mxnet", "cpu"), ("tensorflow", "gpu")}) == []
    assert (rows_of(0.09, floors)["verdict"], rows_of(0.09, floors)["noise_floor"]) == ("faster", None)


def test_the_scatter_is_told_for_each_framework_and_device():
    floors = floors_of(("tensorflow", "cpu"), 0.0004)
    assert floors.words([timed(), timed(framework="tensorflow")]) == (
        "Scatter of the pairs of a build on this machine: mxnet cpu not known yet; tensorflow cpu 2.0 % "
        "(1 comparison on record)."
    )


def test_what_so_many_pairs_can_find_is_told_beforehand():
    said = floors_of(("mxnet", "cpu"), 0.0004).power_words(("mxnet", "cpu"), 10)
    assert said == (
        "Pairs of mxnet cpu scatter by 2.0 % here: 10 of them find a difference of 2.0 % in four of five comparisons."
    )
    assert "its noise is not known yet" in NO_FLOORS.power_words(("mxnet", "cpu"), 10)


def control(run_id, *seconds, host="here", framework="mxnet", started=1.0):
    trials = [timed("1.5", second, repeat=repeat, framework=framework) for repeat, second in enumerate(seconds)]
    facts = {"compared": (f"{framework}:1.5",) * 2, "run_id": run_id, "started_unix": started}
    return run(*trials, host=host, **facts)


def test_the_floor_pools_what_was_compared():
    wild = [0.1, 0.11, 0.12, 0.09] * 3
    floors = noise_floors(
        [
            control("second", *wild),
            control("first", *wild),
            control("of-another-framework", *wild, framework="neon"),
            run(timed(), compared=("mxnet:1.5", "mxnet:1.9"), run_id="stopped"),
        ]
    )
    assert {where: control.run_ids for where, control in floors.known.items()} == {
        ("mxnet", "cpu"): ("second", "first"),
        ("neon", "cpu"): ("of-another-framework",),
    }
    assert floors.factor({("mxnet", "cpu")}, 6) > floors.factor({("mxnet", "cpu")}, 30) > 1


def test_several_cells_have_a_geometric_mean():
    trials = pairs_of([("1.5", 0.1), ("1.9", 0.05)])
    trials += [
        timed(variant, seconds, repeat=repeat, model=fake.IDSIA, input_size=48)
        for repeat in range(6)
        for variant, seconds in (("1.5", 0.1), ("1.9", 0.0125))
    ]
    *_, mean = comparison.rows(run(*trials, compared=("mxnet:1.5", "mxnet:1.9")), NO_FLOORS)
    assert (mean["cell"], mean["ratio"]) == ("geometric mean", pytest.approx(4.0))


def test_fewer_than_six_pairs_say_so():
    ratio = Ratio(2.0, 1.9, 2.1, 3, 0.0, 0.0)
    assert comparison.words(ratio) == "2.000 [1.900, 2.100]; no verdict from fewer than 6 pairs"


def test_a_comparison_that_adds_pairs_judges_three():
    stored = run(
        *pairs_of([("1.5", 0.1), ("1.9", 0.05)], repeats=3), compared=("mxnet:1.5", "mxnet:1.9"), until=Until()
    )
    (row,) = comparison.rows(stored, NO_FLOORS)
    assert row["verdict"] == "faster"


@pytest.mark.parametrize(
    ("low", "high", "margin", "is_enough", "is_allowed"),
    [
        (1.1, 1.3, None, True, True),  # faster
        (0.98, 1.1, None, False, True),
        (0.98, 1.02, None, True, True),  # known to 3 %
        (0.96, 1.3, 0.03, False, None),
        (0.98, 1.3, 0.03, True, True),
        (0.8, 0.96, 0.03, True, False),
        (0.8, 0.98, 0.03, False, None),
    ],
)
def test_what_is_enough_and_what_is_allowed(low, high, margin, is_enough, is_allowed):
    ratio = Ratio((low * high) ** 0.5, low, high, 6, 0.5, 0.5, fewest=3)
    assert comparison.is_enough(ratio, Until(margin=margin)) == is_enough
    assert comparison.allowed(ratio, margin or 0.03) is is_allowed


def sweep_of(*compared, pairs=3, cells=(), catalogue):
    return compare.sweep_of(compare.CompareRequest(SPEC, compared, pairs, cells=cells), catalogue)


def plan_of(request, catalogue, host):
    return expand(load_spec(request.spec_path, catalogue.frameworks, request.changes), catalogue, host)


@pytest.fixture
def host():
    from orchestrator.host import read_host

    return read_host()


def test_a_comparison_plans_each_pair_side_by_side(catalogue, host):
    trials = plan_of(sweep_of("mxnet:1.5", "mxnet:1.9", catalogue=catalogue), catalogue, host).trials
    for left, right in zip(trials[::2], trials[1::2], strict=True):
        assert left.key == right.key
        assert {left.variant, right.variant} == {"1.5", "1.9"}


def test_a_control_repeats_one_variant_twice_as_often(catalogue, host):
    trials = plan_of(sweep_of("mxnet:1.5", "mxnet:1.5", pairs=4, catalogue=catalogue), catalogue, host).trials
    assert {trial.repeat for trial in trials} == set(range(8))


def test_without_a_number_thirty_pairs_are_planned(catalogue, host):
    request = sweep_of("mxnet:1.5", "mxnet:1.9", pairs=None, catalogue=catalogue)
    assert request.until == Until()
    assert {trial.repeat for trial in plan_of(request, catalogue, host).trials} == set(range(30))


def test_cells_are_chosen_by_name(catalogue, host):
    request = sweep_of("mxnet:1.5", "mxnet:1.9", cells=("IDSIA@48",), catalogue=catalogue)
    assert {trial.cell.label for trial in plan_of(request, catalogue, host).trials} == {"IDSIA@48"}


def test_a_cell_that_the_spec_lacks_is_told_those_it_has(catalogue):
    with pytest.raises(SpecError, match=r"--cells names 'IDSIA@32'; compare has ResNet-20@32, IDSIA@48\."):
        sweep_of("mxnet:1.5", "mxnet:1.9", cells=("IDSIA@32",), catalogue=catalogue)


def test_an_unknown_variant_is_refused_before_anything_runs(catalogue):
    with pytest.raises(CatalogueError, match=r"has no variant '1\.6' for cpu"):
        sweep_of("mxnet:1.5", "mxnet:1.6", catalogue=catalogue)


@pytest.mark.parametrize(
    ("given", "said"),
    [(("mxnet:1.5", "pytorch:1.3"), "are two frameworks"), (("mxnet", "mxnet:1.5"), "'mxnet' is neither a run")],
)
def test_builds_that_cannot_be_compared_are_refused(given, said):
    with pytest.raises(SpecError, match=said):
        flags.compared(*given)
