"""The rules of workers/optimisers.py as optax, JAX's library of optimisers, has them; directions, without a rate."""

import jax
import jax.numpy as jnp
import optax

from workers.frameworks import ALIGNED, OWN, Optimiser
from workers.optimisers import decays_apart


def _sgd(training):
    return optax.trace(decay=training.momentum)


def _nesterov(training):
    return optax.trace(decay=training.momentum, nesterov=True)


def _adam(training):
    return optax.scale_by_adam(b1=training.momentum, b2=training.beta2, eps=training.epsilon)


def _rmsprop(training):
    scale = optax.scale_by_rms(decay=training.beta2, eps=training.epsilon, eps_in_sqrt=False)
    return optax.chain(scale, optax.trace(decay=training.momentum)) if training.momentum else scale


def _lion(training):
    return optax.scale_by_lion(b1=training.momentum, b2=training.beta2)


OPTIMISERS = {
    "sgd": Optimiser(OWN, "optax.trace, as in optax.sgd", _sgd),
    "nesterov": Optimiser(OWN, "optax.trace with nesterov, as in optax.sgd", _nesterov),
    "adam": Optimiser(OWN, "optax.scale_by_adam, as in optax.adam", _adam),
    "adamw": Optimiser(OWN, "optax.scale_by_adam, as in optax.adamw", _adam),
    "rmsprop": Optimiser(ALIGNED, "optax.scale_by_rms, with its epsilon outside the root", _rmsprop),
    "lion": Optimiser(OWN, "optax.scale_by_lion, as in optax.lion", _lion),
}
"""make: Training -> a transformation of gradients."""

_STATE = {"velocity": "trace", "mean": "mu", "square": "nu"}
"""Name of workers/optimisers.py -> field of a state of optax."""


def transformation(entry, training):
    """What makes directions of gradients: clipping, coupled decay, the optimiser, decay apart."""
    parts = [entry.make(training)]
    if training.weight_decay:
        is_apart = decays_apart(training)
        parts.insert(is_apart, optax.add_decayed_weights(training.weight_decay))
    if training.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(training.clip_norm))
    return optax.chain(*parts)


def state_of(states, names):
    """Weight name -> {name: array} of the parts of a state that hold an array for each weight."""
    found = {weight: {} for weight in names}
    for part in jax.tree.leaves(states, is_leaf=lambda one: any(hasattr(one, own) for own in _STATE.values())):
        for name, own in _STATE.items():
            if hasattr(part, own):
                for weight in names:
                    found[weight][name] = jax.device_get(getattr(part, own)[weight])
    return found


def loss_of(training, classes):
    """The mean cross-entropy of a Training as a function of logits and labels."""
    smoothing = training.label_smoothing

    def loss(logits, y):
        wanted = jax.nn.one_hot(y, classes)
        if smoothing:
            wanted = optax.smooth_labels(wanted, smoothing)
        return jnp.mean(optax.softmax_cross_entropy(logits, wanted))

    return loss
