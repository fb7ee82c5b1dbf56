"""The oracle that every other adapter is compared with: plain numpy, float64 inside.

How it is itself checked: workers/reference_check.py computes the same values from the definitions, in another way.
"""

import numpy

from workers import native
from workers.bounds import BFLOAT16, FLOAT32
from workers.frameworks import EXTRAS, OURS, Optimiser, own_optimiser, own_options, own_precision
from workers.frameworks.numpy_ref import elementwise, layers, norms
from workers.frameworks.numpy_ref.narrow import Narrowed
from workers.optimisers import RULES, rule_of, targets
from workers.protocol import Schedule, Unsupported

VERSION = numpy.__version__
LAYERS = dict(layers.LAYERS, **elementwise.LAYERS, **norms.LAYERS)
OPTIMISERS = {name: Optimiser(OURS, "workers/optimisers.py", rule) for name, rule in RULES.items()}


class Adapter(object):
    """See workers/frameworks/__init__.py. numpy's own variables set the threads (OPENBLAS_NUM_THREADS, ...).

    In bfloat16 it is the model of mixed precision: see narrow.py, and docs/precision.md.
    """

    dtype = numpy.float64

    def __init__(self, net, weights, device, settings, options):
        own_options(options)
        if device != "cpu":
            raise Unsupported("device", f"numpy computes on the CPU only, not on {device!r}")
        self._net = net
        self._weights = {name: numpy.array(value, self.dtype) for name, value in weights.items()}
        trained = {w.name: self._weights[w.name] for w in net.weights if w.is_trainable}
        self.optimiser = own_optimiser(settings.training, OPTIMISERS, EXTRAS)
        self._rule = rule_of(settings.training._replace(schedule=Schedule()))  # the loop sets the rates
        self._smoothing = settings.training.label_smoothing
        is_narrow = own_precision(settings, {FLOAT32: False, BFLOAT16: True})
        self._rate = settings.training.learning_rate
        self._state = {name: self._rule.start(value) for name, value in trained.items()}
        rng = numpy.random.RandomState(settings.seed)
        self._layers = {op.name: LAYERS[op.kind](op, self._weights, rng) for op in net.ops[1:]}
        if is_narrow:
            self._layers = {name: Narrowed(layer, settings.precision) for name, layer in self._layers.items()}

    def place(self, x, y):
        """The pictures in the oracle's own precision."""
        return x.astype(self.dtype), y

    def load(self, batches, order, workers):
        """Raises Unsupported: numpy has none."""
        raise Unsupported("feed", "numpy has no loader of its own")

    def step(self, batch):
        """One update; the loss before it."""
        loss, gradients = self.gradients(batch)
        gradients = self._rule.clipped(gradients)
        for name, state in self._state.items():
            self._state[name], updated = self._rule.update(state, self._weights[name], gradients[name], self._rate)
            self._weights[name][:] = updated
        return loss

    def set_rate(self, rate):
        """The rate of the next update."""
        self._rate = rate

    def state(self):
        """Copies, float32."""
        parts, states = self._rule.STATE, self._state.items()
        return {name: {part: state[part].astype(numpy.float32) for part in parts} for name, state in states}

    def gradients(self, batch):
        """(loss, weight name -> gradient), in training mode: running averages change, weights do not. Not clipped."""
        x, y = batch
        loss, gradient = softmax_cross_entropy(self._forward(x, training=True), y, self._smoothing)
        waiting = {self._net.output: gradient}
        gradients = {}
        for op in reversed(self._net.ops[1:]):
            layer = self._layers[op.name]
            for source, part in zip(op.inputs, layer.backward(waiting.pop(op.name))):
                waiting[source] = waiting[source] + part if source in waiting else part
            gradients.update(layer.gradients)
        return loss, gradients

    def loss_value(self, handle):
        """The loss is known at once here."""
        return float(handle)

    def predict(self, batch):
        """Logits (n, classes)."""
        return self.exact_logits(batch[0]).astype(numpy.float32)

    def exact_logits(self, x):
        """Logits (n, classes) of x (n, channels, height, width), in the oracle's own precision, in inference mode."""
        return self._forward(x.astype(self.dtype), training=False)

    def sync(self):
        """numpy returns when it is done."""

    def weights(self):
        """Copies, float32."""
        return {w.name: self._weights[w.name].astype(numpy.float32) for w in self._net.weights}

    @staticmethod
    def describe():
        """The precision inside; numpy does not report its number of threads."""
        return dict(native.describe(), dtype=Adapter.dtype.__name__)

    def _forward(self, x, training):
        values = {self._net.ops[0].name: x}
        for op in self._net.ops[1:]:
            inputs = [values[name] for name in op.inputs]
            values[op.name] = self._layers[op.name].forward(*inputs, training=training)
            for name in self._net.last_uses[op.name]:
                del values[name]
        return values[self._net.output]


def softmax_cross_entropy(logits, y, smoothing=0.0):
    """(mean loss, its gradient by the logits) for labels y (n,), smoothed."""
    shifted = logits - logits.max(1, keepdims=True)
    exponentials = numpy.exp(shifted)
    sums = exponentials.sum(1, keepdims=True)
    wanted = targets(y, logits.shape[1], smoothing)
    loss = numpy.mean(numpy.log(sums[:, 0]) - (wanted * shifted).sum(1))
    return loss, (exponentials / sums - wanted) / len(y)
