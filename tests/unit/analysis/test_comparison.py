"""What is paired with what, what is refused and why, and the words of a verdict."""

import pytest

from orchestrator.analysis import comparison
from orchestrator.analysis.comparison import NoiseFloor, NoiseFloors
from orchestrator.analysis.stats import Ratio
from orchestrator.commands import compare
from orchestrator.console import flags
from orchestrator.errors import CatalogueError, SpecError
from orchestrator.home import REPOSITORY
from orchestrator.planning.plan import expand
from orchestrator.planning.spec import load_spec
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.trial import Outcome
from tests import fake_run as fake

SPEC = REPOSITORY / "experiments" / "compare.json"
NO_FLOORS = NoiseFloors()


def timed(variant="1.5", seconds=0.1, outcome=fake.OK, is_unverified=False, warmup=20, framework="mxnet", **asked):
    trial = fake.trial(framework, variant, **asked)
    record = fake.trial_record(trial, is_unverified=is_unverified)
    return StoredTrial(record, outcome, fake.ENDED, tuple(fake.training(seconds, warmup=warmup, epochs=1)))


def run(*trials, host="here", **facts):
    return StoredRun(fake.run_facts(host=fake.host(hostname_sha256=host), **facts), trials, ())


def pairs_of(variant_seconds, repeats=6):
    return [timed(variant, seconds, repeat=repeat) for repeat in range(repeats) for variant, seconds in variant_seconds]


def test_variants_of_one_run_are_paired_by_question():
    stored = run(
        timed("1.5", 0.1), timed("1.5-mkl", 0.05), timed("1.5", 0.2, repeat=1), timed("1.5-mkl", 0.1, repeat=1)
    )
    ((baseline, candidate),) = comparison.variants_of(stored, "mxnet:1.5", "mxnet:1.5-mkl").values()
    assert [steps[0] for steps in baseline] == [0.1, 0.2]
    assert [steps[0] for steps in candidate] == [0.05, 0.1]


def test_only_steps_after_the_warm_up_count():
    ((baseline, _),) = comparison.variants_of(run(timed(), timed("1.9")), "mxnet:1.5", "mxnet:1.9").values()
    assert len(baseline[0]) == 10  # of 30, 20 of them warm-up


def test_an_a_a_control_pairs_neighbours_and_alternates_sides():
    stored = run(*(timed("1.5", 0.1 * (repeat + 1), repeat=repeat) for repeat in range(4)))
    ((first, second),) = comparison.variants_of(stored, "mxnet:1.5", "mxnet:1.5").values()
    assert [steps[0] for steps in first] == pytest.approx([0.1, 0.4])
    assert [steps[0] for steps in second] == pytest.approx([0.2, 0.3])


def test_two_runs_are_paired_by_question():
    ((baseline, candidate),) = comparison.runs_of(run(timed("1.5", 0.1)), run(timed("1.9", 0.2))).values()
    assert (baseline[0][0], candidate[0][0]) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (run(timed()), run(timed(), host="there"), "ran on different machines"),
        (run(timed(seed=0)), run(timed(seed=1)), "they answer no common question"),
        (run(timed(), timed("1.9")), run(timed()), "holds several variants"),
    ],
)
def test_runs_that_do_not_compare_are_refused_with_the_reason(first, second, said):
    with pytest.raises(SpecError, match=said):
        comparison.runs_of(first, second)


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
        comparison.variants_of(run(timed("1.5"), bad), "mxnet:1.5", "mxnet:1.9")


def rows_of(seconds, floors=NO_FLOORS):
    stored = run(*pairs_of([("1.5", 0.1), ("1.9", seconds)]))
    (row,) = comparison.rows(comparison.variants_of(stored, "mxnet:1.5", "mxnet:1.9"), floors)
    return row


def test_a_candidate_that_takes_half_as_long_is_twice_as_fast():
    row = rows_of(0.05)
    assert (row["verdict"], row["words"]) == ("faster", "2.00x faster [2.00, 2.00]")


def test_a_candidate_that_takes_twice_as_long_is_twice_as_slow():
    assert rows_of(0.2)["words"] == "2.00x slower [2.00, 2.00]"


def test_what_differs_by_one_percent_is_the_same():
    assert rows_of(0.101)["verdict"] == "same"


def test_a_noisy_machine_gives_no_verdict_on_small_differences():
    assert rows_of(0.09, NoiseFloors({("mxnet", "cpu"): NoiseFloor(1.2, "control")}))["verdict"] == "unclear"


def test_without_a_control_another_frameworks_noise_counts():
    noisy, steady = NoiseFloor(1.2, "noisy"), NoiseFloor(1.01, "steady")
    borrowed = NoiseFloors({("tensorflow", "cpu"): noisy, ("neon", "cpu"): steady})
    assert (rows_of(0.09, borrowed)["verdict"], borrowed.of("mxnet", "cpu")) == ("unclear", noisy)
    own = NoiseFloors({("tensorflow", "cpu"): noisy, ("mxnet", "cpu"): steady})
    assert (rows_of(0.09, own)["verdict"], own.of("mxnet", "cpu")) == ("faster", steady)


def test_the_noise_of_a_processor_says_nothing_of_a_card():
    assert NoiseFloors({("mxnet", "cpu"): NoiseFloor(1.2, "control")}).of("mxnet", "gpu") is None


def test_a_floor_that_is_borrowed_is_named_as_such():
    floors = NoiseFloors({("tensorflow", "cpu"): NoiseFloor(1.2, "control")})
    assert floors.words([timed(), timed(framework="tensorflow"), timed(device="gpu")]) == (
        "Noise floor of this machine: mxnet cpu 1.200x, from control, another framework's control; "
        "mxnet gpu not known (no control); tensorflow cpu 1.200x, from control."
    )


def control(run_id, *seconds, host="here", framework="mxnet"):
    trials = [timed("1.5", second, repeat=repeat, framework=framework) for repeat, second in enumerate(seconds)]
    facts = {"compared": (f"{framework}:1.5",) * 2, "run_id": run_id}
    return run(*trials, host=host, **facts)


class Recorded:
    """A store of these runs, newest first."""

    def __init__(self, *runs):
        self._runs = {one.facts.run_id: one for one in runs}

    def runs(self):
        return [one.facts for one in self._runs.values()]

    def run(self, run_id):
        return self._runs[run_id]


def test_the_floor_is_of_each_frameworks_newest_control():
    calm, wild = [0.1] * 12, [0.1, 0.11, 0.12, 0.09] * 3
    floors = comparison.noise_floors(
        Recorded(
            control("too-few", *calm[:10]),
            control("elsewhere", *wild, host="there"),
            control("newest", *wild),
            control("older", *calm),
            control("of-another-framework", *calm, framework="neon"),
        ),
        fake.host(hostname_sha256="here"),
    )
    assert set(floors.controls) == {("mxnet", "cpu"), ("neon", "cpu")}
    found, other = floors.of("mxnet", "cpu"), floors.of("neon", "cpu")
    assert (found.run_id, found.factor > 1.02) == ("newest", True)
    assert other == NoiseFloor(1.0, "of-another-framework")


def test_several_cells_have_a_geometric_mean():
    trials = pairs_of([("1.5", 0.1), ("1.9", 0.05)])
    trials += [
        timed(variant, seconds, repeat=repeat, model=fake.IDSIA, input_size=48)
        for repeat in range(6)
        for variant, seconds in (("1.5", 0.1), ("1.9", 0.0125))
    ]
    *_, mean = comparison.rows(comparison.variants_of(run(*trials), "mxnet:1.5", "mxnet:1.9"), NO_FLOORS)
    assert (mean["cell"], mean["ratio"]) == ("geometric mean", pytest.approx(4.0))


def test_fewer_than_six_pairs_say_so():
    assert comparison.words(Ratio(2.0, 1.9, 2.1, 3, 0.0), "unclear").startswith(
        "no verdict from fewer than 6 pairs: 2.000"
    )


def sweep_of(*compared, pairs=3, cells="", catalogue):
    return compare.sweep_of(compare.CompareRequest(SPEC, compared, pairs, cells), catalogue)


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


def test_cells_are_chosen_by_name(catalogue, host):
    request = sweep_of("mxnet:1.5", "mxnet:1.9", cells="IDSIA@48", catalogue=catalogue)
    assert {trial.cell.label for trial in plan_of(request, catalogue, host).trials} == {"IDSIA@48"}


def test_a_cell_that_the_spec_lacks_is_told_those_it_has(catalogue):
    with pytest.raises(SpecError, match=r"--cells names 'IDSIA@32'; compare has ResNet-20@32, IDSIA@48\."):
        sweep_of("mxnet:1.5", "mxnet:1.9", cells="IDSIA@32", catalogue=catalogue)


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
