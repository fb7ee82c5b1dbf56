"""A network as data: named ops in topological order with their shapes, weights and cost; each framework lowers the ops.

A value has the name of the op that makes it, and a shape without the batch axis: a map (channels, height, width), or
a vector (features,) after flatten, globalpool and dense. Kernel, stride and dilation are pairs (rows, columns). Padding
is always four numbers (top, bottom, left, right), never "same". Rows and columns that do not fill a window are left
out. Weights are float32: convolutions (out, in / groups, kh, kw), dense (out, in) with `in` in C,H,W order.

kind        inputs  params
input       0       shape
conv        1       channels, kernel, stride, padding, dilation, groups, bias
batchnorm   1       epsilon, kept (share of the running average kept at each step); maps only
relu        1
maxpool     1       kernel, stride, padding (which no maximum is)
avgpool     1       kernel, stride, padding, counts_padding (whether the zeros of the padding count in the mean)
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

    @classmethod
    def of(cls, data):
        """The op of a JSON object {"name", "kind", "inputs", and its params}. Raises ValueError for another."""
        if not isinstance(data, dict) or not isinstance(data.get("name"), str) or not isinstance(data.get("kind"), str):
            raise ValueError(f"{str(data)[:60]} is no op: an object with name, kind, inputs and the kind's params.")
        inputs = data.get("inputs")
        if not isinstance(inputs, (list, tuple)) or not all(isinstance(name, str) for name in inputs):
            raise ValueError(f"{data['name']}: inputs is {str(inputs)[:60]}; it must be a list of names.")
        params = {name: value for name, value in data.items() if name not in ("name", "kind", "inputs")}
        params = {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}
        return cls(data["name"], data["kind"], tuple(inputs), params)

    @property
    def data(self):
        """The JSON object that `of` reads."""
        return dict(self.params, name=self.name, kind=self.kind, inputs=self.inputs)


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
            shape, own_weights, cost = _KINDS[op.kind].rule(op, [self.shapes[name] for name in op.inputs])
            self.shapes[op.name] = shape
            self.multiply_adds += cost
            weights.extend(own_weights)
        if not self.shapes:
            raise ValueError("a network has ops, the input first; this one has none.")
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
        if op.kind not in _KINDS:
            raise ValueError(f"{op.name} is of kind {op.kind!r}; known: {', '.join(_KINDS)}.")
        if not re.match(r"^[a-z][a-z0-9_]*$", op.name) or op.name in self.shapes:
            raise ValueError(f"{op.name!r} cannot name an op: names are new, lower case, of letters, digits and '_'.")
        if (op.kind == "input") != (not self.shapes):
            raise ValueError(f"{op.name} ({op.kind}): the first op, and no other, is the input.")
        kind = _KINDS[op.kind]
        if len(op.inputs) != kind.inputs:
            raise ValueError(f"{op.name} ({op.kind}) has {len(op.inputs)} inputs; it takes {kind.inputs}.")
        for name in op.inputs:
            if name not in self.shapes:
                raise ValueError(f"{op.name} ({op.kind}) reads {name!r}, which no earlier op makes.")
        if set(op.params) != set(kind.params):
            seen, wanted = (", ".join(sorted(names)) or "none" for names in (op.params, kind.params))
            raise ValueError(f"{op.name} ({op.kind}) has the params {seen}; it takes {wanted}.")
        for name in kind.params:
            is_right, words = _PARAMS[name]
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


def window_counts(op, shape):
    """int64 (rows, columns): how many values of a map each window of a pool holds, without those of its padding.

    op: a maxpool or avgpool. shape: of the map that it reads.
    """
    top, bottom, left, right = op.params["padding"]
    counts = []
    for side, size, before, after in ((0, shape[1], top, bottom), (1, shape[2], left, right)):
        kernel, stride = op.params["kernel"][side], op.params["stride"][side]
        starts = numpy.arange(0, size + before + after - kernel + 1, stride) - before
        counts.append(numpy.minimum(starts + kernel, size) - numpy.maximum(starts, 0))
    return counts[0][:, None] * counts[1][None, :]


def divisor(op, shape):
    """What the sum of each window of an avgpool is divided by: a number, or int64 (rows, columns) where it differs.

    op: the avgpool. shape: of the map that it reads.
    """
    rows, columns = op.params["kernel"]
    if op.params["counts_padding"] or not any(op.params["padding"]):
        return rows * columns
    return window_counts(op, shape)


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _sides(padding):
    return (padding,) * 4 if isinstance(padding, int) else tuple(padding)


def _input(op, _):
    return op.params["shape"], [], 0


def _map(op, shape):
    if len(shape) != 3:
        raise ValueError(f"{op.name} ({op.kind}) reads a vector of {shape[0]}; it takes a map.")
    return shape


def _windows(op, height, width, dilation=(1, 1)):
    """(rows, columns) of windows over a map of that size, padded."""
    top, bottom, left, right = op.params["padding"]
    counts = []
    sides = (height + top + bottom, width + left + right)
    for side, kernel, stride, apart in zip(sides, op.params["kernel"], op.params["stride"], dilation):
        reach = (kernel - 1) * apart + 1
        if side < reach:
            raise ValueError(f"{op.name} ({op.kind}): its kernel of {reach} does not fit a map of {height} x {width}.")
        counts.append((side - reach) // stride + 1)
    return tuple(counts)


def _conv(op, inputs):
    channels, height, width = _map(op, inputs[0])
    out, groups = op.params["channels"], op.params["groups"]
    if channels % groups or out % groups:
        raise ValueError(f"{op.name} (conv): its {groups} groups do not divide {channels} channels into {out}.")
    rows, columns = _windows(op, height, width, op.params["dilation"])
    kernel = (channels // groups,) + op.params["kernel"]
    fan_in = kernel[0] * kernel[1] * kernel[2]
    weights = [Weight(op.name + ".weight", (out,) + kernel, None, fan_in)]
    if op.params["bias"]:
        weights.append(Weight(op.name + ".bias", (out,), 0.0))
    return (out, rows, columns), weights, fan_in * out * rows * columns


def _dense(op, inputs):
    if len(inputs[0]) != 1:
        raise ValueError(f"{op.name} (dense) reads a map of {inputs[0]}; flatten it first.")
    (features,), out = inputs[0], op.params["features"]
    weights = [Weight(op.name + ".weight", (out, features), None, features)]
    if op.params["bias"]:
        weights.append(Weight(op.name + ".bias", (out,), 0.0))
    return (out,), weights, features * out


def _batchnorm(op, inputs):
    shape = _map(op, inputs[0])
    rows = (("gamma", 1.0, True), ("beta", 0.0, True), ("mean", 0.0, False), ("var", 1.0, False))
    return shape, [Weight(f"{op.name}.{end}", shape[:1], first, 0, learns) for end, first, learns in rows], 0


def _pool(op, inputs):
    channels, height, width = _map(op, inputs[0])
    top, bottom, left, right = op.params["padding"]
    rows, columns = op.params["kernel"]
    if max(top, bottom) >= rows or max(left, right) >= columns:
        raise ValueError(
            f"{op.name} ({op.kind}): padding {op.params['padding']} leaves a window of {rows} x {columns} empty."
        )
    return (channels,) + _windows(op, height, width), [], 0


def _same(op, inputs):
    if len(set(inputs)) > 1:
        raise ValueError(f"{op.name} ({op.kind}): its inputs have the shapes {inputs[0]} and {inputs[1]}.")
    return inputs[0], [], 0


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _are(check, length):
    return lambda value: isinstance(value, tuple) and len(value) == length and all(map(check, value))


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_PARAMS = {
    "shape": (_are(_is_count, 3), "(channels, height, width), each at least 1"),
    "channels": (_is_count, "at least 1"),
    "features": (_is_count, "at least 1"),
    "groups": (_is_count, "at least 1"),
    "kernel": (_are(_is_count, 2), "(rows, columns), each at least 1"),
    "stride": (_are(_is_count, 2), "(rows, columns), each at least 1"),
    "dilation": (_are(_is_count, 2), "(rows, columns), each at least 1"),
    "padding": (_are(lambda side: _is_count(side) or side == 0, 4), "(top, bottom, left, right), none negative"),
    "bias": (lambda value: isinstance(value, bool), "true or false"),
    "counts_padding": (lambda value: isinstance(value, bool), "true or false"),
    "epsilon": (lambda value: _is_number(value) and 0 < value < float("inf"), "greater than 0, and finite"),
    "kept": (lambda value: _is_number(value) and 0 <= value < 1, "at least 0 and less than 1"),
    "rate": (lambda value: _is_number(value) and 0 <= value < 1, "at least 0 and less than 1"),
}
"""name -> whether a value is right, and what it must be."""


class _Kind(NamedTuple):
    """inputs: how many values it reads. rule: (op, their shapes) -> (its shape, its weights, its multiply-adds)."""

    inputs: int
    params: tuple
    rule: object


_WINDOW = ("kernel", "stride", "padding")

_KINDS = {
    "input": _Kind(0, ("shape",), _input),
    "conv": _Kind(1, ("channels",) + _WINDOW + ("dilation", "groups", "bias"), _conv),
    "batchnorm": _Kind(1, ("epsilon", "kept"), _batchnorm),
    "relu": _Kind(1, (), _same),
    "maxpool": _Kind(1, _WINDOW, _pool),
    "avgpool": _Kind(1, _WINDOW + ("counts_padding",), _pool),
    "globalpool": _Kind(1, (), lambda op, inputs: (_map(op, inputs[0])[:1], [], 0)),
    "flatten": _Kind(1, (), lambda op, inputs: ((int(numpy.prod(_map(op, inputs[0]))),), [], 0)),
    "dense": _Kind(1, ("features", "bias"), _dense),
    "dropout": _Kind(1, ("rate",), lambda op, inputs: (inputs[0], [], 0)),
    "add": _Kind(2, (), _same),
}
