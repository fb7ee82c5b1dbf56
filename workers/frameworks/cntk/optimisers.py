"""The rules of workers/optimisers.py in CNTK: momentum SGD as its own learner, all else as a learner of its functions.

CNTK's own learners keep the rate in their velocity and have no state that can be read. Its Adam adds epsilon to a root
that is not corrected, and its epsilon cannot be changed from step to step.
"""

import cntk
import numpy

from workers.frameworks import OURS, OWN, Optimiser
from workers.optimisers import decays_apart, has_schedule, state_names, targets


def _sgd(rule, gradient, velocity):
    return cntk.assign(velocity, rule.momentum * velocity + gradient)


def _nesterov(rule, gradient, velocity):
    return gradient + rule.momentum * cntk.assign(velocity, rule.momentum * velocity + gradient)


def _adam(rule, gradient, mean, square):
    mean = cntk.assign(mean, rule.momentum * mean + (1 - rule.momentum) * gradient)
    square = cntk.assign(square, rule.beta2 * square + (1 - rule.beta2) * gradient * gradient)
    return mean * rule.of_mean / (cntk.sqrt(square * rule.of_square) + rule.epsilon)


def _rmsprop(rule, gradient, square, velocity=None):
    square = cntk.assign(square, rule.beta2 * square + (1 - rule.beta2) * gradient * gradient)
    scaled = gradient / (cntk.sqrt(square) + rule.epsilon)
    return scaled if velocity is None else cntk.assign(velocity, rule.momentum * velocity + scaled)


def _lion(rule, gradient, mean):
    average = rule.momentum * mean + (1 - rule.momentum) * gradient
    direction = cntk.greater(average, 0) - cntk.less(average, 0)
    # CNTK computes in an order of its own; the sum with zero makes the old mean be read before the new one is written.
    new = rule.beta2 * mean + (1 - rule.beta2) * gradient + 0 * direction
    return direction + 0 * cntk.assign(mean, new)


OPTIMISERS = {
    "sgd": Optimiser(OWN, "cntk.momentum_sgd", _sgd),
    "nesterov": Optimiser(OURS, "Nesterov as a universal learner", _nesterov),
    "adam": Optimiser(OURS, "Adam as a universal learner: its own has another epsilon", _adam),
    "adamw": Optimiser(OURS, "AdamW as a universal learner", _adam),
    "rmsprop": Optimiser(OURS, "RMSprop as a universal learner", _rmsprop),
    "lion": Optimiser(OURS, "Lion as a universal learner", _lion),
}
"""make: (Update, gradient, arrays of the state...) -> the direction of an update, in CNTK's functions."""


class Update(object):
    """The update of a Training. entry: of OPTIMISERS. parameters: of CNTK. optimiser: whose update it is.

    Raises Unsupported where unit_gain is asked for with another learner than CNTK's own.
    """

    def __init__(self, entry, parameters, training, unit_gain, device):
        self.momentum, self.beta2, self.epsilon = training.momentum, training.beta2, training.epsilon
        self._training, self._entry, self._device = training, entry, device
        self._count, self.states = 0, {}
        has_more = training.weight_decay or training.clip_norm is not None or has_schedule(training)
        if entry.source == OWN and not has_more:
            self.optimiser, self._rate = entry, None
            self.learner = _own(parameters, training, unit_gain)
            return
        if entry.source == OWN:
            entry = entry._replace(source=OURS, what="momentum SGD as a universal learner: its own keeps the rate")
        self.optimiser = entry
        self._rate = self._number(training.learning_rate)
        self.of_mean, self.of_square = self._number(1.0), self._number(1.0)
        # CNTK counts the arguments of the function, and would count `self`.
        self.learner = cntk.universal(lambda trained, gradients: self._updates(trained, gradients), parameters)

    def begin(self):
        """To be called before each update: what the count of updates changes."""
        if self._training.optimiser in ("adam", "adamw"):
            self._count += 1
            self.of_mean.value = _array(1 / (1 - self.momentum**self._count))
            self.of_square.value = _array(1 / (1 - self.beta2**self._count))

    def set_rate(self, rate):
        """The rate of the next update. Gives whether it can be set."""
        if self._rate is not None:
            self._rate.value = _array(rate)
        return self._rate is not None

    def _number(self, value):
        return cntk.parameter((), init=value, device=self._device)

    def _updates(self, parameters, gradients):
        """One function that does all updates; CNTK gives the gradients of the sum of the losses."""
        training = self._training
        # Parameters come in an order of CNTK's own.
        names = state_names(training)
        gradients = [gradient / training.batch_size for gradient in gradients]
        if training.clip_norm is not None:
            squares = [cntk.reduce_sum(gradient * gradient) for gradient in gradients]
            norm = cntk.sqrt(sum(squares[1:], squares[0]))
            share = training.clip_norm / cntk.element_max(norm, training.clip_norm)
            gradients = [gradient * share for gradient in gradients]
        is_apart = decays_apart(training)
        updates = []
        for parameter, gradient in zip(parameters, gradients):
            if training.weight_decay and not is_apart:
                gradient = gradient + training.weight_decay * parameter
            state = {name: cntk.parameter(parameter.shape, init=0.0, device=self._device) for name in names}
            self.states[parameter.uid] = state
            direction = self._entry.make(self, gradient, **state)
            kept = parameter * (1 - self._rate * training.weight_decay) if is_apart else parameter
            updates.append(cntk.assign(parameter, kept - self._rate * direction))
        return cntk.combine(updates)


def _own(parameters, training, unit_gain):
    return cntk.momentum_sgd(
        parameters,
        cntk.learning_parameter_schedule(training.learning_rate),
        cntk.momentum_schedule(training.momentum),
        unit_gain=unit_gain,  # if so CNTK scales the gradient by 1 - momentum: not the SGD of the others
        use_mean_gradient=True,
    )


def _array(value):
    return numpy.asarray(value, numpy.float32)


def table_of(training, classes):
    """(classes, classes): what the loss compares the probabilities of each label with."""
    return targets(range(classes), classes, training.label_smoothing).astype(numpy.float32)
