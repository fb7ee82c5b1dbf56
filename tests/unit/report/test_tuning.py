"""The path of a tuning in the reports of its runs."""

from orchestrator.planning.tuned import Tried
from orchestrator.report.tuning import tuning_section
from tests.fake_catalogue import tuned

FIRST = Tried(round=1, variant="1.5", ratio=2.0, run_id="first")
FAILED = Tried(round=1, variant="1.9", reason="crashed: ended by signal 11", run_id="first")
LAST = Tried(round=3, variant="1.5-mkl_amd", ratio=1.0, low=1.0, high=1.0, is_kept=True, run_id="third")
ONE = tuned(path=(FIRST, FAILED, LAST), confirmed_by="fourth", open=("round 4 was left out.",))


def test_each_run_of_a_tuning_shows_its_whole_path():
    for run_id in ("first", "third", "fourth"):
        (table,) = tuning_section(run_id, [ONE]).tables
        assert [(row["variant"], row["result"]) for row in table.rows] == [
            ("1.5", "left out"),
            ("1.9", "not timed: crashed: ended by signal 11"),
            ("1.5-mkl_amd", "kept"),
        ]


def test_the_verdict_is_that_of_the_fresh_pairs():
    assert tuning_section("fourth", [ONE]).verdicts == (
        "1.5-mkl_amd is 2.00x as fast as the default 1.5 [1.90, 2.10] (run fourth).",
        "round 4 was left out.",
    )


def test_a_run_that_tuned_nothing_has_no_such_section():
    assert tuning_section("another", [ONE]) is None
