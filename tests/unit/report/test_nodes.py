"""How far machines of one page differ, by their controls."""

from dataclasses import replace

from orchestrator.report.nodes import compared
from tests import fake_run as fake
from tests.fake_stored import run, timed

HERE, BESIDE = fake.host(marks=("a",)), fake.host(marks=("b",))
OTHER = fake.host(marks=("c",), cpu_model="Graviton")


def control(host, step_seconds):
    steps = [step_seconds, step_seconds * 1.01, step_seconds * 0.99]
    stored = run(*(timed(ordinal=at, step_seconds=step) for at, step in enumerate(steps, start=1)))
    return replace(stored, facts=stored.facts.model_copy(update={"host": host}))


def test_machines_of_one_kind_are_compared_by_their_controls():
    (said,) = compared([control(HERE, 0.100), control(BESIDE, 0.103)], [HERE, BESIDE])
    assert said.startswith("the 2 machines are of one kind and differ by up to 3.0% in the step of pytorch:2.13 ")
    assert "(trials of one machine: by up to 2.0%)" in said


def test_machines_of_two_kinds_are_not_compared():
    (said,) = compared([control(HERE, 0.1), control(OTHER, 0.2)], [HERE, OTHER])
    assert said.startswith("the machines are of 2 kinds ")


def test_machines_without_a_control_are_said_to_be_not_compared():
    (said,) = compared([control(HERE, 0.1)], [HERE, BESIDE])
    assert "were not compared, because no control ended on two of them" in said


def test_a_kind_is_made_of_what_times_depend_on():
    assert HERE.kind == BESIDE.kind != OTHER.kind
    assert HERE.kind != fake.host(marks=("a",), kernel="6.2").kind
