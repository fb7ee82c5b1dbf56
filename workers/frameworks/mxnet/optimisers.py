"""The rules of workers/optimisers.py as MXNet's optimisers, and in its operators where it defines them otherwise."""

import mxnet
from mxnet import gluon, nd

from workers.frameworks import ALIGNED, OURS, OWN, Optimiser
from workers.optimisers import decays_apart, targets


class _Ours(mxnet.optimizer.Optimizer):
    """The base of those in MXNet's operators: a state is a tuple of arrays like the weight."""

    states = 1

    def __init__(self, training):
        super(_Ours, self).__init__(learning_rate=training.learning_rate)
        self._training = training

    def create_state(self, index, weight):
        """Zeros."""
        return tuple(nd.zeros_like(weight) for _ in range(self.states))

    def update(self, index, weight, grad, state):
        """One update of one weight, in place."""
        self._update_count(index)
        rate, gradient = self._get_lr(index), grad * self.rescale_grad
        if self._training.weight_decay and not decays_apart(self._training):
            gradient = gradient + self._training.weight_decay * weight
        weight -= rate * self.direction(gradient, *state)


class Nesterov(_Ours):
    """With a gradient of the rule: MXNet's own keeps the rate in its velocity."""

    def direction(self, gradient, velocity):
        """What the rate is multiplied with."""
        velocity[:] = self._training.momentum * velocity + gradient
        return gradient + self._training.momentum * velocity


class RmsProp(_Ours):
    """MXNet's own has its epsilon inside the root, and no momentum that is not centred."""

    states = 2

    def direction(self, gradient, square, velocity):
        """What the rate is multiplied with."""
        square[:] = self._training.beta2 * square + (1 - self._training.beta2) * gradient * gradient
        scaled = gradient / (nd.sqrt(square) + self._training.epsilon)
        if not self._training.momentum:
            return scaled
        velocity[:] = self._training.momentum * velocity + scaled
        return velocity


class Lion(_Ours):
    """MXNet has none."""

    def direction(self, gradient, mean):
        """What the rate is multiplied with."""
        direction = nd.sign(self._training.momentum * mean + (1 - self._training.momentum) * gradient)
        mean[:] = self._training.beta2 * mean + (1 - self._training.beta2) * gradient
        return direction


class Adam(mxnet.optimizer.Adam):
    """MXNet's own, which adds epsilon to a root that is not corrected; so it is made smaller by that correction."""

    def __init__(self, training):
        decay = 0.0 if decays_apart(training) else training.weight_decay
        super(Adam, self).__init__(
            learning_rate=training.learning_rate, beta1=training.momentum, beta2=training.beta2, wd=decay
        )
        self._training = training

    def update(self, index, weight, grad, state):
        """One update of one weight, in place."""
        count = self._index_update_count.get(index, self.begin_num_update) + 1
        self.epsilon = self._training.epsilon * (1 - self._training.beta2**count) ** 0.5
        super(Adam, self).update(index, weight, grad, state)


def _sgd(training):
    decay = 0.0 if decays_apart(training) else training.weight_decay
    return mxnet.optimizer.SGD(learning_rate=training.learning_rate, momentum=training.momentum, wd=decay)


OPTIMISERS = {
    "sgd": Optimiser(OWN, "mxnet.optimizer.SGD", _sgd),
    "nesterov": Optimiser(OURS, "Nesterov in MXNet's operators", Nesterov),
    "adam": Optimiser(ALIGNED, "mxnet.optimizer.Adam, with its epsilon moved out of the correction", Adam),
    "adamw": Optimiser(ALIGNED, "mxnet.optimizer.Adam, with its epsilon moved and the weight decay apart", Adam),
    "rmsprop": Optimiser(OURS, "RMSprop in MXNet's operators: its own has epsilon inside the root", RmsProp),
    "lion": Optimiser(OURS, "Lion in MXNet's operators", Lion),
}
"""make: Training -> an optimiser of MXNet."""

_STATE = {
    "nesterov": ("velocity",),
    "adam": ("mean", "square"),
    "adamw": ("mean", "square"),
    "rmsprop": ("square", "velocity"),
    "lion": ("mean",),
}


class Update(object):
    """The update of a Training: a Trainer of Gluon, and what the rule has besides.

    entry: of OPTIMISERS. parameters: of Gluon. optimiser: the Optimiser that says whose update it is.
    """

    def __init__(self, entry, parameters, training):
        self._training = training
        # A weight that has no gradient, such as a running mean, has grad_req 'null'.
        self._trained = [one for one in parameters.values() if one.grad_req != "null"]
        self._decay = training.weight_decay if decays_apart(training) else 0.0
        if self._decay and training.optimiser == "sgd":
            entry = entry._replace(source=ALIGNED, what=f"{entry.what}, with the weight decay apart")
        self.optimiser = entry
        self._trainer = gluon.Trainer(parameters, entry.make(training), kvstore=None)

    def take(self, batch_size):
        """One update, from the gradients of the sum of the losses."""
        if self._training.clip_norm is not None:
            gradients = [parameter.grad() for parameter in self._trained]
            gluon.utils.clip_global_norm(gradients, self._training.clip_norm * batch_size, check_isfinite=False)
        if self._decay:
            kept = 1 - self._trainer.learning_rate * self._decay
            for parameter in self._trained:
                weight = parameter.data()
                weight *= kept
        self._trainer.step(batch_size)

    def set_rate(self, rate):
        """The rate of the next update. MXNet's SGD keeps the velocity times the rate, so what it has kept is scaled."""
        if self._training.optimiser == "sgd":
            scale = rate / self._trainer.learning_rate
            for updater in self._trainer._updaters:
                for kept in updater.states.values():
                    if kept is not None:  # without momentum
                        kept *= scale
        self._trainer.set_learning_rate(rate)

    def state(self, parameter):
        """name -> array of what is kept of a parameter."""
        number = self._trainer._param2idx[parameter.name]
        kept = self._trainer._updaters[0].states.get(number)
        if self._training.optimiser == "sgd":
            return {} if kept is None else {"velocity": kept.asnumpy() / -self._trainer.learning_rate}
        names = _STATE[self._training.optimiser]
        return {name: value.asnumpy() for name, value in zip(names, kept)}


def loss_of(training, classes, context):
    """(a function of logits and placed labels that gives the loss of each picture) of a Training."""
    if not training.label_smoothing:
        return gluon.loss.SoftmaxCrossEntropyLoss()
    table = nd.array(targets(range(classes), classes, training.label_smoothing), context, "float32")
    loss = gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=False)
    return lambda logits, y: loss(logits, nd.take(table, y))
