"""Which selfchecks a trial rests on."""

from orchestrator.execution.selfcheck import request_of, required
from orchestrator.networks import Network
from tests import fake_run as fake


def first_step(**changes):
    trial = fake.trial(**changes)
    return request_of(trial, Network.of(trial.model, trial.input_size, 43))


def told(requests):
    return [(check.steps, check.input_size.side, check.batch_size) for check in requests]


def test_one_size_needs_all_steps_in_its_own_batch():
    asked = first_step()
    assert told(required([asked])[asked]) == [("all", 32, 64)]


def test_a_larger_size_needs_its_own_first_step_too():
    small, large = first_step(), first_step(input_size=64)
    checks = required([large, small])
    assert told(checks[small]) == [("all", 32, 64)]
    assert told(checks[large]) == [("all", 32, 64), ("first", 64, 64)]


def test_another_batch_needs_its_own_first_step_too():
    few, many = (first_step(training=fake.trial().training.model_copy(update={"batch_size": n})) for n in (32, 64))
    checks = required([many, few])
    assert told(checks[few]) == [("all", 32, 32)]
    assert told(checks[many]) == [("all", 32, 32), ("first", 32, 64)]


def test_another_network_or_environment_shares_nothing():
    ours, theirs = first_step(), first_step(framework="tensorflow", variant="2.21")
    assert [check.framework for found in required([ours, theirs]).values() for check in found] == [
        "pytorch",
        "tensorflow",
    ]
