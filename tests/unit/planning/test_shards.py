"""Parts of a plan: whole groups, the same cut everywhere, about as long as each other."""

import itertools

import pytest

from orchestrator.errors import SpecError
from orchestrator.home import REPOSITORY
from orchestrator.planning.plan import Order, asked_trials, expand
from orchestrator.planning.shards import CONTROL_REPEATS, control_of, cut, group_of, numbered, size_of, spec_sha256
from orchestrator.planning.spec import load_spec
from orchestrator.records.run_folder import Shard
from tests.fake_host import machine

FRAMEWORKS = ("cntk", "neon", "mxnet", "pytorch", "tensorflow")


@pytest.fixture
def host():
    return machine()


def spec(name="paper", **changes):
    asked = {"axes.seeds": [0, 1], "axes.devices": ["cpu"], **changes}
    return load_spec(REPOSITORY / "experiments" / f"{name}.json", FRAMEWORKS, asked)


def shards(asked, catalogue, host, count, seed=3):
    plan = expand(asked, catalogue, host, Order(seed))
    sha256 = spec_sha256(asked)
    parts = [
        cut(plan, asked, catalogue, Shard(number=number, count=count, spec_sha256=sha256))
        for number in range(1, count + 1)
    ]
    return plan, parts


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_trial_is_in_one_shard(catalogue, host, count):
    plan, parts = shards(spec(), catalogue, host, count)
    labels = [trial.label for part in parts for trial in part.trials]
    assert sorted(labels) == sorted(trial.label for trial in plan.trials)


def test_a_group_is_not_split(catalogue, host):
    _, parts = shards(spec(), catalogue, host, 4)
    groups = [{group_of(trial) for trial in part.trials} for part in parts]
    assert all(not one & other for one, other in itertools.combinations(groups, 2))


def test_the_order_within_a_shard_is_that_of_the_plan(catalogue, host):
    plan, parts = shards(spec(), catalogue, host, 3)
    places = {trial.label: at for at, trial in enumerate(plan.trials)}
    for part in parts:
        order = [places[trial.label] for trial in part.trials]
        assert order == sorted(order)


def test_the_cut_does_not_depend_on_machine_and_order(catalogue, host):
    other = host.model_copy(update={"cpus": (0,), "physical_cores": 1, "cpu_model": "another"})
    _, here = shards(spec(), catalogue, host, 3, seed=1)
    _, there = shards(spec(), catalogue, other, 3, seed=2)
    for one, two in zip(here, there, strict=True):
        assert {group_of(trial) for trial in one.trials} == {group_of(trial) for trial in two.trials}


def test_shards_are_about_as_long_as_each_other(catalogue):
    trials = list(asked_trials(spec(), catalogue))
    numbers = numbered(trials, 4)
    loads = [sum(size_of(trial) for trial in trials if numbers[group_of(trial)] == number) for number in range(1, 5)]
    assert max(loads) < 1.25 * min(loads)


def test_more_shards_than_groups_are_refused(catalogue, host):
    with pytest.raises(SpecError, match=r"asks for 5 shards, and the plan has 4 groups .* ask for at most 4"):
        shards(spec("quick"), catalogue, host, 5)


def test_another_question_is_another_plan():
    assert spec_sha256(spec()) == spec_sha256(spec())
    assert spec_sha256(spec()) != spec_sha256(spec(**{"training.batch_size": 32}))


def test_the_control_is_the_cheapest_network_once_more(catalogue):
    asked = spec(**{"axes.variants": {"cntk": ["2.7", "2.7-mkl"]}, "axes.machines": ["zen4"]})
    control = control_of(asked)
    trials = list(asked_trials(control, catalogue))
    smallest = min(trial.network(2).net.multiply_adds for trial in asked_trials(asked, catalogue))
    assert len(trials) == CONTROL_REPEATS
    assert {(trial.subject, trial.training.epochs, trial.seed) for trial in trials} == {("cntk:2.7", 1, 0)}
    assert {trial.network(2).net.multiply_adds for trial in trials} == {smallest}
    assert control.axes.machines == ()


def test_a_spec_without_machines_is_the_question_that_it_was():
    assert "machines" not in spec().model_dump(mode="json")["axes"]
    assert spec(**{"axes.machines": ["zen4"]}).model_dump(mode="json")["axes"]["machines"] == ["zen4"]
