"""The rules of workers/optimisers.py as torch.optim has them, and Lion, which it has not."""

import torch
from torch import nn
from torch.nn import functional

from workers.frameworks import ALIGNED, OURS, OWN, Optimiser
from workers.optimisers import APART, targets


class Lion(torch.optim.Optimizer):
    """Lion, in torch's ops; the weight decay is taken off before (see Update)."""

    def __init__(self, weights, lr, betas):
        super(Lion, self).__init__(weights, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self):
        """One update."""
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                mean = self.state[weight].setdefault("exp_avg", torch.zeros_like(weight))
                direction = torch.sign(first * mean + (1 - first) * weight.grad)
                weight.add_(direction, alpha=-group["lr"])
                mean.mul_(second).add_(weight.grad, alpha=1 - second)


def _of(kind, *settings, **more):
    """make(weights, training, coupled decay) -> an optimiser of torch. settings: those of torch beside the rate."""

    def make(weights, training, decay):
        named = {
            "momentum": training.momentum,
            "betas": (training.momentum, training.beta2),
            "alpha": training.beta2,
            "eps": training.epsilon,
            "weight_decay": decay,
        }
        return kind(weights, lr=training.learning_rate, **{name: named[name] for name in settings}, **more)

    return make


OPTIMISERS = {
    "sgd": Optimiser(OWN, "torch.optim.SGD", _of(torch.optim.SGD, "momentum", "weight_decay")),
    "nesterov": Optimiser(
        OWN, "torch.optim.SGD with nesterov", _of(torch.optim.SGD, "momentum", "weight_decay", nesterov=True)
    ),
    "adam": Optimiser(OWN, "torch.optim.Adam", _of(torch.optim.Adam, "betas", "eps", "weight_decay")),
    "adamw": Optimiser(OWN, "torch.optim.AdamW", _of(torch.optim.AdamW, "betas", "eps", "weight_decay")),
    "rmsprop": Optimiser(
        OWN, "torch.optim.RMSprop", _of(torch.optim.RMSprop, "alpha", "eps", "momentum", "weight_decay")
    ),
    "lion": Optimiser(OURS, "Lion in torch's ops", _of(Lion, "betas")),
}

_STATE = {
    "sgd": {"velocity": "momentum_buffer"},
    "nesterov": {"velocity": "momentum_buffer"},
    "adam": {"mean": "exp_avg", "square": "exp_avg_sq"},
    "adamw": {"mean": "exp_avg", "square": "exp_avg_sq"},
    "rmsprop": {"square": "square_avg", "velocity": "momentum_buffer"},
    "lion": {"mean": "exp_avg"},
}
"""Optimiser -> what torch calls the arrays of its state."""


class Update(object):
    """The update of a Training: an optimiser of torch, and what the rule has besides.

    entry: of OPTIMISERS. weights: parameters. optimiser: the Optimiser that says whose update it is.
    """

    def __init__(self, entry, weights, training):
        self._weights, self._training = list(weights), training
        # Of torch's own only AdamW has its decay apart; for any other it is taken off here.
        is_own = training.optimiser == "adamw" or training.decay != APART
        self._decay = 0.0 if is_own or not training.weight_decay else training.weight_decay
        if training.optimiser == "lion":
            self._decay = training.weight_decay
        elif self._decay:
            entry = entry._replace(source=ALIGNED, what=f"{entry.what}, with the weight decay apart")
        self.optimiser = entry
        self._own = entry.make(self._weights, training, training.weight_decay - self._decay)
        if training.optimiser == "adamw" and not training.weight_decay:
            self._own.param_groups[0]["weight_decay"] = 0.0  # its default is 0.01

    def begin(self):
        """Forget the gradients of the last step."""
        self._own.zero_grad()

    def take(self):
        """One update, from the gradients of the weights."""
        if self._training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._weights, self._training.clip_norm)
        if self._decay:
            with torch.no_grad():
                for weight in self._weights:
                    weight.mul_(1 - self._own.param_groups[0]["lr"] * self._decay)
        self._own.step()

    def set_rate(self, rate):
        """The rate of the next update."""
        for group in self._own.param_groups:
            group["lr"] = rate

    def state(self, weight):
        """name -> tensor of what is kept of a parameter; torch keeps nothing before the first update."""
        kept = self._own.state[weight]
        names = _STATE[self._training.optimiser]
        return {name: kept[own] for name, own in names.items() if kept.get(own) is not None}


def loss_of(training, classes):
    """The mean cross-entropy of a Training as a function of logits and labels."""
    if not training.label_smoothing:
        return nn.CrossEntropyLoss()
    try:
        return nn.CrossEntropyLoss(label_smoothing=training.label_smoothing)
    except TypeError:  # before 1.10
        table = torch.from_numpy(targets(range(classes), classes, training.label_smoothing)).float()
        return lambda logits, y: -(table.to(y.device)[y] * functional.log_softmax(logits, 1)).sum(1).mean()
