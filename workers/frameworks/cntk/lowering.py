"""The ops of workers/ops.py in CNTK's own functions; maps are (channels, height, width) on both sides."""

import math

import cntk
import numpy

from workers.ops import divisor, upsampling
from workers.protocol import Unsupported

# The number of pictures that the running averages start with; with 0, the first batch would replace them.
_SEEN_BEFORE = 1e6


class Graph(object):
    """A Net as one CNTK function, for training and inference.

    pictures: its input. logits: the function. batch_size: pictures in a training batch. Its weights are on `device`,
    which is_on_card or not.
    """

    def __init__(self, net, weights, batch_size, device):
        self.batch_size = batch_size
        self.is_on_card = device.type() == cntk.device.DeviceKind.GPU
        self._net = net
        self._nodes = {weight.name: _node(weight, weights[weight.name], device) for weight in net.weights}
        self.pictures = cntk.input_variable(net.shapes[net.ops[0].name])
        values = {net.ops[0].name: self.pictures}
        for op in net.ops[1:]:
            if op.kind not in _LOWER:
                raise Unsupported(op.kind, f"{op.name}: the cntk adapter does not lower it")
            values[op.name] = _LOWER[op.kind](self, op, *[values[name] for name in op.inputs])
        self.logits = values[net.output]

    def node(self, op, end):
        """The parameter or constant of the weight `end` of an op."""
        return self._nodes[f"{op.name}.{end}"]

    def weights(self):
        """name -> float32 array, copied, in the Net's own layouts."""
        return {name: _copied(node) for name, node in self._nodes.items()}

    def states(self, kept):
        """Weight name -> {name: float32 array, copied}. kept: id of a parameter -> {name: parameter}."""
        nodes = {name: node for name, node in self._nodes.items() if node.uid in kept}
        return {name: {part: _copied(one) for part, one in kept[node.uid].items()} for name, node in nodes.items()}


def _copied(node):
    value = node.value
    return numpy.array(value.T if value.ndim == 2 else value, order="C")


def _node(weight, value, device):
    # Matrices, the dense ones, are (out, in) here and (in, out) there; all else is the same.
    value = numpy.ascontiguousarray(value.T if value.ndim == 2 else value)
    node = cntk.parameter(init=value, device=device) if weight.is_trainable else cntk.constant(value, device=device)
    seen = super(type(node), node).value().device()
    if seen != device:
        raise Unsupported("device", f"{weight.name} is on {seen}")
    return node


def _conv(graph, op, x):
    kernel, stride, sides = op.params["kernel"], op.params["stride"], op.params["padding"]
    dilation, groups = op.params["dilation"], op.params["groups"]
    if dilation != (1, 1) and not graph.is_on_card:
        raise Unsupported("conv", f"{op.name} is dilated; CNTK has that on a card only")
    # CNTK centres its own padding. Up to stride 2 an odd kernel then starts where half a kernel of padding starts it.
    is_odd = kernel[0] == kernel[1] and kernel[0] % 2 == 1 and set(sides) == {kernel[0] // 2}
    is_own = is_odd and max(stride) <= 2 and dilation == (1, 1) and min(x.shape[1:]) >= max(kernel)
    if any(sides) and not is_own:
        x = _padded(x, sides, 0.0)
    pads = is_own and any(sides)
    x = cntk.convolution(
        graph.node(op, "weight"),
        x,
        strides=(1,) + stride,
        auto_padding=[False, pads, pads],
        dilation=(1,) + dilation,
        groups=groups,
    )
    return x + cntk.reshape(graph.node(op, "bias"), (-1, 1, 1)) if op.params["bias"] else x


def _padded(x, sides, value):
    top, bottom, left, right = sides
    return cntk.pad(x, [(0, 0), (top, bottom), (left, right)], constant_value=value)


def _batchnorm(graph, op, x):
    kept = op.params["kept"]
    return cntk.batch_normalization(
        x,
        graph.node(op, "gamma"),
        graph.node(op, "beta"),
        graph.node(op, "mean"),
        graph.node(op, "var"),
        running_count=cntk.constant(_SEEN_BEFORE),
        spatial=True,
        # CNTK keeps exp(-pictures / constant) of its averages.
        normalization_time_constant=-graph.batch_size / math.log(kept) if kept else 0,
        epsilon=op.params["epsilon"],
        use_cudnn_engine=graph.is_on_card,  # as cntk.layers has it by default; the bare op has its own kernels
    )


def _dense(graph, op, x):
    x = cntk.times(x, graph.node(op, "weight"))
    return x + graph.node(op, "bias") if op.params["bias"] else x


def _maxpool(graph, op, x):
    if any(op.params["padding"]):
        x = _padded(x, op.params["padding"], float(numpy.finfo(numpy.float32).min))
    return cntk.pooling(x, cntk.MAX_POOLING, op.params["kernel"], op.params["stride"], auto_padding=[False])


def _avgpool(graph, op, x):
    counts = divisor(op, x.shape)
    if any(op.params["padding"]):
        x = _padded(x, op.params["padding"], 0.0)
    x = cntk.pooling(x, cntk.AVG_POOLING, op.params["kernel"], op.params["stride"], auto_padding=[False])
    rows, columns = op.params["kernel"]
    if isinstance(counts, int):
        return x
    return x * cntk.constant((rows * columns / counts[None]).astype(numpy.float32))


def _gelu(graph, op, x):
    if op.params["is_exact"]:
        raise Unsupported("gelu", f"{op.name}: CNTK has no error function; GELU's form with tanh it has")
    return 0.5 * x * (1 + cntk.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _prelu(graph, op, x):
    return cntk.param_relu(cntk.reshape(graph.node(op, "slope"), (-1, 1, 1)), x)


def _of_each(function):
    """The lowering of an op that is a function of its values alone."""
    return lambda graph, op, *values: function(*values)


def _by_channel(graph, op, end, x):
    return cntk.reshape(graph.node(op, end), (-1,) + (1,) * (len(x.shape) - 1))


def _normal(op, x, axis):
    """x without its mean along an axis, over its standard deviation there."""
    centred = x - cntk.reduce_mean(x, axis)
    return centred / cntk.sqrt(cntk.reduce_mean(centred * centred, axis) + op.params["epsilon"])


def _weighed(graph, op, x):
    return x * _by_channel(graph, op, "gamma", x) + _by_channel(graph, op, "beta", x)


def _layernorm(graph, op, x):
    return _weighed(graph, op, _normal(op, x, 0))


def _groupnorm(graph, op, x):
    by_group = cntk.reshape(x, (op.params["groups"], -1))
    return _weighed(graph, op, cntk.reshape(_normal(op, by_group, 1), x.shape))


def _upsample(graph, op, x):
    """By two matrix products: CNTK has no upsampling of its own."""
    by_row, by_column = (
        cntk.constant(numpy.ascontiguousarray(upsampling(op, axis, x.shape[1 + axis]).T, dtype=numpy.float32))
        for axis in (0, 1)
    )
    turned = cntk.transpose(cntk.times(x, by_column), (0, 2, 1))
    return cntk.transpose(cntk.times(turned, by_row), (0, 2, 1))


def _lrn(graph, op, x):
    size, alpha, beta, bias = (op.params[name] for name in ("size", "alpha", "beta", "bias_term"))
    return cntk.local_response_normalization(x, size // 2, bias, alpha, beta)  # which divides alpha by the size


def _shuffle(graph, op, x):
    channels, height, width = x.shape
    groups = op.params["groups"]
    by_group = cntk.reshape(x, (groups, channels // groups, height, width))
    return cntk.reshape(cntk.transpose(by_group, (1, 0, 2, 3)), x.shape)


_LOWER = {
    "conv": _conv,
    "scale": lambda graph, op, x: x * _by_channel(graph, op, "scale", x),
    "shift": lambda graph, op, x: x + _by_channel(graph, op, "shift", x),
    "layernorm": _layernorm,
    "groupnorm": _groupnorm,
    "slice": lambda graph, op, x: cntk.slice(x, 0, op.params["begin"], op.params["end"]),
    "pad": lambda graph, op, x: _padded(x, op.params["padding"], float(op.params["value"])),
    "upsample": _upsample,
    "lrn": _lrn,
    "shuffle": _shuffle,
    "clip": lambda graph, op, x: cntk.clip(x, float(op.params["low"]), float(op.params["high"])),
    "leakyrelu": lambda graph, op, x: cntk.leaky_relu(x, op.params["slope"]),
    "prelu": _prelu,
    "elu": lambda graph, op, x: cntk.elu(x, op.params["alpha"]),
    "sigmoid": _of_each(cntk.sigmoid),
    "hardsigmoid": lambda graph, op, x: cntk.clip(op.params["slope"] * x + op.params["offset"], 0.0, 1.0),
    "hardswish": _of_each(lambda x: x * cntk.clip(x + 3, 0.0, 6.0) / 6),
    "silu": _of_each(lambda x: x * cntk.sigmoid(x)),
    "tanh": _of_each(cntk.tanh),
    "gelu": _gelu,
    "softplus": _of_each(cntk.softplus),
    "mish": _of_each(lambda x: x * cntk.tanh(cntk.softplus(x))),
    "globalmax": _of_each(lambda x: cntk.reshape(cntk.reduce_max(x, (1, 2)), (-1,))),
    "unflatten": _of_each(lambda x: cntk.reshape(x, x.shape + (1, 1))),
    "multiply": _of_each(cntk.element_times),
    "concat": _of_each(lambda *values: cntk.splice(*values, axis=0)),
    "batchnorm": _batchnorm,
    "relu": _of_each(cntk.relu),
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "globalpool": _of_each(lambda x: cntk.reshape(cntk.reduce_mean(x, (1, 2)), (-1,))),
    "flatten": _of_each(lambda x: cntk.reshape(x, (-1,))),
    "dense": _dense,
    "dropout": lambda graph, op, x: cntk.dropout(x, op.params["rate"]),
    "add": _of_each(cntk.plus),
}
