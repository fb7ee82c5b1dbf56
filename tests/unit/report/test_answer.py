"""The sentence in which a sweep of several frameworks ends."""

from orchestrator.report.answer import answers
from tests import fake_run as fake
from tests.fake_stored import NO_MEMORY, checked, run, timed

SUBJECTS = (("pytorch", "2.13"), ("tensorflow", "2.21"))
CHECKS = [checked(framework=name, variant=variant, ordinal=90 + at) for at, (name, variant) in enumerate(SUBJECTS)]


def sweep(seconds, repeats=2, checks=CHECKS, **facts):
    """A run of both frameworks whose steps take so many seconds."""
    trials = [
        timed(fake.trial(*subject, repeat=repeat), 10 * at + repeat, step_seconds=seconds[at])
        for at, subject in enumerate(SUBJECTS)
        for repeat in range(repeats)
    ]
    return run(*trials, checks=checks, **facts)


def test_the_fastest_is_named_with_factor_and_interval():
    (said,) = answers(sweep((0.1, 0.3), repeats=6))
    assert said == (
        "pytorch:2.13 trains ResNet-20@32 on the CPU 3.00x as fast as tensorflow:2.21 [3.00, 3.00] in 6 pairs of runs; "
        "both compute the same to 2.1e-6."
    )


def test_two_that_are_not_told_apart_are_named_together():
    trials = [
        timed(fake.trial(*subject, repeat=repeat), 2 * repeat + at, step_seconds=0.1 + 0.01 * ((repeat + at) % 3))
        for at, subject in enumerate(SUBJECTS)
        for repeat in range(6)
    ]
    (said,) = answers(run(*trials, checks=CHECKS))
    assert said.startswith("ResNet-20@32 on the CPU: pytorch:2.13 and tensorflow:2.21 are not told apart in 6 pairs")


def test_few_pairs_are_said_to_give_no_verdict():
    (said,) = answers(sweep((0.1, 0.3)))
    assert "3.00x as fast as tensorflow:2.21 (3.00 to 3.00) in 2 pairs of runs (6 are needed for a verdict)" in said


def test_a_single_run_of_each_gives_no_answer():
    assert answers(sweep((0.1, 0.3), repeats=1)) == []


def test_what_did_not_pass_its_check_is_not_ranked():
    assert answers(sweep((0.1, 0.3), checks=CHECKS[:1])) == []


def test_what_did_not_end_ok_is_not_ranked():
    stored = sweep((0.1, 0.3))
    bad = timed(fake.trial("tensorflow", "2.21", repeat=2), 30, NO_MEMORY)
    assert answers(run(*stored.trials, bad, checks=CHECKS)) == []


def test_a_run_that_compares_builds_gives_no_such_answer():
    assert answers(sweep((0.1, 0.3), compared=("pytorch:2.13", "pytorch:2.13"))) == []


def test_the_oracle_competes_with_none():
    trials = [timed(fake.trial("numpy_ref", "1.0", repeat=at), 50 + at, step_seconds=0.01) for at in range(2)]
    checks = [*CHECKS, checked(framework="numpy_ref", variant="1.0", ordinal=99)]
    (said,) = answers(run(*sweep((0.1, 0.3)).trials, *trials, checks=checks))
    assert "numpy_ref" not in said
