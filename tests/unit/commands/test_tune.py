"""The search of `invoke tune`, on runs that never ran."""

import io

import pytest
from rich.console import Console as Terminal

from orchestrator.commands import tune
from orchestrator.commands.sweep import INTERRUPTED, SweepResult
from orchestrator.console.progress import Console
from orchestrator.errors import EngineError, LockedError, SpecError
from orchestrator.home import REPOSITORY
from orchestrator.planning.tuned import read_tuned
from orchestrator.report import Report
from orchestrator.trial import Outcome
from tests import fake_run as fake
from tests.fake_stored import run, timed

SPEC = REPOSITORY / "experiments" / "tune.json"
FAILED = Outcome(status="unverified", fault="subject", reason="logits are off by 0.1")
CELLS = ((fake.IDSIA, 48), (fake.RESNET, 32))
SPEEDS = {"1.5": 0.4, "1.5-omp": 0.3, "1.5-mkl": 0.2, "1.5-mkl-omp": 0.15, "1.5-mkl-omp-amd": 0.1, "1.9": 0.25}
"""Seconds of a step of MXNet's variants; each setting that is put on one is told apart by `effects`."""


class Machine:
    """Sweeps that take no time: a variant takes its seconds, times the effect of each of its settings."""

    def __init__(self, speeds, effects=(), failing=(), answers=()):
        self.speeds, self.effects, self.failing = speeds, dict(effects), failing
        self.answers = list(answers)
        self.asked = []

    def seconds(self, variant):
        base, *settings = variant.split("_")
        value = self.speeds[base]
        for setting in settings:
            value *= self.effects.get(setting, 1.0)
        return value

    def sweep(self, request, catalogue, home, reports, console):
        framework = request.changes["axes.frameworks"][0]
        variants = request.changes[f"axes.variants.{framework}"]
        self.asked.append((list(variants), request.changes["axes.repeats"]))
        if self.answers:
            raise self.answers.pop(0)
        repeats = 4 if request.compared else request.changes["axes.repeats"]
        trials = [
            timed(
                fake.trial(framework, variant, model=model, input_size=size, repeat=repeat),
                ordinal=10 * repeat + at,
                outcome=FAILED if variant in self.failing else fake.OK,
                step_seconds=self.seconds(variant) * (1 + 0.001 * ((7 * repeat + at) % 5)),
            )
            for model, size in CELLS
            for repeat in range(repeats)
            for at, variant in enumerate(variants)
        ]
        stored = run(*trials, run_id=f"run-{len(self.asked)}", compared=request.compared, until=request.until)
        return SweepResult(Report(stored, reports / "page", (), (), ()), 0)


@pytest.fixture
def tuned(monkeypatch, tmp_path, home, catalogue):
    """tuned(machine, budget) -> (what was found, exit code, what was said)."""

    def tuned(machine, framework="mxnet", budget=None):
        monkeypatch.setattr(tune, "sweep", machine.sweep)
        monkeypatch.setattr(tune, "write_report", lambda store, run_id, home, reports: Report(None, run_id, (), (), ()))
        said = io.StringIO()
        home.root.mkdir(exist_ok=True)
        request = tune.TuneRequest(SPEC, framework, budget_seconds=budget)
        result = tune.tune(request, catalogue, home, tmp_path, Console(Terminal(file=said, width=500)))
        return result.found, result.exit_code, said.getvalue()

    return tuned


def test_the_fastest_variant_wins_and_is_kept(tuned, home):
    (found,), code, said = tuned(Machine(SPEEDS))
    assert (found.variant, code) == ("1.5-mkl-omp-amd", 0)
    assert found.ratio == pytest.approx(4.0, rel=0.01)
    assert read_tuned(home.tuned) == (found,)
    assert f"report: {found.confirmed_by}" in said
    assert "mxnet on the CPU: best is 1.5-mkl-omp-amd, 4.00x as fast as its default 1.5 [" in said


def test_the_slower_half_is_not_timed_again(tuned):
    machine = Machine(SPEEDS)
    tuned(machine)
    assert [set(variants) for variants, _ in machine.asked[:2]] == [
        set(SPEEDS),
        {"1.5-mkl-omp-amd", "1.5-mkl-omp", "1.5-mkl"},
    ]


def test_deterministic_variants_are_not_tried(tuned):
    machine = Machine(SPEEDS)
    tuned(machine)
    assert not any("deterministic" in variant for variants, _ in machine.asked for variant in variants)


def test_settings_that_help_are_joined(tuned):
    machine = Machine(SPEEDS | {"1.5-mkl": 0.05}, {"amd": 0.8, "omp": 0.9, "one-thread": 2.0})
    (found,), _, _ = tuned(machine)
    assert found.variant == "1.5-mkl_amd_omp"
    assert found.ratio == pytest.approx(0.4 / (0.05 * 0.8 * 0.9), rel=0.01)


def test_a_setting_that_helps_by_under_2_per_cent_is_left_out(tuned):
    (found,), _, _ = tuned(Machine(SPEEDS | {"1.5-mkl": 0.05}, {"amd": 0.99, "omp": 1.5, "one-thread": 2.0}))
    assert found.variant == "1.5-mkl"


def test_a_variant_that_fails_its_selfcheck_is_no_winner(tuned):
    (found,), _, _ = tuned(Machine(SPEEDS, failing=("1.5-mkl-omp-amd",)))
    assert found.variant == "1.5-mkl-omp"
    failed = next(one for one in found.path if one.variant == "1.5-mkl-omp-amd")
    assert (failed.is_kept, failed.reason) == (False, "unverified: logits are off by 0.1")


def test_a_default_that_is_fastest_stays_best(tuned):
    (found,), _, said = tuned(Machine(dict.fromkeys(SPEEDS, 0.3) | {"1.5": 0.1}, {"omp": 1.5, "one-thread": 2.0}))
    assert (found.variant, found.ratio, found.confirmed_by) == ("1.5", None, "")
    assert "no variant is shown to be faster than its default 1.5" in said


def test_a_winner_that_is_not_confirmed_is_left_open(tuned):
    machine = Machine(SPEEDS)
    seconds = machine.seconds
    machine.seconds = lambda variant: 0.4 if len(machine.asked) > 3 else seconds(variant)
    (found,), _, _ = tuned(machine)
    assert found.variant == "1.5"
    assert found.open[-1].startswith("1.5-mkl-omp-amd is not confirmed: it is ")


def test_a_default_that_fails_beside_the_winner_is_left_open(tuned):
    machine = Machine(SPEEDS)
    machine.failing = FailsLater(machine)
    (found,), code, said = tuned(machine)
    assert (found.variant, code) == ("1.5", 0)
    assert "1.5-mkl-omp-amd is not confirmed: it is not compared: mxnet:1.5 IDSIA@48" in found.open[-1]
    assert "so `best` is what it was before" in said


class FailsLater:
    """Holds the default once the search has ended."""

    def __init__(self, machine):
        self.machine = machine

    def __contains__(self, variant):
        return variant == "1.5" and len(self.machine.asked) > 3


def test_a_round_that_the_budget_does_not_allow_is_left_open(tuned, monkeypatch):
    clock = iter(range(0, 100_000, 100))
    monkeypatch.setattr(tune.time, "monotonic", lambda: float(next(clock)))
    (found,), _, _ = tuned(Machine(SPEEDS), budget=600)
    assert found.variant == "1.5-mkl-omp-amd"
    assert any(one.startswith("round 3") and "of the budget are left" in one for one in found.open)


def test_settings_that_are_not_meant_to_be_fast_are_not_tried(tuned):
    machine = Machine({"2.7": 0.2, "2.7-omp": 0.2, "2.7-amd": 0.1})
    tuned(machine, "cntk")
    assert not any("unit-gain" in variant for variants, _ in machine.asked for variant in variants)


def test_all_frameworks_are_tuned_although_one_fails(tuned):
    speeds = {"2.7": 0.2, "2.7-omp": 0.2, "2.7-amd": 0.1}
    speeds |= SPEEDS | {"2.6": 1.0, "2.6-mkl": 0.2, "2.6-mkl-omp": 0.2, "2.6-mkl-amd": 0.1, "2.6-mkl-native": 0.2}
    speeds |= {"2.13": 0.1, "2.13-tuned": 0.05, "2.13-compile": 0.1, "1.3": 0.2}
    speeds |= {"0.10": 0.1, "0.10-scan": 0.05, "0.12": 0.1, "3.3": 0.1, "3.3-onednn": 0.05}
    speeds |= dict.fromkeys(("2.21", "2.21-no-onednn", "2.21-onednn", "2.7-onednn", "2.7-intel", "2.7-intel-omp"), 0.1)
    found, code, said = tuned(Machine(speeds, answers=[EngineError("Docker does not answer.")]), "all")
    assert (code, [one.framework for one in found]) == (
        1,
        ["jax", "mxnet", "neon", "paddle", "pytorch", "tensorflow"],
    )
    assert "cntk: Docker does not answer." in said


def test_an_unknown_framework_is_answered_with_the_nearest(tuned):
    with pytest.raises(
        SpecError, match=r"'mxnt' cannot be tuned on the CPU\. Known: all, cntk, .*Did you mean 'mxnet'"
    ):
        tuned(Machine(SPEEDS), "mxnt")


def test_a_stopped_search_keeps_nothing_of_its_framework(tuned, home, monkeypatch):
    machine = Machine(SPEEDS)
    sweep = machine.sweep

    def stopped(*given):
        result = sweep(*given)
        return SweepResult(result.report, INTERRUPTED) if len(machine.asked) > 1 else result

    machine.sweep = stopped
    found, code, said = tuned(machine)
    assert (list(found), code, read_tuned(home.tuned)) == ([], 130, ())
    assert "stopped; mxnet is not tuned" in said


def test_beside_another_run_nothing_is_tuned(tuned):
    with pytest.raises(LockedError):
        tuned(Machine(SPEEDS, answers=[LockedError("another run is going on on this machine")]))
