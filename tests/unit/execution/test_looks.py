"""When a comparison that adds pairs has enough of them, and a scout that adds turns."""

import io

import pytest
from rich.console import Console as Terminal

from orchestrator.analysis.noise import NoiseFloors
from orchestrator.console.progress import Console
from orchestrator.execution.looks import ComparisonLooks, ScoutLooks
from orchestrator.records.run_folder import Until
from orchestrator.trial import Outcome
from tests import fake_run as fake
from tests.fake_stored import run, timed

BUILDS = ("pytorch:2.13", "pytorch:1.3")
FAILED = Outcome(status="timeout", fault="subject", reason="still running after 60 s")


class Recorded:
    """A store with one run, which grows."""

    def __init__(self, stored):
        self.stored = stored

    def run(self, run_id):
        return self.stored


def asked(variant, repeat):
    return fake.trial(variant=variant, repeat=repeat)


def looking(seconds, until=None, compared=BUILDS, outcome=fake.OK, clock=None):
    """(looks, what it says) after len(seconds) pairs in which the candidate took so long, the baseline 0.1 s."""
    trials = [
        timed(asked(variant, repeat), 2 * repeat + at, outcome, step_seconds=of[at])
        for repeat, of in enumerate((0.1, one) for one in seconds)
        for at, variant in enumerate(("2.13", "1.3"))
    ]
    stored = run(*trials, compared=compared, until=until or Until())
    said = io.StringIO()
    return ComparisonLooks(
        Recorded(stored), stored.facts, 1, NoiseFloors(), Console(Terminal(file=said, width=300))
    ), said


def wants(looks, repeat, variant="2.13"):
    return looks.wants(asked(variant, repeat))


def test_the_first_three_pairs_are_wanted_whatever_they_show():
    looks, said = looking([0.05, 0.05])
    assert [wants(looks, repeat) for repeat in range(3)] == [True] * 3
    assert said.getvalue() == ""


def test_no_more_are_wanted_once_the_verdict_stands():
    looks, said = looking([0.05, 0.051, 0.05])
    assert not wants(looks, 3)
    assert "ResNet-20@32 cpu after 3 pairs: 1.99x faster" in said.getvalue()
    assert not wants(looks, 4)


def test_more_are_wanted_while_it_is_not_known():
    looks, said = looking([0.05, 0.2, 0.1])
    assert wants(looks, 3)
    assert "no difference shown" in said.getvalue()


def test_a_resumed_run_looks_after_its_last_pair_only():
    looks, said = looking([0.05, 0.2, 0.1, 0.07, 0.13])
    assert wants(looks, 3)
    assert said.getvalue() == ""
    assert wants(looks, 5)
    assert "after 5 pairs" in said.getvalue()


def test_the_second_of_a_pair_is_run_if_the_first_was():
    looks, _ = looking([0.05, 0.2, 0.1])
    assert wants(looks, 3)
    looks.store.stored = looking([0.05] * 4)[0].store.stored
    assert wants(looks, 3, "1.3")
    assert not wants(looks, 4)


def test_the_promised_precision_is_enough():
    seconds = [0.1, 0.101, 0.0995]
    assert not wants(looking(seconds, Until(precision=0.2))[0], 3)
    assert wants(looking(seconds, Until(precision=0.001))[0], 3)


def test_no_pair_begins_after_the_budget(monkeypatch):
    looks, said = looking([0.05, 0.2], Until(budget_seconds=60))
    assert wants(looks, 1)
    monkeypatch.setattr("time.monotonic", lambda: looks._began + 61)
    assert wants(looks, 1, "1.3")  # its pair has begun
    assert not wants(looks, 2)
    assert "the budget of 1 minutes has ended after 2 pairs" in said.getvalue()


def test_a_trial_that_failed_ends_its_cell():
    looks, said = looking([0.05, 0.05, 0.05], outcome=FAILED)
    assert not wants(looks, 3)
    assert "ended timeout" in said.getvalue()


@pytest.mark.parametrize(("repeat", "pair"), [(0, 0), (1, 0), (5, 2)])
def test_a_pair_of_a_control_is_two_repeats(repeat, pair):
    looks, _ = looking([], compared=(BUILDS[0], BUILDS[0]))
    assert looks._pair_of(asked("2.13", repeat)) == pair


# ---- a scout


def scouting(first, second, precision=0.05):
    """(looks, what it says) of a scout in which two variants took so long in each turn."""
    trials = [
        timed(asked(variant, repeat), 2 * repeat + at, step_seconds=seconds)
        for at, (variant, of) in enumerate((("2.13", first), ("1.3", second)))
        for repeat, seconds in enumerate(of)
    ]
    stored = run(*trials, is_scout=True, until=Until(precision=precision))
    said = io.StringIO()
    return ScoutLooks(Recorded(stored), stored.facts, Console(Terminal(file=said, width=300))), said


STEADY, WILD = [0.1, 0.1001, 0.0999], [0.1, 0.2, 0.05]


def test_a_scout_takes_three_turns_of_every_cell():
    looks, said = scouting(STEADY, WILD)
    assert [wants(looks, repeat) for repeat in range(3)] == [True] * 3
    assert said.getvalue() == ""


def test_a_scout_goes_on_with_what_is_not_known_well_enough():
    looks, said = scouting(STEADY, WILD)
    assert (wants(looks, 3), wants(looks, 3, "1.3")) == (False, True)
    assert "after 3 turns the steps of 1 of 2 cells are known to +-5.0 %" in said.getvalue()


def test_a_scout_that_may_be_rough_has_enough_sooner():
    looks, _ = scouting(STEADY, WILD, precision=0.99)
    assert not wants(looks, 3)


def test_a_cell_without_a_time_is_tried_again_in_each_turn():
    looks, _ = scouting(STEADY, [])
    assert wants(looks, 3, "1.3")
