"""What one update of each rule computes, by hand."""

import numpy
import pytest

from workers.bounds import FLOAT32, INT8, bounds, is_within, worst
from workers.optimisers import RULES, is_audited, rule_of
from workers.protocol import Training

SGD = Training("sgd", "he_normal", 0.5, 0.9, 8, 1)


def test_sgd_adds_the_gradient_to_what_is_left_of_its_velocity():
    rule = rule_of(SGD)
    weight = numpy.array([1.0, 2.0])
    state, weight = rule.update(rule.start(weight), weight, numpy.array([2.0, 0.0]), 0.5)
    assert weight.tolist() == [0.0, 2.0]
    assert state["velocity"].tolist() == [2.0, 0.0]
    state, weight = rule.update(state, weight, numpy.array([1.0, 4.0]), 0.5)
    assert state["velocity"].tolist() == [0.9 * 2 + 1, 4.0]
    assert weight.tolist() == [-0.5 * 2.8, 0.0]


def test_another_rate_moves_the_whole_velocity():
    rule = rule_of(SGD)
    _, weight = rule.update({"velocity": numpy.array([2.0])}, numpy.array([1.0]), numpy.array([0.0]), 0.1)
    assert weight[0] == pytest.approx(1.0 - 0.1 * 1.8)


def test_an_update_changes_none_of_its_arguments():
    rule = rule_of(SGD)
    state, weight, gradient = {"velocity": numpy.ones(2)}, numpy.ones(2), numpy.ones(2)
    rule.update(state, weight, gradient, 0.5)
    assert state["velocity"].tolist() == weight.tolist() == gradient.tolist() == [1.0, 1.0]


def test_the_state_of_sgd_shows_in_what_its_update_did():
    rule = rule_of(SGD)
    before = numpy.array([1.0, -3.0])
    state, after = rule.update({"velocity": numpy.array([2.0, 5.0])}, before, numpy.array([0.5, 0.25]), 0.5)
    assert rule.left_by(before, after, 0.5)["velocity"] == pytest.approx(state["velocity"])


def test_the_rate_of_sgd_is_the_same_in_every_step():
    assert {rule_of(SGD).rate_at(epoch, step) for epoch in range(3) for step in range(5)} == {0.5}


def test_a_rule_that_does_not_show_its_state_is_not_audited(monkeypatch):
    monkeypatch.setitem(RULES, "hidden", type("Hidden", (RULES["sgd"],), {"left_by": None}))
    assert is_audited(SGD)
    assert not is_audited(SGD._replace(optimiser="hidden"))
    assert not is_audited(SGD._replace(optimiser="none"))


def test_an_unknown_rule_is_named_with_the_known():
    with pytest.raises(ValueError, match="there is no optimiser 'adam'; known: sgd"):
        rule_of(SGD._replace(optimiser="adam"))


def test_only_float32_promises_a_bound():
    assert set(bounds("inference", FLOAT32)) == {"logits"}
    assert not bounds("inference", INT8)
    with pytest.raises(TypeError):
        bounds("inference")["logits"] = 1.0


def test_a_figure_that_is_no_number_is_beyond_every_bound():
    assert is_within({"a": 0.1}, {"a": 0.2})
    assert not is_within({"a": 0.3}, {"a": 0.2})
    assert not is_within({"a": float("nan")}, {"a": 0.2})


def test_what_has_no_bound_passes_nothing():
    assert not is_within({}, bounds("audit", INT8))


@pytest.mark.parametrize("values", [[0.1, float("nan"), 0.2], [float("nan"), 0.1], [0.1, float("nan")]])
def test_the_worst_of_figures_is_the_one_that_is_no_number(values):
    assert numpy.isnan(worst(values))
    assert worst([0.1, 0.3, 0.2]) == 0.3
