"""The rules of training: how weights are updated, in float64; the oracle, the audit and the reference check call them.

name  settings read            the update of a weight w with the gradient g of the mean loss, at a rate
sgd   learning_rate, momentum  v = momentum * v + g; w = w - rate * v  (v starts at zero)

An adapter has its framework's own. The rate of a step is the rule's too: rate_at(epoch, step), a pure function, which
the loop calls and tells the adapter.
"""

import numpy


class Sgd(object):
    """Stochastic gradient descent with momentum, at a constant rate. State: {"velocity"}."""

    def __init__(self, training):
        """training: Training of workers/protocol.py."""
        self._rate, self._momentum = training.learning_rate, training.momentum

    def rate_at(self, epoch, step):
        """The rate of a step; both count from 0."""
        return self._rate

    def start(self, weight):
        """The state in front of the first update: name -> array like `weight`."""
        return {"velocity": numpy.zeros(weight.shape)}

    def update(self, state, weight, gradient, rate):
        """(state, weight) after one update. Arrays of one shape, which stay as they are."""
        velocity = self._momentum * state["velocity"] + gradient
        return {"velocity": velocity}, weight - rate * velocity

    def left_by(self, before, after, rate):
        """The state that an update left which moved a weight so; a rule whose state does not show sets this to None."""
        return {"velocity": (before - after) / rate}


RULES = {"sgd": Sgd}
"""name -> rule, made of a Training."""


def rule_of(training):
    """The rule of a Training. Raises ValueError, naming the known ones, for another."""
    if training.optimiser not in RULES:
        raise ValueError(f"there is no optimiser {training.optimiser!r}; known: {', '.join(sorted(RULES))}.")
    return RULES[training.optimiser](training)


def is_audited(training):
    """Whether a step of this training can be repeated: the rule's state shows in what its last update did."""
    return getattr(RULES.get(training.optimiser), "left_by", None) is not None
