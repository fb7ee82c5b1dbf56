"""The ops of workers/ops.py in TensorFlow's own, with maps as (n, height, width, channels)."""

import numpy
import tensorflow as tf

from workers.ops import PRODUCTS, divisor
from workers.protocol import Unsupported

# In mixed precision: ops that compute in the narrow format, as Keras' policies have it. All others get float32 values,
# and their result is narrowed; weights other than those of a product stay float32.
_NARROW = PRODUCTS + ("batchnorm", "relu", "clip", "maxpool", "globalpool", "globalmax", "flatten", "add", "concat")


class Graph(object):
    """A Net as variables and a function of pictures.

    dtype: of the values between ops; tf.float32, or less.
    has_dilation: whether there is a gradient of a dilated convolution here; without it the kernel is spread with zeros.
    turns: whether flatten turns a map into C,H,W order.
    variables: all of them, in the order of net.weights. trainable: those that have a gradient.
    """

    def __init__(self, net, weights, has_dilation, dtype):
        self._net, self._dtype = net, dtype
        self.has_dilation = has_dilation
        self._layouts, self.turns = _layouts(net)
        self._variables = {}
        for op in net.ops[1:]:
            if op.kind not in _LOWER:
                raise Unsupported(op.kind, f"{op.name}: the tensorflow adapter does not lower it")
        for weight in net.weights:
            value = self._layouts[weight.name].to_tensorflow(weights[weight.name])
            self._variables[weight.name] = tf.Variable(value, trainable=weight.is_trainable, dtype=tf.float32)
        self.variables = list(self._variables.values())
        self.trainable = [self._variables[w.name] for w in net.weights if w.is_trainable]

    def variable(self, op, end):
        """The variable of the weight `end` of an op; of a product in the number format of its values."""
        variable = self._variables[f"{op.name}.{end}"]
        return tf.cast(variable, self._dtype) if op.kind in PRODUCTS else variable

    def logits(self, x, training):
        """Logits (n, classes); in training the running averages are updated."""
        values = {self._net.ops[0].name: tf.cast(x, self._dtype)}
        for op in self._net.ops[1:]:
            own = self._dtype if op.kind in _NARROW else tf.float32
            inputs = [tf.cast(values[name], own) for name in op.inputs]
            shape = self._net.shapes[op.inputs[0]]
            values[op.name] = tf.cast(_LOWER[op.kind](self, op, shape, training, *inputs), self._dtype)
        return tf.cast(values[self._net.output], tf.float32)

    def states(self, kept):
        """Weight name -> {name: float32 array}, of what is kept of each trained weight: [{name: variable}]."""
        trained = [weight.name for weight in self._net.weights if weight.is_trainable]
        return {
            name: {part: self._layouts[name].from_tensorflow(v.numpy()) for part, v in of_weight.items()}
            for name, of_weight in zip(trained, kept)
        }

    def weights(self):
        """name -> float32 array in the Net's own layouts."""
        return {name: self._layouts[name].from_tensorflow(v.numpy()) for name, v in self._variables.items()}


class _Plain(object):
    """Vectors have the same layout in both."""

    def to_tensorflow(self, value):
        return value

    from_tensorflow = to_tensorflow


class _Kernel(object):
    """OIHW here, HWIO there."""

    def to_tensorflow(self, value):
        return value.transpose(2, 3, 1, 0)

    def from_tensorflow(self, value):
        return numpy.ascontiguousarray(value.transpose(3, 2, 0, 1))


class _Matrix(object):
    """(out, in) here, (in, out) there; where `in` is a flattened map, its order is C,H,W here and H,W,C there.

    The rows are reordered when weights are set or read, so that no step needs a transpose.
    """

    def __init__(self, map_shape=None):
        self._map_shape = map_shape

    def to_tensorflow(self, value):
        if self._map_shape:
            value = value.reshape((-1,) + self._map_shape).transpose(0, 2, 3, 1).reshape(value.shape)
        return value.T

    def from_tensorflow(self, value):
        value = value.T
        if self._map_shape:
            channels, height, width = self._map_shape
            value = value.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).reshape(value.shape)
        return numpy.ascontiguousarray(value)


# What a vector must be in C,H,W order for: their weights and the map that they make have that order.
_OF_ONE_ORDER = ("concat", "slice", "unflatten", "scale", "shift", "layernorm")


def _layouts(net):
    """(weight name -> how its layout differs, whether flatten turns a map into C,H,W order).

    It does where something other than a dense layer would see the order: each step then has a transpose.
    """
    layouts = {weight.name: _Plain() for weight in net.weights}
    flattened, turns = {}, False
    for op in net.ops[1:]:
        maps = {flattened[name] for name in op.inputs if name in flattened}
        if op.kind == "conv":
            layouts[op.name + ".weight"] = _Kernel()
        elif op.kind == "dense":
            layouts[op.name + ".weight"] = _Matrix(maps.pop() if maps else None)
        elif op.kind == "flatten":
            flattened[op.name] = net.shapes[op.inputs[0]]
        elif maps:
            is_one = len(maps) == 1 and all(name in flattened for name in op.inputs)
            turns = turns or not is_one or op.kind in _OF_ONE_ORDER
            flattened[op.name] = maps.pop()
    if not turns and net.output not in flattened:
        return layouts, False
    return {name: _Matrix() if isinstance(layout, _Matrix) else layout for name, layout in layouts.items()}, True


def _conv(graph, op, shape, training, x):
    sides, dilation = op.params["padding"], op.params["dilation"]
    padding = "VALID"
    if sides == _same_padding(shape, op.params["kernel"], op.params["stride"], dilation):
        padding = "SAME" if any(sides) else "VALID"
    elif any(sides):
        # SAME puts the odd row of a stride-2 convolution at the bottom; the numbers asked for must be the numbers used.
        x = _padded(x, sides, 0.0)
    x = _convolved(graph, x, graph.variable(op, "weight"), op.params, padding)
    return tf.nn.bias_add(x, graph.variable(op, "bias")) if op.params["bias"] else x


def _convolved(graph, x, kernel, params, padding):
    """The convolution, in groups where it has them.

    One channel in each group is TensorFlow's depthwise convolution, which takes equal strides and, with a dilation, a
    stride of 1 only; other groups are convolved one by one, as its CPU kernels have no gradient of a grouped one.
    """
    stride, dilation, groups = params["stride"], params["dilation"], params["groups"]
    if not graph.has_dilation and dilation != (1, 1):
        kernel, dilation = _spread(kernel, dilation), (1, 1)
    if groups == 1:
        return tf.nn.conv2d(x, kernel, stride, padding, dilations=dilation)
    is_plain = stride[0] == stride[1] and (dilation == (1, 1) or stride == (1, 1))
    if kernel.shape[2] == 1 and is_plain:
        rows, columns, _, features = kernel.shape
        by_channel = tf.reshape(kernel, (rows, columns, groups, features // groups))
        return tf.nn.depthwise_conv2d(x, by_channel, (1,) + stride + (1,), padding, dilations=dilation)
    parts = zip(tf.split(x, groups, 3), tf.split(kernel, groups, 3))
    return tf.concat([tf.nn.conv2d(part, own, stride, padding, dilations=dilation) for part, own in parts], 3)


def _spread(kernel, dilation):
    """The kernel with zeros between its taps: a dilated convolution as a plain one."""
    rows, columns, *channels = kernel.shape
    down, across = dilation
    apart = tf.reshape(kernel, [rows, 1, columns, 1, *channels])
    apart = tf.pad(apart, [[0, 0], [0, down - 1], [0, 0], [0, across - 1], [0, 0], [0, 0]])
    whole = tf.reshape(apart, [rows * down, columns * across, *channels])
    return whole[: (rows - 1) * down + 1, : (columns - 1) * across + 1]


def _padded(x, sides, value):
    top, bottom, left, right = sides
    return tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]], constant_values=value)


def _same_padding(shape, kernel, stride, dilation=(1, 1)):
    """(top, bottom, left, right) that TensorFlow's SAME would use."""
    sides = []
    for side, taps, step, apart in zip(shape[1:], kernel, stride, dilation):
        total = max((-(-side // step) - 1) * step + (taps - 1) * apart + 1 - side, 0)
        sides += [total // 2, total - total // 2]
    return tuple(sides)


def _batchnorm(graph, op, shape, training, x):
    mean, var = graph.variable(op, "mean"), graph.variable(op, "var")
    common = dict(
        x=x, scale=graph.variable(op, "gamma"), offset=graph.variable(op, "beta"), epsilon=op.params["epsilon"]
    )
    if not training:
        return tf.raw_ops.FusedBatchNormV3(mean=mean, variance=var, is_training=False, **common).y
    norm = tf.raw_ops.FusedBatchNormV3(mean=[], variance=[], is_training=True, **common)
    share = 1 - op.params["kept"]
    mean.assign_sub(share * (mean - norm.batch_mean))
    var.assign_sub(share * (var - norm.batch_variance))
    return norm.y


def _dense(graph, op, shape, training, x):
    x = tf.matmul(x, graph.variable(op, "weight"))
    return tf.nn.bias_add(x, graph.variable(op, "bias")) if op.params["bias"] else x


def _maxpool(graph, op, shape, training, x):
    if any(op.params["padding"]):
        x = _padded(x, op.params["padding"], x.dtype.min)
    return tf.nn.max_pool2d(x, op.params["kernel"], op.params["stride"], "VALID")


def _avgpool(graph, op, shape, training, x):
    if any(op.params["padding"]):
        x = _padded(x, op.params["padding"], 0.0)
    x = tf.nn.avg_pool2d(x, op.params["kernel"], op.params["stride"], "VALID")
    rows, columns = op.params["kernel"]
    counts = divisor(op, shape)
    return x if isinstance(counts, int) else x * (rows * columns / counts[None, :, :, None]).astype("float32")


def _prelu(graph, op, shape, training, x):
    return tf.nn.relu(x) - graph.variable(op, "slope") * tf.nn.relu(-x)


def _clip(graph, op, shape, training, x):
    low, high = op.params["low"], op.params["high"]
    return tf.nn.relu6(x) if (low, high) == (0, 6) else tf.clip_by_value(x, low, high)


def _elu(graph, op, shape, training, x):
    alpha = op.params["alpha"]
    return tf.nn.elu(x) if alpha == 1 else tf.nn.relu(x) + alpha * tf.math.expm1(tf.minimum(x, 0.0))


def _hardsigmoid(graph, op, shape, training, x):
    return tf.clip_by_value(op.params["slope"] * x + op.params["offset"], 0.0, 1.0)


def _flatten(graph, op, shape, training, x):
    if graph.turns:
        x = tf.transpose(x, (0, 3, 1, 2))
    return tf.reshape(x, (-1, shape[0] * shape[1] * shape[2]))


def _of_each(function):
    """The lowering of an op that is a function of its values alone."""
    return lambda graph, op, shape, training, *values: function(*values)


def _layernorm(graph, op, shape, training, x):
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return tf.nn.batch_normalization(
        x, mean, variance, graph.variable(op, "beta"), graph.variable(op, "gamma"), op.params["epsilon"]
    )


def _groupnorm(graph, op, shape, training, x):
    (channels, height, width), groups = shape, op.params["groups"]
    by_group = tf.reshape(x, (-1, height, width, groups, channels // groups))
    mean, variance = tf.nn.moments(by_group, (1, 2, 4), keepdims=True)
    normal = tf.nn.batch_normalization(by_group, mean, variance, None, None, op.params["epsilon"])
    return tf.reshape(normal, (-1, height, width, channels)) * graph.variable(op, "gamma") + graph.variable(op, "beta")


def _upsample(graph, op, shape, training, x):
    sides = [side * factor for side, factor in zip(shape[1:], op.params["factor"])]
    return tf.image.resize(x, sides, "bilinear" if op.params["is_bilinear"] else "nearest")


def _lrn(graph, op, shape, training, x):
    size, alpha, beta, bias = (op.params[name] for name in ("size", "alpha", "beta", "bias_term"))
    return tf.nn.local_response_normalization(x, size // 2, bias, alpha / size, beta)


def _shuffle(graph, op, shape, training, x):
    (channels, height, width), groups = shape, op.params["groups"]
    x = tf.reshape(x, (-1, height, width, groups, channels // groups))
    return tf.reshape(tf.transpose(x, (0, 1, 2, 4, 3)), (-1, height, width, channels))


_LOWER = {
    "conv": _conv,
    "scale": lambda graph, op, shape, training, x: x * graph.variable(op, "scale"),
    "shift": lambda graph, op, shape, training, x: x + graph.variable(op, "shift"),
    "layernorm": _layernorm,
    "groupnorm": _groupnorm,
    "slice": lambda graph, op, shape, training, x: x[..., op.params["begin"] : op.params["end"]],
    "pad": lambda graph, op, shape, training, x: _padded(x, op.params["padding"], float(op.params["value"])),
    "upsample": _upsample,
    "lrn": _lrn,
    "shuffle": _shuffle,
    "clip": _clip,
    "leakyrelu": lambda graph, op, shape, training, x: tf.nn.leaky_relu(x, op.params["slope"]),
    "prelu": _prelu,
    "elu": _elu,
    "sigmoid": _of_each(tf.nn.sigmoid),
    "hardsigmoid": _hardsigmoid,
    "hardswish": _of_each(lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6.0)),
    "silu": _of_each(tf.nn.silu),
    "tanh": _of_each(tf.nn.tanh),
    "gelu": lambda graph, op, shape, training, x: tf.nn.gelu(x, approximate=not op.params["is_exact"]),
    "softplus": _of_each(tf.nn.softplus),
    "mish": _of_each(lambda x: x * tf.nn.tanh(tf.nn.softplus(x))),
    "globalmax": _of_each(lambda x: tf.reduce_max(x, (1, 2))),
    "unflatten": _of_each(lambda x: x[:, None, None, :]),
    "multiply": _of_each(lambda left, right: left * right),
    "concat": _of_each(lambda *values: tf.concat(values, -1)),
    "batchnorm": _batchnorm,
    "relu": _of_each(tf.nn.relu),
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "globalpool": _of_each(lambda x: tf.reduce_mean(x, (1, 2))),
    "flatten": _flatten,
    "dense": _dense,
    "dropout": lambda graph, op, shape, training, x: tf.nn.dropout(x, op.params["rate"]) if training else x,
    "add": _of_each(lambda left, right: left + right),
}
