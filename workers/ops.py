"""The kinds of ops that a network is written in: what each reads and makes, its weights, its cost.

A value has the name of the op that makes it, and a shape without the batch axis: a map (channels, height, width), or
a vector (features,) after flatten, globalpool and dense. Kernel, stride and dilation are pairs (rows, columns). Padding
is always four numbers (top, bottom, left, right), never "same". Rows and columns that do not fill a window are left
out. Weights are float32: convolutions (out, in / groups, kh, kw), dense (out, in) with `in` in C,H,W order.

kind        inputs  params
input       0       shape
conv        1       channels, kernel, stride, padding, dilation, groups, bias
batchnorm   1       epsilon, kept (share of the running average kept at each step); maps only
relu        1       max(x, 0)
clip        1       low, high (ReLU6 is clip to 0 and 6)
leakyrelu   1       slope (of what is below 0)
prelu       1       a slope for each channel of a map, as a weight
elu         1       alpha: alpha * (exp(x) - 1) below 0
sigmoid     1       1 / (1 + exp(-x))
hardsigmoid 1       slope, offset: slope * x + offset, cut to 0 and 1
hardswish   1       x * (x / 6 + 1/2 cut to 0 and 1)
silu        1       x * sigmoid(x)
tanh        1
gelu        1       is_exact: x * (1 + erf(x / sqrt(2))) / 2, or its form with tanh
softplus    1       log(1 + exp(x))
mish        1       x * tanh(softplus(x))
maxpool     1       kernel, stride, padding (which no maximum is)
avgpool     1       kernel, stride, padding, counts_padding (whether the zeros of the padding count in the mean)
globalpool  1       mean over height and width
globalmax   1       largest over height and width
flatten     1
unflatten   1       a vector as a map of 1 x 1
dense       1       features, bias
dropout     1       rate (share set to zero in training; the rest is scaled by 1 / (1 - rate))
scale       1       a factor for each channel or feature, as a weight
shift       1       a summand for each channel or feature, as a weight
layernorm   1       epsilon: over the channels of each pixel, or the features of a vector; gamma and beta as weights
groupnorm   1       groups, epsilon: over the channels of each group and the pixels; gamma and beta of each channel as
                    weights. With as many groups as channels, instance normalisation; maps only
lrn         1       size (odd), alpha, beta, bias_term: x / (bias_term + alpha * mean of the squares) ** beta, of
                    `size` channels around, of which those beyond the map are 0
shuffle     1       groups: channels in groups, of which the first ones come first, then the second ones, ...
slice       1       begin, end: the channels, or features, begin to end - 1
pad         1       padding, value: of a map, with this value around it
upsample    1       factor (rows, columns), is_bilinear: each pixel as often, or values between the centres of pixels;
                    beyond the outermost centres, the outermost value
add         2       of one shape, or one of them a map of 1 x 1, which counts for every pixel of the other
multiply    2       likewise
concat      2 to 64 maps of one height and width, one after the other by channel; or vectors
"""

from typing import Callable, NamedTuple

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


def size_of(shape):
    """How many values an array of this shape has; of any size, where numpy's product wraps around."""
    size = 1
    for side in shape:
        size *= side
    return size


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


def upsampling(op, axis, size):
    """float64 (size * factor, size): the share of each pixel of a row in those that an upsample makes of it.

    op: the upsample. axis: 0 of rows, 1 of columns. size: how many there are.
    Centres of pixels lie at (number + 1/2) / factor - 1/2, as in OpenCV, TensorFlow 2 and PyTorch (align_corners off).
    """
    factor = op.params["factor"][axis]
    numbers = numpy.arange(size * factor)
    shares = numpy.zeros((size * factor, size))
    if not op.params["is_bilinear"]:
        shares[numbers, numbers // factor] = 1
        return shares
    places = numpy.clip((numbers + 0.5) / factor - 0.5, 0, size - 1)
    below = numpy.minimum(places.astype(int), max(size - 2, 0))
    shares[numbers, below] = 1 - (places - below)
    shares[numbers, numpy.minimum(below + 1, size - 1)] += places - below
    return shares


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
    return inputs[0], [], 0


def _joined(op, inputs):
    """Of one shape, or one a map of 1 x 1 with as many channels as the other."""
    left, right = inputs
    if left == right or (len(left) == len(right) == 3 and left[0] == right[0] and (1, 1) in (left[1:], right[1:])):
        return (max(left, right) if len(left) == 3 else left), [], 0
    raise ValueError(
        f"{op.name} ({op.kind}): its inputs have the shapes {left} and {right}, neither equal nor one of 1 x 1."
    )


def _concat(op, inputs):
    if len({(len(shape),) + tuple(shape[1:]) for shape in inputs}) > 1:
        shapes = " and ".join(str(shape) for shape in dict.fromkeys(inputs))
        raise ValueError(f"{op.name} (concat): its inputs have the shapes {shapes}; only their channels may differ.")
    return (sum(shape[0] for shape in inputs),) + tuple(inputs[0][1:]), [], 0


def _prelu(op, inputs):
    shape = _map(op, inputs[0])
    return shape, [Weight(op.name + ".slope", shape[:1], 0.25)], 0


def _own(*ends):
    """The rule of an op with a weight for each channel or feature. ends: (end of its name, first value)."""

    def rule(op, inputs):
        (shape,) = inputs
        return shape, [Weight(f"{op.name}.{end}", shape[:1], first) for end, first in ends], 0

    return rule


_normalised = _own(("gamma", 1.0), ("beta", 0.0))


def _lrn(op, inputs):
    if op.params["size"] % 2 == 0:
        raise ValueError(f"{op.name} (lrn): its size is {op.params['size']}; only an odd one is the same everywhere.")
    return _map(op, inputs[0]), [], 0


def _shuffle(op, inputs):
    return _grouped(op, inputs[0]), [], 0


def _grouped(op, shape):
    """A map whose channels the op's groups divide."""
    if _map(op, shape)[0] % op.params["groups"]:
        raise ValueError(f"{op.name} ({op.kind}): its {op.params['groups']} groups do not divide {shape[0]} channels.")
    return shape


def _groupnorm(op, inputs):
    return _normalised(op, [_grouped(op, inputs[0])])


def _slice(op, inputs):
    (shape,), begin, end = inputs, op.params["begin"], op.params["end"]
    if not begin < end <= shape[0]:
        raise ValueError(f"{op.name} (slice): {begin} to {end} is no part of {shape[0]} channels or features.")
    return (end - begin,) + tuple(shape[1:]), [], 0


def _pad(op, inputs):
    channels, height, width = _map(op, inputs[0])
    top, bottom, left, right = op.params["padding"]
    return (channels, height + top + bottom, width + left + right), [], 0


def _upsample(op, inputs):
    channels, height, width = _map(op, inputs[0])
    rows, columns = op.params["factor"]
    return (channels, height * rows, width * columns), [], 0


def _vector(op, shape):
    if len(shape) != 1:
        raise ValueError(f"{op.name} ({op.kind}) reads a map of {shape}; it takes a vector.")
    return shape


def _clip(op, inputs):
    if op.params["low"] >= op.params["high"]:
        raise ValueError(f"{op.name} (clip): low is {op.params['low']}, which is not below high, {op.params['high']}.")
    return inputs[0], [], 0


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _are(check, length):
    return lambda value: isinstance(value, tuple) and len(value) == length and all(map(check, value))


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value):
    return _is_number(value) and float("-inf") < value < float("inf")


PARAMS = {
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
    "epsilon": (lambda value: _is_finite(value) and value > 0, "greater than 0, and finite"),
    "begin": (lambda value: _is_count(value) or value == 0, "0 or more"),
    "end": (_is_count, "at least 1"),
    "factor": (_are(_is_count, 2), "(rows, columns), each at least 1"),
    "is_bilinear": (lambda value: isinstance(value, bool), "true or false"),
    "value": (_is_finite, "a finite number"),
    "low": (_is_finite, "a finite number"),
    "high": (_is_finite, "a finite number"),
    "slope": (_is_finite, "a finite number"),
    "offset": (_is_finite, "a finite number"),
    "size": (_is_count, "at least 1"),
    "beta": (lambda value: _is_finite(value) and value > 0, "greater than 0, and finite"),
    "bias_term": (lambda value: _is_finite(value) and value > 0, "greater than 0, and finite"),
    "alpha": (lambda value: _is_finite(value) and value > 0, "greater than 0, and finite"),
    "is_exact": (lambda value: isinstance(value, bool), "true or false"),
    "kept": (lambda value: _is_number(value) and 0 <= value < 1, "at least 0 and less than 1"),
    "rate": (lambda value: _is_number(value) and 0 <= value < 1, "at least 0 and less than 1"),
}
"""name -> whether a value is right, and what it must be."""


class Kind(NamedTuple):
    """A kind of op.

    inputs: how many values it reads, at least and at most. params: their names.
    rule:   (op, the shapes that it reads) -> (its shape, its weights, its multiply-adds); raises ValueError.
    """

    inputs: tuple
    params: tuple
    rule: Callable


_ONE, _TWO = (1, 1), (2, 2)
PRODUCTS = ("conv", "dense")
"""Ops that multiply their input by their weights and add: the costly ones, and those that mixed precision narrows."""

MOST_JOINED = 64
_WINDOW = ("kernel", "stride", "padding")

KINDS = {
    "input": Kind((0, 0), ("shape",), _input),
    "conv": Kind(_ONE, ("channels",) + _WINDOW + ("dilation", "groups", "bias"), _conv),
    "batchnorm": Kind(_ONE, ("epsilon", "kept"), _batchnorm),
    "relu": Kind(_ONE, (), _same),
    "clip": Kind(_ONE, ("low", "high"), _clip),
    "leakyrelu": Kind(_ONE, ("slope",), _same),
    "prelu": Kind(_ONE, (), _prelu),
    "elu": Kind(_ONE, ("alpha",), _same),
    "sigmoid": Kind(_ONE, (), _same),
    "hardsigmoid": Kind(_ONE, ("slope", "offset"), _same),
    "hardswish": Kind(_ONE, (), _same),
    "silu": Kind(_ONE, (), _same),
    "tanh": Kind(_ONE, (), _same),
    "gelu": Kind(_ONE, ("is_exact",), _same),
    "softplus": Kind(_ONE, (), _same),
    "mish": Kind(_ONE, (), _same),
    "maxpool": Kind(_ONE, _WINDOW, _pool),
    "avgpool": Kind(_ONE, _WINDOW + ("counts_padding",), _pool),
    "globalpool": Kind(_ONE, (), lambda op, inputs: (_map(op, inputs[0])[:1], [], 0)),
    "globalmax": Kind(_ONE, (), lambda op, inputs: (_map(op, inputs[0])[:1], [], 0)),
    "flatten": Kind(_ONE, (), lambda op, inputs: ((size_of(_map(op, inputs[0])),), [], 0)),
    "unflatten": Kind(_ONE, (), lambda op, inputs: (_vector(op, inputs[0]) + (1, 1), [], 0)),
    "dense": Kind(_ONE, ("features", "bias"), _dense),
    "dropout": Kind(_ONE, ("rate",), _same),
    "scale": Kind(_ONE, (), _own(("scale", 1.0))),
    "shift": Kind(_ONE, (), _own(("shift", 0.0))),
    "layernorm": Kind(_ONE, ("epsilon",), _normalised),
    "groupnorm": Kind(_ONE, ("groups", "epsilon"), _groupnorm),
    "lrn": Kind(_ONE, ("size", "alpha", "beta", "bias_term"), _lrn),
    "shuffle": Kind(_ONE, ("groups",), _shuffle),
    "slice": Kind(_ONE, ("begin", "end"), _slice),
    "pad": Kind(_ONE, ("padding", "value"), _pad),
    "upsample": Kind(_ONE, ("factor", "is_bilinear"), _upsample),
    "add": Kind(_TWO, (), _joined),
    "multiply": Kind(_TWO, (), _joined),
    "concat": Kind((2, MOST_JOINED), (), _concat),
}
