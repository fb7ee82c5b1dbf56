"""Runs on record side by side: numbers without a verdict, unless there are several sessions of each."""

import pytest

from orchestrator.analysis import sessions
from orchestrator.environment import Card
from orchestrator.errors import SpecError
from orchestrator.records.stored import StoredRun
from tests import fake_run as fake
from tests.fake_stored import timed


def session(seconds=0.1, variant="1.5", host="here", run_id="a", repeats=2, record=None, **asked):
    trials = [
        timed(fake.trial("mxnet", variant, repeat=at, **asked), at, step_seconds=seconds, record=record)
        for at in range(repeats)
    ]
    return StoredRun(fake.run_facts(run_id, host=fake.host(hostname_sha256=host)), tuple(trials), ())


def test_two_runs_have_a_ratio_and_no_verdict():
    (row,) = sessions.rows([session(0.2)], [session(0.1, "1.9")])
    assert (row["cell"], row["ratio"]) == ("mxnet ResNet-20@32 cpu", pytest.approx(2.0))
    assert (row["verdict"], row["low"], row["p"]) == ("unclear", None, None)
    assert row["words"].startswith("2.000x as fast; no verdict: two sessions differ by more than their trials do.")


def test_three_sessions_of_each_are_judged_by_their_scatter():
    baseline = [session(seconds) for seconds in (0.2, 0.21, 0.19)]
    (row,) = sessions.rows(baseline, [session(seconds, "1.9") for seconds in (0.1, 0.105, 0.095)])
    assert (row["verdict"], row["sessions"]) == ("faster", 3)
    (row,) = sessions.rows(baseline, [session(seconds, "1.9") for seconds in (0.18, 0.22, 0.20)])
    assert row["verdict"] == "unclear"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"host": "there"}, "ran on different machines"),
        ({"seed": 1}, "they answer no common question"),
        ({"record": {"worker_sha256": "v" * 64}}, "differ in the worker's code"),
        ({"record": {"network_sha256": "n" * 64}}, "differ in the ops of a network"),
        ({"record": {"data": fake.data_facts(sha256="e" * 64)}}, "differ in their pictures"),
        ({"record": {"environment": fake.environment("mxnet", "1.5", engine="virtualenv")}}, "differ in their engine"),
        (
            {
                "record": {
                    "environment": fake.environment("mxnet", "1.5").on(
                        Card(index=0, name="T4", memory_bytes=1, capability="7.5", driver="1")
                    )
                }
            },
            "differ in their card",
        ),
    ],
    ids=["machine", "question", "worker", "ops", "pictures", "engine", "card"],
)
def test_runs_under_other_conditions_are_refused(other, said):
    with pytest.raises(SpecError, match=said):
        sessions.rows([session()], [session(run_id="b", **other)])


def test_a_run_of_several_variants_is_refused():
    both = StoredRun(session().facts, (*session().trials, *session(variant="1.9").trials), ())
    with pytest.raises(SpecError, match="holds several variants"):
        sessions.rows([both], [session()])
