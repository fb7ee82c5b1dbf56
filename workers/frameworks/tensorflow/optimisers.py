"""The rules of workers/optimisers.py as updates in TensorFlow's traced step: its own fused ops, or its plain ones."""

import tensorflow as tf

from workers.frameworks import ALIGNED, OURS, OWN, Optimiser
from workers.optimisers import RULES, decays_apart, state_names, targets

_raw = tf.raw_ops


def _momentum(is_nesterov):
    def update(weight, kept, gradient, rate, training, count):
        _raw.ResourceApplyMomentum(
            var=weight.handle,
            accum=kept["velocity"].handle,
            lr=rate,
            grad=gradient,
            momentum=training.momentum,
            use_nesterov=is_nesterov,
        )

    return update


def _adam(weight, kept, gradient, rate, training, count):
    first, second = tf.constant(training.momentum) ** count, tf.constant(training.beta2) ** count
    _raw.ResourceApplyAdam(
        var=weight.handle,
        m=kept["mean"].handle,
        v=kept["square"].handle,
        beta1_power=first,
        beta2_power=second,
        lr=rate,
        beta1=training.momentum,
        beta2=training.beta2,
        # TensorFlow adds it to a root that is not corrected; so here it is made smaller by that correction.
        epsilon=training.epsilon * tf.sqrt(1 - second),
        grad=gradient,
    )


def _rmsprop(weight, kept, gradient, rate, training, count):
    square = kept["square"].assign(training.beta2 * kept["square"] + (1 - training.beta2) * gradient * gradient)
    direction = gradient / (tf.sqrt(square) + training.epsilon)
    if training.momentum:
        direction = kept["velocity"].assign(training.momentum * kept["velocity"] + direction)
    weight.assign_sub(rate * direction)


def _lion(weight, kept, gradient, rate, training, count):
    weight.assign_sub(rate * tf.sign(training.momentum * kept["mean"] + (1 - training.momentum) * gradient))
    kept["mean"].assign(training.beta2 * kept["mean"] + (1 - training.beta2) * gradient)


OPTIMISERS = {
    "sgd": Optimiser(OWN, "ResourceApplyMomentum", _momentum(False)),
    "nesterov": Optimiser(OWN, "ResourceApplyMomentum with use_nesterov", _momentum(True)),
    "adam": Optimiser(ALIGNED, "ResourceApplyAdam, with its epsilon moved out of the correction", _adam),
    "adamw": Optimiser(ALIGNED, "ResourceApplyAdam, with its epsilon moved out of the correction", _adam),
    "rmsprop": Optimiser(OURS, "RMSprop in TensorFlow's ops: its own has epsilon inside the root", _rmsprop),
    "lion": Optimiser(OURS, "Lion in TensorFlow's ops", _lion),
}
"""make: (weight, name -> variable kept of it, gradient, rate, Training, number of the update), inside a traced step."""


class Update(object):
    """The update of a Training. entry: of OPTIMISERS. weights: variables. To be made on their device."""

    def __init__(self, entry, weights, training):
        self._apply, self._weights, self._training = entry.make, weights, training
        names = state_names(training)
        self.kept = [{name: tf.Variable(tf.zeros_like(weight)) for name in names} for weight in weights]
        self._rate = tf.Variable(training.learning_rate, trainable=False, dtype=tf.float32)
        self._count = tf.Variable(0.0, trainable=False)
        self._is_apart = decays_apart(training)
        is_aligned = training.weight_decay and entry.source == OWN
        self.optimiser = (
            entry._replace(source=ALIGNED, what=f"{entry.what}, with a weight decay") if is_aligned else entry
        )

    def take(self, gradients):
        """One update, in a traced step."""
        training, rate = self._training, self._rate.read_value()
        count = self._count.assign_add(1.0) if "beta2" in RULES[training.optimiser].SETTINGS else None
        if training.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, training.clip_norm)
        for weight, kept, gradient in zip(self._weights, self.kept, gradients):
            if training.weight_decay and self._is_apart:
                weight.assign(weight * (1 - rate * training.weight_decay))
            elif training.weight_decay:
                gradient = gradient + training.weight_decay * weight
            self._apply(weight, kept, gradient, rate, training, count)

    def set_rate(self, rate):
        """The rate of the next update: a variable, which the traced step reads."""
        self._rate.assign(rate)


def loss_of(training, classes):
    """The mean cross-entropy of a Training as a function of labels and logits."""
    if not training.label_smoothing:
        return lambda y, logits: tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
    table = targets(range(classes), classes, training.label_smoothing).astype("float32")
    return lambda y, logits: tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(tf.gather(table, y), logits))
