"""The ops of workers/ops.py as LiteRT's operators, with maps as (n, height, width, channels).

A lowering: (writer of model.py, op, the numbers of its inputs) -> the names of the ops that the operators make.
Source: tensorflow/lite/schema/schema.fbs, version 3.
"""

import numpy
from ai_edge_litert import schema_py_generated as schema

from workers.ops import divisor
from workers.protocol import Unsupported

_OP, _OPTIONS = schema.BuiltinOperator, schema.BuiltinOptions
_VALID, _SAME = schema.Padding.VALID, schema.Padding.SAME


def lower(writer, op, inputs):
    """The names of the ops that became one operator with `op`.

    inputs: their numbers. Raises Unsupported for an op that has no counterpart here.
    """
    if op.kind not in _LOWER:
        raise Unsupported(op.kind, f"{op.name}: it is not written for LiteRT")
    return _LOWER[op.kind](writer, op, inputs)


def _conv(writer, op, inputs):
    kernel = writer.weight(op, "weight").astype(numpy.float64)
    bias = writer.weight(op, "bias")
    bias = numpy.zeros(len(kernel)) if bias is None else bias.astype(numpy.float64)
    made, last = [op.name], op
    norm = writer.then(op, "batchnorm")
    if norm:
        scale, shift = _scale_and_shift(writer, norm)
        kernel, bias = kernel * scale[:, None, None, None], bias * scale + shift
        made, last = made + [norm.name], norm
    last, activation = writer.fused_relu(last)
    made.append(last.name)
    source, padding = _padded(writer, op, inputs[0], 0.0)
    # One channel in each group is a depthwise convolution, whose kernel is (1, kh, kw, out).
    is_depthwise = op.params["groups"] > 1 and kernel.shape[1] == 1
    options = schema.DepthwiseConv2DOptionsT() if is_depthwise else schema.Conv2DOptionsT()
    options.padding, options.fusedActivationFunction = padding, activation
    options.strideH, options.strideW = op.params["stride"]
    options.dilationHFactor, options.dilationWFactor = op.params["dilation"]
    order = (1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1)
    weights = [
        writer.constant(op.name + ".weight", kernel.transpose(order).astype(numpy.float32)),
        writer.constant(op.name + ".bias", bias.astype(numpy.float32)),
    ]
    code, kind = _OP.CONV_2D, _OPTIONS.Conv2DOptions
    if is_depthwise:
        options.depthMultiplier = len(kernel) // op.params["groups"]
        code, kind = _OP.DEPTHWISE_CONV_2D, _OPTIONS.DepthwiseConv2DOptions
    writer.finish(last, code, [source] + weights, (kind, options))
    return made


def _padded(writer, op, source, value):
    """(the value to convolve or pool, its padding): LiteRT pads as SAME does, or a PAD with `value` comes before."""
    top, bottom, left, right = op.params["padding"]
    if not any(op.params["padding"]):
        return source, _VALID
    rows, columns = op.params["kernel"]
    is_whole = op.params["stride"] == (1, 1) and op.params.get("dilation", (1, 1)) == (1, 1) and not value
    is_half = {top, bottom} == {rows // 2} and {left, right} == {columns // 2} and rows % 2 and columns % 2
    if op.kind == "conv" and is_whole and is_half:
        return source, _SAME
    channels, height, width = writer.net.shapes[op.inputs[0]]
    padded = writer.value(op.name + ".padded", (height + top + bottom, width + left + right, channels))
    _pad_to(writer, op, source, padded, value)
    return padded, _VALID


def _pad_to(writer, op, source, padded, value):
    """The operator that pads a value, by the op's padding, with a number."""
    top, bottom, left, right = op.params["padding"]
    sides = numpy.array([[0, 0], [top, bottom], [left, right], [0, 0]], numpy.int32)
    inputs = [source, writer.constant(op.name + ".sides", sides)]
    if value:
        # Without an axis: its quantiser takes no other.
        inputs.append(writer.constant(op.name + ".outside", numpy.full((), value, numpy.float32)))
        writer.operator(_OP.PADV2, inputs, padded, (_OPTIONS.PadV2Options, schema.PadV2OptionsT()))
    else:
        writer.operator(_OP.PAD, inputs, padded, (_OPTIONS.PadOptions, schema.PadOptionsT()))


def _pad(writer, op, inputs):
    writer.alias(op, writer.value(op.name, writer.shape(op)))
    _pad_to(writer, op, inputs[0], writer.value_of(op), float(op.params["value"]))
    return [op.name]


def _slice(writer, op, inputs):
    shape, begin = writer.shape(op), op.params["begin"]
    begins = numpy.array([0] * len(shape) + [begin], numpy.int32)
    sizes = numpy.array((writer.count,) + shape, numpy.int32)
    parts = [writer.constant(op.name + ".begins", begins), writer.constant(op.name + ".sizes", sizes)]
    writer.finish(op, _OP.SLICE, inputs + parts, (_OPTIONS.SliceOptions, schema.SliceOptionsT()))
    return [op.name]


def _upsample(writer, op, inputs):
    name = "ResizeBilinear" if op.params["is_bilinear"] else "ResizeNearestNeighbor"
    code = _OP.RESIZE_BILINEAR if op.params["is_bilinear"] else _OP.RESIZE_NEAREST_NEIGHBOR
    options = getattr(schema, name + "OptionsT")()
    options.halfPixelCenters = op.params["is_bilinear"]
    sides = writer.constant(op.name + ".sides", numpy.array(writer.shape(op)[:2], numpy.int32))
    writer.finish(op, code, [inputs[0], sides], (getattr(_OPTIONS, name + "Options"), options))
    return [op.name]


def _scale_and_shift(writer, norm):
    gamma, beta, mean, var = (
        writer.weight(norm, end).astype(numpy.float64) for end in ("gamma", "beta", "mean", "var")
    )
    scale = gamma / numpy.sqrt(var + norm.params["epsilon"])
    return scale, beta - mean * scale


def _batchnorm(writer, op, inputs):
    scale, shift = (part.astype(numpy.float32) for part in _scale_and_shift(writer, op))
    scaled = writer.value(op.name + ".scaled", writer.shape(op))
    product = (_OPTIONS.MulOptions, schema.MulOptionsT())
    writer.operator(_OP.MUL, [inputs[0], writer.constant(op.name + ".scale", scale)], scaled, product)
    last, activation = writer.fused_relu(op)
    options = schema.AddOptionsT()
    options.fusedActivationFunction = activation
    shifted = [scaled, writer.constant(op.name + ".shift", shift)]
    writer.finish(last, _OP.ADD, shifted, (_OPTIONS.AddOptions, options))
    return [op.name, last.name]


def _pool_options(op):
    options = schema.Pool2DOptionsT()
    options.padding = _VALID
    options.strideH, options.strideW = op.params["stride"]
    options.filterHeight, options.filterWidth = op.params["kernel"]
    return (_OPTIONS.Pool2DOptions, options)


def _maxpool(writer, op, inputs):
    source, _ = _padded(writer, op, inputs[0], float(numpy.finfo(numpy.float32).min))
    writer.finish(op, _OP.MAX_POOL_2D, [source], _pool_options(op))
    return [op.name]


def _avgpool(writer, op, inputs):
    source, _ = _padded(writer, op, inputs[0], 0.0)
    counts = divisor(op, writer.net.shapes[op.inputs[0]])
    if isinstance(counts, int):
        writer.finish(op, _OP.AVERAGE_POOL_2D, [source], _pool_options(op))
        return [op.name]
    rows, columns = op.params["kernel"]
    pooled = writer.value(op.name + ".pooled", writer.shape(op))
    writer.operator(_OP.AVERAGE_POOL_2D, [source], pooled, _pool_options(op))
    shares = (rows * columns / counts[None, :, :, None]).astype(numpy.float32)
    product = (_OPTIONS.MulOptions, schema.MulOptionsT())
    writer.finish(op, _OP.MUL, [pooled, writer.constant(op.name + ".shares", shares)], product)
    return [op.name]


def _globalpool(writer, op, inputs):
    axes = writer.constant(op.name + ".axes", numpy.array([1, 2], numpy.int32))
    writer.finish(op, _OP.MEAN, [inputs[0], axes], (_OPTIONS.ReducerOptions, schema.ReducerOptionsT()))
    return [op.name]


def _flatten(writer, op, inputs):
    channels, height, width = writer.net.shapes[op.inputs[0]]
    turned = writer.value(op.name + ".turned", (channels, height, width))
    order = writer.constant(op.name + ".order", numpy.array([0, 3, 1, 2], numpy.int32))
    writer.operator(_OP.TRANSPOSE, [inputs[0], order], turned, (_OPTIONS.TransposeOptions, schema.TransposeOptionsT()))
    shape = numpy.array([writer.count, channels * height * width], numpy.int32)
    options = schema.ReshapeOptionsT()
    options.newShape = shape.tolist()
    flat = [turned, writer.constant(op.name + ".shape", shape)]
    writer.finish(op, _OP.RESHAPE, flat, (_OPTIONS.ReshapeOptions, options))
    return [op.name]


def _dense(writer, op, inputs):
    options = schema.FullyConnectedOptionsT()
    last, options.fusedActivationFunction = writer.fused_relu(op)
    bias = writer.weight(op, "bias")
    bias = numpy.zeros(op.params["features"], numpy.float32) if bias is None else bias
    weights = [
        writer.constant(op.name + ".weight", writer.weight(op, "weight")),
        writer.constant(op.name + ".bias", bias),
    ]
    writer.finish(last, _OP.FULLY_CONNECTED, inputs + weights, (_OPTIONS.FullyConnectedOptions, options))
    return [op.name, last.name]


def _add(writer, op, inputs):
    options = schema.AddOptionsT()
    last, options.fusedActivationFunction = writer.fused_relu(op)
    writer.finish(last, _OP.ADD, inputs, (_OPTIONS.AddOptions, options))
    return [op.name, last.name]


def _multiply(writer, op, inputs):
    writer.finish(op, _OP.MUL, inputs, (_OPTIONS.MulOptions, schema.MulOptionsT()))
    return [op.name]


def _plain(code, kind=0, options=None, **fields):
    """The lowering to one operator. kind, options: of its options, with these fields."""

    def lower(writer, op, inputs):
        made = options and options()
        for name, value in fields.items():
            setattr(made, name, value(op) if callable(value) else value)
        writer.finish(op, code, inputs, (kind, made))
        return [op.name]

    return lower


def _steps(*steps):
    """The lowering to several operators, each of a value and a constant or of two values.

    steps: (operator, kind of its options, class of its options, what it reads); 'x' is the input, a number or the name
    of a param a constant, and [at] the value of an earlier step.
    """

    def lower(writer, op, inputs):
        values = []
        for at, (code, kind, options, reads) in enumerate(steps):
            sources = []
            for read in reads:
                if isinstance(read, list):
                    sources.append(values[read[0]])
                elif read == "x":
                    sources.append(inputs[0])
                else:
                    number = op.params[read] if isinstance(read, str) else read
                    name = f"{op.name}.constant{at}"
                    shape = (1,) * (len(writer.shape(op)) + 1)  # of that rank, as its quantiser wants it
                    sources.append(writer.constant(name, numpy.full(shape, number, numpy.float32)))
            chosen = (kind, options and options())
            if at == len(steps) - 1:
                writer.finish(op, code, sources, chosen)
            else:
                values.append(writer.value(f"{op.name}.{at}", writer.shape(op)))
                writer.operator(code, sources, values[-1], chosen)
        return [op.name]

    return lower


def _prelu(writer, op, inputs):
    slope = writer.weight(op, "slope").reshape(1, 1, -1)
    writer.finish(op, _OP.PRELU, inputs + [writer.constant(op.name + ".slope", slope)])
    return [op.name]


def _elu(writer, op, inputs):
    if op.params["alpha"] != 1:
        raise Unsupported("elu", f"{op.name}: LiteRT's has an alpha of 1, not {op.params['alpha']}")
    return _plain(_OP.ELU)(writer, op, inputs)


def _clip(writer, op, inputs):
    is_relu6 = (op.params["low"], op.params["high"]) == (0, 6)
    return (_plain(_OP.RELU6) if is_relu6 else _CLIP)(writer, op, inputs)


def _unflatten(writer, op, inputs):
    shape = numpy.array([writer.count, 1, 1, writer.net.shapes[op.name][0]], numpy.int32)
    options = schema.ReshapeOptionsT()
    options.newShape = shape.tolist()
    writer.finish(
        op, _OP.RESHAPE, [inputs[0], writer.constant(op.name + ".shape", shape)], (_OPTIONS.ReshapeOptions, options)
    )
    return [op.name]


def _globalmax(writer, op, inputs):
    axes = writer.constant(op.name + ".axes", numpy.array([1, 2], numpy.int32))
    writer.finish(op, _OP.REDUCE_MAX, [inputs[0], axes], (_OPTIONS.ReducerOptions, schema.ReducerOptionsT()))
    return [op.name]


def _concat(writer, op, inputs):
    options = schema.ConcatenationOptionsT()
    options.axis = len(writer.net.shapes[op.name])  # the last: maps are (n, height, width, channels)
    writer.finish(op, _OP.CONCATENATION, inputs, (_OPTIONS.ConcatenationOptions, options))
    return [op.name]


_BETWEEN = (_OPTIONS.MaximumMinimumOptions, schema.MaximumMinimumOptionsT)
_SUM, _PRODUCT = (_OPTIONS.AddOptions, schema.AddOptionsT), (_OPTIONS.MulOptions, schema.MulOptionsT)
_NONE = (0, None)

_CLIP = _steps((_OP.MAXIMUM, *_BETWEEN, ["x", "low"]), (_OP.MINIMUM, *_BETWEEN, [[0], "high"]))
_HARDSIGMOID = _steps(
    (_OP.MUL, *_PRODUCT, ["x", "slope"]),
    (_OP.ADD, *_SUM, [[0], "offset"]),
    (_OP.MAXIMUM, *_BETWEEN, [[1], 0.0]),
    (_OP.MINIMUM, *_BETWEEN, [[2], 1.0]),
)
_SILU = _steps((_OP.LOGISTIC, *_NONE, ["x"]), (_OP.MUL, *_PRODUCT, ["x", [0]]))
# log(1 + exp(x)) as max(x, 0) - log(sigmoid(|x|)), which does not overflow.
_TO_SOFTPLUS = (
    (_OP.ABS, *_NONE, ["x"]),
    (_OP.LOGISTIC, *_NONE, [[0]]),
    (_OP.LOG, *_NONE, [[1]]),
    (_OP.MUL, *_PRODUCT, [[2], -1.0]),
    (_OP.MAXIMUM, *_BETWEEN, ["x", 0.0]),
    (_OP.ADD, *_SUM, [[3], [4]]),
)
_SOFTPLUS = _steps(*_TO_SOFTPLUS)
_MISH = _steps(*_TO_SOFTPLUS, (_OP.TANH, *_NONE, [[5]]), (_OP.MUL, *_PRODUCT, ["x", [6]]))


def _of_channels(writer, op, end):
    """A weight of each channel as a constant of the value's rank: channels are the last axis."""
    weight = writer.weight(op, end)
    shape = (1,) * len(writer.shape(op)) + (-1,)
    return writer.constant(f"{op.name}.{end}", weight.reshape(shape))


def _by_weight(code, kind, options, end):
    """The lowering to one operator of the value and a weight of the op."""

    def lower(writer, op, inputs):
        writer.finish(op, code, [inputs[0], _of_channels(writer, op, end)], (kind, options()))
        return [op.name]

    return lower


def _layernorm(writer, op, inputs):
    _normalised(writer, op, inputs[0], writer.shape(op), (len(writer.shape(op)),))
    return [op.name]


def _groupnorm(writer, op, inputs):
    (height, width, channels), groups = writer.shape(op), op.params["groups"]
    shape = (height, width, groups, channels // groups)
    by_group = writer.value(op.name + ".split", shape)
    _reshape(writer, op.name + ".split", inputs[0], by_group, shape)
    _normalised(writer, op, by_group, shape, (1, 2, 4))
    return [op.name]


def _normalised(writer, op, source, shape, axes):
    """The operators that normalise a value over these axes, the batch being axis 0, and weigh its channels.

    shape: of the value, without the batch; where the op's own is another, it gets that one before it is weighed.
    """
    one = tuple(1 if at in axes else side for at, side in enumerate(shape, 1))
    chosen = writer.constant(op.name + ".axes", numpy.array(axes, numpy.int32))
    epsilon = writer.constant(op.name + ".epsilon", numpy.full((1,) * (len(shape) + 1), op.params["epsilon"], "f"))

    def mean(name, value):
        options = schema.ReducerOptionsT()
        options.keepDims = True
        made = writer.value(f"{op.name}.{name}", one)
        writer.operator(_OP.MEAN, [value, chosen], made, (_OPTIONS.ReducerOptions, options))
        return made

    def then(name, code, sources, size, kind=0, options=None):
        made = writer.value(f"{op.name}.{name}", size)
        writer.operator(code, sources, made, (kind, options and options()))
        return made

    difference = (_OPTIONS.SubOptions, schema.SubOptionsT)
    centred = then("centred", _OP.SUB, [source, mean("mean", source)], shape, *difference)
    squares = then("squares", _OP.MUL, [centred, centred], shape, *_PRODUCT)
    variance = then("variance", _OP.ADD, [mean("spread", squares), epsilon], one, *_SUM)
    normal = then("normal", _OP.MUL, [centred, then("scale", _OP.RSQRT, [variance], one)], shape, *_PRODUCT)
    if shape != writer.shape(op):
        split, normal = normal, writer.value(op.name + ".whole", writer.shape(op))
        _reshape(writer, op.name + ".whole", split, normal, writer.shape(op))
    scaled = then("scaled", _OP.MUL, [normal, _of_channels(writer, op, "gamma")], writer.shape(op), *_PRODUCT)
    writer.finish(op, _OP.ADD, [scaled, _of_channels(writer, op, "beta")], (_SUM[0], _SUM[1]()))


def _lrn(writer, op, inputs):
    options = schema.LocalResponseNormalizationOptionsT()
    size, alpha, beta, bias = (op.params[name] for name in ("size", "alpha", "beta", "bias_term"))
    options.radius, options.bias, options.alpha, options.beta = size // 2, bias, alpha / size, beta
    writer.finish(op, _OP.LOCAL_RESPONSE_NORMALIZATION, inputs, (_OPTIONS.LocalResponseNormalizationOptions, options))
    return [op.name]


def _shuffle(writer, op, inputs):
    (height, width, channels), groups = writer.shape(op), op.params["groups"]
    split = (height, width, groups, channels // groups)
    swapped = (height, width, channels // groups, groups)
    by_group, turned = writer.value(op.name + ".split", split), writer.value(op.name + ".swapped", swapped)
    _reshape(writer, op.name + ".split", inputs[0], by_group, split)
    order = writer.constant(op.name + ".order", numpy.array([0, 1, 2, 4, 3], numpy.int32))
    writer.operator(_OP.TRANSPOSE, [by_group, order], turned, (_OPTIONS.TransposeOptions, schema.TransposeOptionsT()))
    writer.alias(op, writer.value(op.name, writer.shape(op)))
    _reshape(writer, op.name + ".whole", turned, writer.value_of(op), writer.shape(op))
    return [op.name]


def _reshape(writer, name, source, target, shape):
    """An operator that gives a value another shape, of which the batch is no part."""
    whole = numpy.array((writer.count,) + tuple(shape), numpy.int32)
    options = schema.ReshapeOptionsT()
    options.newShape = whole.tolist()
    writer.operator(_OP.RESHAPE, [source, writer.constant(name, whole)], target, (_OPTIONS.ReshapeOptions, options))


def _dropout(writer, op, inputs):
    writer.alias(op, inputs[0])
    return [op.name]


_LOWER = {
    "conv": _conv,
    "batchnorm": _batchnorm,
    "relu": _plain(_OP.RELU),
    "clip": _clip,
    "leakyrelu": _plain(
        _OP.LEAKY_RELU, _OPTIONS.LeakyReluOptions, schema.LeakyReluOptionsT, alpha=lambda op: op.params["slope"]
    ),
    "prelu": _prelu,
    "scale": _by_weight(_OP.MUL, *_PRODUCT, "scale"),
    "shift": _by_weight(_OP.ADD, *_SUM, "shift"),
    "layernorm": _layernorm,
    "groupnorm": _groupnorm,
    "slice": _slice,
    "pad": _pad,
    "upsample": _upsample,
    "lrn": _lrn,
    "shuffle": _shuffle,
    "elu": _elu,
    "sigmoid": _plain(_OP.LOGISTIC),
    "hardsigmoid": _HARDSIGMOID,
    "hardswish": _plain(_OP.HARD_SWISH),
    "silu": _SILU,
    "tanh": _plain(_OP.TANH),
    "gelu": _plain(
        _OP.GELU, _OPTIONS.GeluOptions, schema.GeluOptionsT, approximate=lambda op: not op.params["is_exact"]
    ),
    "softplus": _SOFTPLUS,
    "mish": _MISH,
    "globalmax": _globalmax,
    "unflatten": _unflatten,
    "multiply": _multiply,
    "concat": _concat,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "globalpool": _globalpool,
    "flatten": _flatten,
    "dense": _dense,
    "dropout": _dropout,
    "add": _add,
}
