"""What one update of each rule computes, by hand."""

import math

import numpy
import pytest

from workers.bounds import FLOAT32, INT8, bounds, is_within, worst
from workers.optimisers import RULES, rule_of, targets, traits
from workers.protocol import Schedule, Training

SGD = Training("sgd", "he_normal", 0.5, 0.9, 8, 1)


ADAM = SGD._replace(optimiser="adam", beta2=0.99, epsilon=0.1)


def updated(training, weight, *gradients, rate=0.5):
    """The weight after updates with these gradients, and the last state."""
    rule = rule_of(training)
    state = rule.start(weight)
    for gradient in gradients:
        state, weight = rule.update(state, weight, numpy.array(gradient), rate)
    return weight, state


def test_sgd_adds_the_gradient_to_what_is_left_of_its_velocity():
    weight, state = updated(SGD, numpy.array([1.0, 2.0]), [2.0, 0.0])
    assert weight.tolist() == [0.0, 2.0]
    assert state["velocity"].tolist() == [2.0, 0.0]
    weight, state = updated(SGD, numpy.array([1.0, 2.0]), [2.0, 0.0], [1.0, 4.0])
    assert state["velocity"].tolist() == [0.9 * 2 + 1, 4.0]
    assert weight.tolist() == [-0.5 * 2.8, 0.0]


def test_nesterov_looks_one_momentum_ahead():
    weight, _ = updated(SGD._replace(optimiser="nesterov"), numpy.array([1.0]), [2.0], [1.0])
    assert weight[0] == pytest.approx(1 - 0.5 * (2 + 0.9 * 2) - 0.5 * (1 + 0.9 * 2.8))


def test_adam_adds_epsilon_to_the_corrected_root():
    weight, _ = updated(ADAM, numpy.array([1.0]), [2.0])
    assert weight[0] == pytest.approx(1 - 0.5 * 2 / (2 + 0.1))
    weight, _ = updated(ADAM, numpy.array([1.0]), [2.0], [3.0])
    mean, square = (0.09 * 2 + 0.1 * 3) / (1 - 0.81), (0.0099 * 4 + 0.01 * 9) / (1 - 0.9801)
    assert weight[0] == pytest.approx(1 - 0.5 * 2 / 2.1 - 0.5 * mean / (square**0.5 + 0.1))


def test_rmsprop_divides_by_the_root_and_then_adds_momentum():
    training = SGD._replace(optimiser="rmsprop", momentum=0.5, beta2=0.75, epsilon=0.1)
    weight, _ = updated(training, numpy.array([1.0]), [2.0], [4.0])
    first = 2 / (1 + 0.1)
    assert weight[0] == pytest.approx(1 - 0.5 * first - 0.5 * (0.5 * first + 4 / ((0.75 + 4) ** 0.5 + 0.1)))


def test_lion_takes_the_sign_of_one_average_and_keeps_another():
    training = SGD._replace(optimiser="lion", beta2=0.5)
    weight, state = updated(training, numpy.array([1.0, 1.0, 1.0]), [2.0, -1.0, 0.0], [-1.0, 1.0, 0.0])
    assert weight.tolist() == [1 - 0.5 - 0.5, 1 + 0.5 + 0.5, 1.0]
    assert state["mean"].tolist() == [0.0, 0.25, 0.0]


@pytest.mark.parametrize("optimiser", sorted(RULES))
def test_a_decay_apart_shrinks_the_weight_beside_the_update(optimiser):
    training = ADAM._replace(optimiser=optimiser, weight_decay=0.1, decay="apart")
    plain, _ = updated(training._replace(weight_decay=0.0), numpy.array([4.0]), [2.0])
    decayed, _ = updated(training, numpy.array([4.0]), [2.0])
    assert plain[0] - decayed[0] == pytest.approx(4.0 * 0.5 * 0.1)


@pytest.mark.parametrize("optimiser", sorted(RULES))
def test_a_coupled_decay_is_part_of_the_gradient(optimiser):
    training = ADAM._replace(optimiser=optimiser, weight_decay=0.1, decay="coupled")
    given, _ = updated(training._replace(weight_decay=0.0), numpy.array([4.0]), [2.0 + 0.4])
    decayed, _ = updated(training, numpy.array([4.0]), [2.0])
    assert decayed[0] == pytest.approx(given[0])


def test_of_themselves_adamw_and_lion_decay_apart():
    assert {name for name, rule in RULES.items() if rule.DECAYS[0] == "apart"} == {"adamw", "lion"}


def test_gradients_are_clipped_by_the_norm_of_all_together():
    rule = rule_of(SGD._replace(clip_norm=2.5))
    gradients = {"a": numpy.array([3.0, 0.0]), "b": numpy.array([4.0])}
    clipped = rule.clipped(gradients)
    assert (clipped["a"].tolist(), clipped["b"].tolist()) == ([1.5, 0.0], [2.0])
    assert rule_of(SGD._replace(clip_norm=6.0)).clipped(gradients) is gradients


def test_smoothed_labels_share_with_every_class():
    assert targets([1], 4, 0.2).tolist() == [[0.05, 0.05 + 0.8, 0.05, 0.05]]
    assert targets([2, 0], 3, 0.0).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_another_rate_moves_the_whole_velocity():
    rule = rule_of(SGD)
    _, weight = rule.update({"velocity": numpy.array([2.0]), "count": 1}, numpy.array([1.0]), numpy.array([0.0]), 0.1)
    assert weight[0] == pytest.approx(1.0 - 0.1 * 1.8)


@pytest.mark.parametrize("optimiser", sorted(RULES))
def test_an_update_changes_none_of_its_arguments(optimiser):
    rule = rule_of(ADAM._replace(optimiser=optimiser))
    state, weight, gradient = rule.start(numpy.ones(2)), numpy.ones(2), numpy.ones(2)
    rule.update(state, weight, gradient, 0.5)
    assert weight.tolist() == gradient.tolist() == [1.0, 1.0]
    assert state.pop("count") == 0
    assert all(value.tolist() == [0.0, 0.0] for value in state.values())


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decay": "apart"}])
def test_the_state_of_sgd_shows_in_what_its_update_did(settings):
    rule = rule_of(SGD._replace(**settings))
    before = numpy.array([1.0, -3.0])
    state = {"velocity": numpy.array([2.0, 5.0]), "count": 3}
    state, after = rule.update(state, before, numpy.array([0.5, 0.25]), 0.5)
    assert rule.left_by(before, after, 0.5)["velocity"] == pytest.approx(state["velocity"])


def test_of_all_rules_only_that_of_sgd_shows_its_state():
    assert [name for name, rule in RULES.items() if rule.shows_itself] == ["sgd"]


def rates(schedule, epochs=4, steps=5):
    rule = rule_of(SGD._replace(learning_rate=1.0, epochs=epochs, schedule=schedule), steps)
    return [rule.rate_at(epoch, step) for epoch in range(epochs) for step in range(steps)]


def test_the_rate_of_sgd_is_the_same_in_every_step():
    assert {rule_of(SGD).rate_at(epoch, step) for epoch in range(3) for step in range(5)} == {0.5}


def test_a_step_schedule_falls_where_its_milestones_begin():
    assert rates(Schedule("step", milestones=(1, 3), factor=0.5)) == [1.0] * 5 + [0.5] * 10 + [0.25] * 5


def test_a_cosine_falls_from_the_rate_towards_its_floor():
    seen = rates(Schedule("cosine", floor=0.2))
    assert seen[0] == 1.0
    assert seen[10] == pytest.approx(0.6)
    assert seen[-1] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi * 19 / 20)) / 2)
    assert seen == sorted(seen, reverse=True)


def test_a_warm_up_rises_in_a_line_and_the_cosine_begins_there():
    seen = rates(Schedule("cosine", warmup_epochs=0.8))
    assert seen[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates(Schedule(warmup_epochs=1.0))[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_one_cycle_rises_from_a_25th_and_falls_to_nothing():
    seen = rates(Schedule("one-cycle", rise=0.5))
    assert seen[0] == pytest.approx(1 / 25)
    assert seen[10] == 1.0
    assert seen[5] == pytest.approx((1 + 1 / 25) / 2)
    assert 0 < seen[-1] < 0.03


def test_a_rate_that_changes_needs_the_steps_of_an_epoch():
    with pytest.raises(ValueError, match="needs the number of steps"):
        rule_of(SGD._replace(schedule=Schedule("cosine")))


def test_an_unknown_rule_is_named_with_the_known():
    with pytest.raises(ValueError, match="there is no optimiser 'ftrl'; known: adam, adamw, lion"):
        rule_of(SGD._replace(optimiser="ftrl"))


def test_the_traits_of_a_training_are_those_of_its_selfcheck():
    assert traits(SGD) == ()
    asked = {"weight_decay": 0.1, "clip_norm": 1.0, "label_smoothing": 0.1, "schedule": Schedule("cosine")}
    assert traits(SGD._replace(**asked)) == ("coupled decay", "clipping", "smoothing", "schedule")
    assert traits(SGD._replace(optimiser="adamw", weight_decay=0.1, momentum=0.0)) == ("decay apart", "no momentum")


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
