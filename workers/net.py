"""A network as data: named ops in topological order with their shapes, weights and cost; each framework lowers the ops.

A value has the name of the op that makes it, and a shape without the batch axis: a map (channels, height, width), or
a vector (features,) after flatten, globalpool and dense. Padding is always four numbers (top, bottom, left, right),
never "same". Weights are float32: convolutions (out, in, kh, kw), dense (out, in) with `in` in C,H,W order.

kind        inputs  params
input       0       shape
conv        1       channels, kernel, stride, padding, bias
batchnorm   1       epsilon, kept (share of the running average kept at each step); maps only
relu        1
maxpool     1       kernel, stride; no padding, and rows or columns that do not fill a window are left out
avgpool     1       kernel, stride; likewise
globalpool  1       mean over height and width
flatten     1
dense       1       features, bias
dropout     1       rate (share set to zero in training; the rest is scaled by 1 / (1 - rate))
add         2       both of one shape
"""

import re
from typing import NamedTuple

import numpy


class Op(NamedTuple):
    """One step of a network: its own name, its kind, the names of its inputs, and its params (see the table above)."""

    name: str
    kind: str
    inputs: tuple
    params: dict


class Weight(NamedTuple):
    """One array of a network.

    start:        first value of every element, or None if drawn (He) with `fan_in` inputs summed into one output.
    is_trainable: False for the running averages of batch normalisation.
    """

    name: str
    shape: tuple
    start: "float | None"
    fan_in: int = 0
    is_trainable: bool = True


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
            shape, own_weights, cost = _RULES[op.kind](op, [self.shapes[name] for name in op.inputs])
            self.shapes[op.name] = shape
            self.multiply_adds += cost
            weights.extend(own_weights)
        self.weights = tuple(weights)
        last_reader = {name: op.name for op in self.ops for name in op.inputs}
        self.last_uses = {
            op.name: tuple(v for v in dict.fromkeys(op.inputs) if last_reader[v] == op.name) for op in ops
        }

    def _check(self, op):
        if op.kind not in _RULES:
            raise ValueError(f"{op.name} is of kind {op.kind!r}; known: {', '.join(_RULES)}.")
        if not re.match(r"^[a-z][a-z0-9_]*$", op.name) or op.name in self.shapes:
            raise ValueError(f"{op.name!r} cannot name an op: names are new, lower case, of letters, digits and '_'.")
        if (op.kind == "input") != (not self.shapes):
            raise ValueError(f"{op.name} ({op.kind}): the first op, and no other, is the input.")
        wanted = {"input": 0, "add": 2}.get(op.kind, 1)
        if len(op.inputs) != wanted:
            raise ValueError(f"{op.name} ({op.kind}) has {len(op.inputs)} inputs; it takes {wanted}.")
        for name in op.inputs:
            if name not in self.shapes:
                raise ValueError(f"{op.name} ({op.kind}) reads {name!r}, which no earlier op makes.")

    @property
    def output(self):
        """Name of the value that holds the logits."""
        return self.ops[-1].name

    @property
    def weight_count(self):
        """Number of trainable weights."""
        return sum(int(numpy.prod(weight.shape)) for weight in self.weights if weight.is_trainable)

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
            with numpy.load(path) as arrays:
                weights = {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as weights: {error}.") from error
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

    def conv(self, source, channels, kernel, stride=1, padding=0, bias=True):
        """padding: one number for all sides, or (top, bottom, left, right)."""
        sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        return self._add("conv", source, channels=channels, kernel=kernel, stride=stride, padding=sides, bias=bias)

    def batchnorm(self, source, epsilon=1e-5, kept=0.9):
        """Batch normalisation of a map, per channel."""
        return self._add("batchnorm", source, epsilon=epsilon, kept=kept)

    def relu(self, source):
        """max(x, 0)."""
        return self._add("relu", source)

    def maxpool(self, source, kernel=2, stride=2):
        """Largest of each window."""
        return self._add("maxpool", source, kernel=kernel, stride=stride)

    def avgpool(self, source, kernel=2, stride=2):
        """Mean of each window."""
        return self._add("avgpool", source, kernel=kernel, stride=stride)

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

    def net(self):
        """The network so far, checked; its last op gives the logits."""
        return Net(self._ops)


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


def _input(op, _):
    shape = op.params["shape"]
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"{op.name}: a picture has the shape (channels, height, width); this is {shape}.")
    return tuple(shape), [], 0


def _map(op, shape):
    if len(shape) != 3:
        raise ValueError(f"{op.name} ({op.kind}) reads a vector of {shape[0]}; it takes a map.")
    return shape


def _windows(op, height, width):
    kernel, stride = op.params["kernel"], op.params["stride"]
    if kernel < 1 or stride < 1:
        raise ValueError(f"{op.name} ({op.kind}): kernel {kernel} and stride {stride} must be at least 1.")
    if min(height, width) < kernel:
        raise ValueError(f"{op.name} ({op.kind}): its kernel of {kernel} does not fit a map of {height} x {width}.")
    return (height - kernel) // stride + 1, (width - kernel) // stride + 1


def _conv(op, inputs):
    channels, height, width = _map(op, inputs[0])
    top, bottom, left, right = op.params["padding"]
    kernel, out = op.params["kernel"], op.params["channels"]
    if min(top, bottom, left, right) < 0 or out < 1:
        raise ValueError(f"{op.name} (conv): padding {op.params['padding']} or channels {out} is negative or zero.")
    rows, columns = _windows(op, height + top + bottom, width + left + right)
    fan_in = channels * kernel * kernel
    weights = [Weight(op.name + ".weight", (out, channels, kernel, kernel), None, fan_in)]
    if op.params["bias"]:
        weights.append(Weight(op.name + ".bias", (out,), 0.0))
    return (out, rows, columns), weights, fan_in * out * rows * columns


def _dense(op, inputs):
    if len(inputs[0]) != 1:
        raise ValueError(f"{op.name} (dense) reads a map of {inputs[0]}; flatten it first.")
    (features,), out = inputs[0], op.params["features"]
    if out < 1:
        raise ValueError(f"{op.name} (dense): features is {out}; it must be at least 1.")
    weights = [Weight(op.name + ".weight", (out, features), None, features)]
    if op.params["bias"]:
        weights.append(Weight(op.name + ".bias", (out,), 0.0))
    return (out,), weights, features * out


def _batchnorm(op, inputs):
    shape = _map(op, inputs[0])
    if not 0 <= op.params["kept"] < 1 or not op.params["epsilon"] > 0:
        raise ValueError(f"{op.name} (batchnorm): kept must be in [0, 1) and epsilon positive; seen {op.params}.")
    rows = (("gamma", 1.0, True), ("beta", 0.0, True), ("mean", 0.0, False), ("var", 1.0, False))
    return shape, [Weight(f"{op.name}.{end}", shape[:1], first, 0, learns) for end, first, learns in rows], 0


def _pool(op, inputs):
    channels, height, width = _map(op, inputs[0])
    return (channels,) + _windows(op, height, width), [], 0


def _dropout(op, inputs):
    if not 0 <= op.params["rate"] < 1:
        raise ValueError(f"{op.name} (dropout): rate is {op.params['rate']}; it must be in [0, 1).")
    return inputs[0], [], 0


def _same(op, inputs):
    if len(set(inputs)) > 1:
        raise ValueError(f"{op.name} ({op.kind}): its inputs have the shapes {inputs[0]} and {inputs[1]}.")
    return inputs[0], [], 0


_RULES = {
    "input": _input,
    "conv": _conv,
    "batchnorm": _batchnorm,
    "relu": _same,
    "maxpool": _pool,
    "avgpool": _pool,
    "globalpool": lambda op, inputs: (_map(op, inputs[0])[:1], [], 0),
    "flatten": lambda op, inputs: ((int(numpy.prod(_map(op, inputs[0]))),), [], 0),
    "dense": _dense,
    "dropout": _dropout,
    "add": _same,
}
