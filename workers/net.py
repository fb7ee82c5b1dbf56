"""A network as data: named ops (workers/ops.py) in topological order, with shapes, weights and cost."""

import hashlib
import re

import numpy

from workers import arrays
from workers.ops import KINDS, PARAMS, Op, size_of


class Net(object):
    """A checked network.

    ops:           tuple of Op, the input first, the output last.
    shapes:        value name -> shape without the batch axis.
    weights:       tuple of Weight, in op order.
    multiply_adds: of convolutions and dense layers, for one picture, forward.
    last_uses:     op name -> values that no later op reads, so that they can be released after it.
    Raises ValueError, naming the op, for a list of ops that is not a network.
    """

    def __init__(self, ops):
        self.ops = tuple(ops)
        self.shapes = {}
        self.multiply_adds = 0
        weights = []
        for op in self.ops:
            self._check(op)
            shape, own_weights, cost = KINDS[op.kind].rule(op, [self.shapes[name] for name in op.inputs])
            self.shapes[op.name] = shape
            self.multiply_adds += cost
            weights.extend(own_weights)
        if not self.shapes:
            raise ValueError("a network has ops, the input first; this one has none.")
        unread = set(self.shapes) - {name for op in self.ops for name in op.inputs} - {self.output}
        if unread:
            raise ValueError(f"{min(unread)}: no later op reads it, and it is not the last; leave it out.")
        self.weights = tuple(weights)
        last_reader = {name: op.name for op in self.ops for name in op.inputs}
        self.last_uses = {
            op.name: tuple(v for v in dict.fromkeys(op.inputs) if last_reader[v] == op.name) for op in self.ops
        }

    @classmethod
    def of(cls, ops):
        """The network of a list of JSON objects, one for each op. Raises ValueError, naming the op."""
        return cls([Op.of(op) for op in ops])

    def _check(self, op):
        if op.kind not in KINDS:
            raise ValueError(f"{op.name} is of kind {op.kind!r}; known: {', '.join(KINDS)}.")
        if not re.match(r"[a-z][a-z0-9_]*\Z", op.name) or op.name in self.shapes:
            raise ValueError(f"{op.name!r} cannot name an op: names are new, lower case, of letters, digits and '_'.")
        if (op.kind == "input") != (not self.shapes):
            raise ValueError(f"{op.name} ({op.kind}): the first op, and no other, is the input.")
        kind = KINDS[op.kind]
        least, most = kind.inputs
        if not least <= len(op.inputs) <= most:
            wanted = least if least == most else f"{least} to {most}"
            raise ValueError(f"{op.name} ({op.kind}) has {len(op.inputs)} inputs; it takes {wanted}.")
        for name in op.inputs:
            if name not in self.shapes:
                raise ValueError(f"{op.name} ({op.kind}) reads {name!r}, which no earlier op makes.")
        if set(op.params) != set(kind.params):
            seen, wanted = (", ".join(sorted(names)) or "none" for names in (op.params, kind.params))
            raise ValueError(f"{op.name} ({op.kind}) has the params {seen}; it takes {wanted}.")
        for name in kind.params:
            is_right, words = PARAMS[name]
            if not is_right(op.params[name]):
                raise ValueError(f"{op.name} ({op.kind}): {name} is {op.params[name]}; it must be {words}.")

    @property
    def input(self):
        """The shape of a picture: (channels, height, width)."""
        return self.shapes[self.ops[0].name]

    @property
    def classes(self):
        """How many logits there are. Raises ValueError if the last op makes no vector."""
        if len(self.shapes[self.output]) != 1:
            raise ValueError(f"{self.output} makes a map {self.shapes[self.output]}; the last op makes the logits.")
        return self.shapes[self.output][0]

    @property
    def output(self):
        """Name of the value that holds the logits."""
        return self.ops[-1].name

    @property
    def weight_count(self):
        """Number of trainable weights."""
        return sum(size_of(weight.shape) for weight in self.weights if weight.is_trainable)

    def start(self, seed, initialiser="he_normal"):
        """First weights: name -> float32 array, in op order; the same for every framework and numpy version.

        seed: 0 <= seed < 2**32; numpy's RandomState, whose stream is frozen, draws the weights in op order.
        initialiser: a name of INITIALISERS. Raises ValueError for another.
        """
        if initialiser not in INITIALISERS:
            raise ValueError(f"there is no initialiser {initialiser!r}; known: {', '.join(INITIALISERS)}.")
        draw, rng = INITIALISERS[initialiser], numpy.random.RandomState(seed)
        return {weight.name: _first(weight, draw, rng) for weight in self.weights}

    def read(self, path):
        """Weights from an .npz file that a trial of any framework left: name -> float32 array.

        Raises ValueError, naming file and array, if it does not hold exactly this network's weights.
        """
        try:
            weights = arrays.read(path)
        except ValueError as error:
            raise ValueError(f"{path} holds no weights: {error}.") from error
        wanted = {weight.name: weight.shape for weight in self.weights}
        for name in sorted(set(wanted) ^ set(weights)):
            raise ValueError(f"{path} {'lacks' if name in wanted else 'has'} {name}, unlike this network's weights.")
        for name, shape in wanted.items():
            if weights[name].shape != shape:
                raise ValueError(f"{path}: {name} is of shape {weights[name].shape}; this network's is {shape}.")
        return {name: weights[name].astype(numpy.float32) for name in wanted}

    def changed(self, name, **params):
        """This network with other params for the op `name`."""
        return Net([op._replace(params=dict(op.params, **params)) if op.name == name else op for op in self.ops])

    @property
    def data(self):
        """The list that `of` reads."""
        return [op.data for op in self.ops]


class NetBuilder(object):
    """Writes a network op by op; each method gives the name of the value it adds: conv1, conv2, ..."""

    def __init__(self, shape):
        self._ops = [Op("input", "input", (), {"shape": tuple(shape)})]
        self._counts = {}
        self.input = "input"

    def _add(self, kind, *inputs, **params):
        self._counts[kind] = self._counts.get(kind, 0) + 1
        name = f"{kind}{self._counts[kind]}"
        self._ops.append(Op(name, kind, inputs, params))
        return name

    def conv(self, source, channels, kernel, stride=1, padding=0, bias=True, dilation=1, groups=1):
        """kernel, stride, dilation: one number or a pair; padding: one number, or (top, bottom, left, right)."""
        window = {"kernel": _pair(kernel), "stride": _pair(stride), "padding": _sides(padding)}
        own = {"channels": channels, "dilation": _pair(dilation), "groups": groups, "bias": bias}
        return self._add("conv", source, **window, **own)

    def batchnorm(self, source, epsilon=1e-5, kept=0.9):
        """Batch normalisation of a map, per channel."""
        return self._add("batchnorm", source, epsilon=epsilon, kept=kept)

    def relu(self, source):
        """max(x, 0)."""
        return self._add("relu", source)

    def maxpool(self, source, kernel=2, stride=2, padding=0):
        """Largest of each window."""
        return self._add("maxpool", source, kernel=_pair(kernel), stride=_pair(stride), padding=_sides(padding))

    def avgpool(self, source, kernel=2, stride=2, padding=0, counts_padding=False):
        """Mean of each window."""
        window = {"kernel": _pair(kernel), "stride": _pair(stride), "padding": _sides(padding)}
        return self._add("avgpool", source, counts_padding=counts_padding, **window)

    def globalpool(self, source):
        """Mean of each channel: a map becomes a vector."""
        return self._add("globalpool", source)

    def flatten(self, source):
        """A map becomes a vector in C,H,W order."""
        return self._add("flatten", source)

    def dense(self, source, features, bias=True):
        """A fully connected layer on a vector."""
        return self._add("dense", source, features=features, bias=bias)

    def dropout(self, source, rate):
        """Zeroes a share of the values, in training only."""
        return self._add("dropout", source, rate=rate)

    def add(self, left, right):
        """Sum of two values of one shape."""
        return self._add("add", left, right)

    def op(self, kind, *sources, **params):
        """An op of any other kind of workers/ops.py."""
        return self._add(kind, *sources, **params)

    def net(self):
        """The network so far, checked; its last op gives the logits."""
        return Net(self._ops)


def weights_sha256(weights):
    """Hash of weights (name -> float32 array) in their order: of each the name, a zero byte, and the elements."""
    total = hashlib.sha256()
    for name, value in weights.items():
        total.update(name.encode() + b"\0")
        total.update(value.astype("<f4").tobytes())
    return total.hexdigest()


def he_normal(shape, fan_in, rng):
    """Draw float32 weights with standard deviation sqrt(2 / fan_in).

    shape:  (out, in, kh, kw) for a convolution, (out, in) for a dense layer.
    fan_in: inputs summed into one output unit; at least 1.
    rng:    numpy RandomState (its stream is frozen, so old runs can be repeated).
    Source: He et al. 2015, arXiv:1502.01852, eq. 10.
    """
    return (rng.standard_normal(shape) * numpy.sqrt(2.0 / fan_in)).astype(numpy.float32)


INITIALISERS = {"he_normal": he_normal}
"""name -> draw(shape, fan_in, rng), float32."""


def _first(weight, draw, rng):
    if weight.start is None:
        return draw(weight.shape, weight.fan_in, rng)
    return numpy.full(weight.shape, weight.start, numpy.float32)


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _sides(padding):
    return (padding,) * 4 if isinstance(padding, int) else tuple(padding)
