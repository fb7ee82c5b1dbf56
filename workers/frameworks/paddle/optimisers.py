"""The rules of workers/optimisers.py as paddle.optimizer has them, and in Paddle's ops where its own differ."""

import paddle
from paddle.nn import functional

from workers.frameworks import ALIGNED, OURS, OWN, Optimiser
from workers.optimisers import decays_apart, state_names


def _momentum(weights, training, decay, clip):
    return paddle.optimizer.Momentum(
        training.learning_rate,
        training.momentum,
        weights,
        use_nesterov=training.optimiser == "nesterov",
        weight_decay=decay or None,
        grad_clip=clip,
    )


def _adam(weights, training, decay, clip):
    given = {"beta1": training.momentum, "beta2": training.beta2, "epsilon": training.epsilon, "parameters": weights}
    if training.optimiser == "adamw":
        return paddle.optimizer.AdamW(
            training.learning_rate, weight_decay=training.weight_decay, grad_clip=clip, **given
        )
    return paddle.optimizer.Adam(training.learning_rate, weight_decay=decay or None, grad_clip=clip, **given)


class _Ours(object):
    """The base of those in Paddle's ops."""

    def __init__(self, weights, training, decay, clip):
        self._weights, self._training, self._decay, self._clip = weights, training, decay, clip
        self._rate = training.learning_rate
        names = state_names(training)
        self.kept = {weight.name: {name: paddle.zeros_like(weight) for name in names} for weight in weights}

    @paddle.no_grad()
    def step(self):
        """One update."""
        gradients = [(weight, weight.grad) for weight in self._weights]
        for weight, gradient in gradients if self._clip is None else self._clip(gradients):
            if self._decay:
                gradient = gradient + self._decay * weight
            weight.subtract_(self._rate * self.direction(gradient, self.kept[weight.name]))

    def clear_grad(self):
        """Forget the gradients."""
        for weight in self._weights:
            weight.clear_gradient(False)

    def get_lr(self):
        """The rate of the next update."""
        return self._rate

    def set_lr(self, rate):
        """Set it."""
        self._rate = rate


class RmsProp(_Ours):
    """Paddle's own has its epsilon inside the root."""

    def direction(self, gradient, kept):
        """What the rate is multiplied with."""
        training = self._training
        kept["square"] = training.beta2 * kept["square"] + (1 - training.beta2) * gradient * gradient
        scaled = gradient / (paddle.sqrt(kept["square"]) + training.epsilon)
        if training.momentum:
            scaled = kept["velocity"] = training.momentum * kept["velocity"] + scaled
        return scaled


class Lion(_Ours):
    """Paddle has none."""

    def direction(self, gradient, kept):
        """What the rate is multiplied with."""
        training, mean = self._training, kept["mean"]
        kept["mean"] = training.beta2 * mean + (1 - training.beta2) * gradient
        return paddle.sign(training.momentum * mean + (1 - training.momentum) * gradient)


OPTIMISERS = {
    "sgd": Optimiser(OWN, "paddle.optimizer.Momentum", _momentum),
    "nesterov": Optimiser(OWN, "paddle.optimizer.Momentum with use_nesterov", _momentum),
    "adam": Optimiser(OWN, "paddle.optimizer.Adam", _adam),
    "adamw": Optimiser(OWN, "paddle.optimizer.AdamW", _adam),
    "rmsprop": Optimiser(OURS, "RMSprop in Paddle's ops: its own has epsilon inside the root", RmsProp),
    "lion": Optimiser(OURS, "Lion in Paddle's ops", Lion),
}
"""make: (weights, Training, coupled decay, clip) -> an optimiser of Paddle, or what does the same."""

_STATE = {"velocity": "_velocity_0", "mean": "_moment1_0", "square": "_moment2_0"}
"""Name of workers/optimisers.py -> end of a name in a state of Paddle."""


class Update(object):
    """The update of a Training. entry: of OPTIMISERS. weights: parameters. optimiser: whose update it is."""

    def __init__(self, entry, weights, training):
        self._weights, self._training = weights, training
        is_apart = decays_apart(training)
        self._decay = training.weight_decay if is_apart and training.optimiser != "adamw" else 0.0
        if self._decay and entry.source == OWN:
            entry = entry._replace(source=ALIGNED, what=f"{entry.what}, with the weight decay apart")
        self.optimiser = entry
        clip = None if training.clip_norm is None else paddle.nn.ClipGradByGlobalNorm(training.clip_norm)
        self._own = entry.make(weights, training, 0.0 if is_apart else training.weight_decay, clip)

    def take(self):
        """One update, from the gradients of the weights, which it forgets."""
        if self._decay:
            with paddle.no_grad():
                for weight in self._weights:
                    weight.scale_(1 - self._own.get_lr() * self._decay)
        self._own.step()
        self._own.clear_grad()

    def set_rate(self, rate):
        """The rate of the next update."""
        self._own.set_lr(rate)

    def state(self, weight):
        """name -> array of what is kept of a weight."""
        if isinstance(self._own, _Ours):
            return {name: value.numpy() for name, value in self._own.kept[weight.name].items()}
        kept = self._own.state_dict()
        found = {name: kept.get(weight.name + end) for name, end in _STATE.items()}
        return {name: value.numpy() for name, value in found.items() if value is not None}


def loss_of(training):
    """The mean cross-entropy of a Training as a function of logits and labels."""
    return lambda logits, y: functional.cross_entropy(logits, y, label_smoothing=training.label_smoothing)
