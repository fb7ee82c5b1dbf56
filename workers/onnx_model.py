"""A network with its weights as an ONNX model, for the runtimes that read one. Needs the `onnx` package.

Source: the ONNX operators of opset 17; GELU, Mish and SiLU, which it lacks, are written in those that it has. Dropout
does nothing in inference, so it is left out.
"""

import math

import numpy
from onnx import TensorProto, helper, numpy_helper

from workers.protocol import Unsupported

OPSET, IR_VERSION = 17, 8
INPUT, OUTPUT = "pictures", "logits"


def build(net, weights, batch_size=None):
    """The model, as onnx.ModelProto: pictures (n, channels, height, width) float32 to logits (n, classes).

    net: of workers/net.py. weights: name -> float32 array. batch_size: n, or None for any.
    Raises Unsupported for an op that has no counterpart here.
    """
    values, nodes = {net.ops[0].name: INPUT}, []
    for op in net.ops[1:]:
        if op.kind == "dropout":
            values[op.name] = values[op.inputs[0]]
            continue
        if op.kind not in _LOWER:
            raise Unsupported(op.kind, f"{op.name}: it is not written as ONNX")
        # A name of an op has no dot: with one, a value is ours.
        own = op.name + ".value" if op.name in (INPUT, OUTPUT) else op.name
        values[op.name] = OUTPUT if op.name == net.output else own
        made = _LOWER[op.kind](op, net.shapes[op.name], [values[name] for name in op.inputs], values[op.name])
        # What reads the file again finds the op under its own name; a pool over the whole map begins with its node.
        if not any(node.name for node in made):
            made[0 if op.kind in ("globalpool", "globalmax") else -1].name = op.name
        nodes += made
    count = "n" if batch_size is None else batch_size
    shape, classes = net.shapes[net.ops[0].name], net.shapes[net.output]
    graph = helper.make_graph(
        nodes,
        "waymark",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (count,) + shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (count,) + classes)],
        [_initialiser(net, weight.name, weights[weight.name]) for weight in net.weights],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, producer_name="waymark", opset_imports=[opset], ir_version=IR_VERSION)


def _initialiser(net, name, value):
    op, end = name.split(".")
    if end in ("slope", "scale", "shift"):  # ONNX broadcasts from the right
        value = value.reshape((-1,) + (1,) * (len(net.shapes[op]) - 1))
    return numpy_helper.from_array(numpy.ascontiguousarray(value), name)


def _conv(op, shape, inputs, output):
    top, bottom, left, right = op.params["padding"]
    names = [op.name + ".weight"] + ([op.name + ".bias"] if op.params["bias"] else [])
    return [
        helper.make_node(
            "Conv",
            inputs + names,
            [output],
            kernel_shape=op.params["kernel"],
            strides=op.params["stride"],
            pads=[top, left, bottom, right],
            dilations=op.params["dilation"],
            group=op.params["groups"],
        )
    ]


def _batchnorm(op, shape, inputs, output):
    names = [f"{op.name}.{end}" for end in ("gamma", "beta", "mean", "var")]
    return [
        helper.make_node(
            "BatchNormalization", inputs + names, [output], epsilon=op.params["epsilon"], momentum=op.params["kept"]
        )
    ]


def _pool(kind):
    def lower(op, shape, inputs, output):
        top, bottom, left, right = op.params["padding"]
        given = {"kernel_shape": op.params["kernel"], "strides": op.params["stride"]}
        if any(op.params["padding"]):
            given["pads"] = [top, left, bottom, right]
        if op.params.get("counts_padding"):
            given["count_include_pad"] = 1
        return [helper.make_node(kind, inputs, [output], **given)]

    return lower


def _globalpool(kind):
    def lower(op, shape, inputs, output):
        map_ = op.name + ".map"
        return [helper.make_node(kind, inputs, [map_]), helper.make_node("Flatten", [map_], [output], axis=1)]

    return lower


def _dense(op, shape, inputs, output):
    names = [op.name + ".weight"] + ([op.name + ".bias"] if op.params["bias"] else [])
    return [helper.make_node("Gemm", inputs + names, [output], transB=1)]


def _plain(kind, **attributes):
    """The lowering to one node of that kind with these attributes."""
    return lambda op, shape, inputs, output: [helper.make_node(kind, inputs, [output], **attributes)]


def _with(kind, **names):
    """Likewise; each attribute has the value of the param of that name."""

    def lower(op, shape, inputs, output):
        values = {attribute: float(op.params[name]) for attribute, name in names.items()}
        return [helper.make_node(kind, inputs, [output], **values)]

    return lower


def _constant(name, value):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))


def _clip(op, shape, inputs, output):
    ends = [f"{op.name}.{end}" for end in ("low", "high")]
    bounds = [_constant(name, numpy.float32(op.params[end])) for name, end in zip(ends, ("low", "high"))]
    return bounds + [helper.make_node("Clip", inputs + ends, [output])]


def _by_weight(kind, end):
    """The lowering to one node of that kind, of the value and a weight of the op."""
    return lambda op, shape, inputs, output: [helper.make_node(kind, inputs + [f"{op.name}.{end}"], [output])]


def _layernorm(op, shape, inputs, output):
    """Over the last axis: the axes of a map are turned and turned back."""
    names = [op.name + ".gamma", op.name + ".beta"]
    if len(shape) == 1:
        return [helper.make_node("LayerNormalization", inputs + names, [output], epsilon=op.params["epsilon"])]
    turned, normal = op.name + ".turned", op.name + ".normal"
    return [
        helper.make_node("Transpose", inputs, [turned], perm=[0, 2, 3, 1]),
        helper.make_node("LayerNormalization", [turned] + names, [normal], epsilon=op.params["epsilon"], name=op.name),
        helper.make_node("Transpose", [normal], [output], perm=[0, 3, 1, 2]),
    ]


def _groupnorm(op, shape, inputs, output):
    """As PyTorch's exporter writes it: each group as one channel of an instance normalisation, then the weights."""
    (channels, _, _), groups = shape, op.params["groups"]
    given = {"epsilon": op.params["epsilon"]}
    if groups == channels:
        names = [op.name + ".gamma", op.name + ".beta"]
        return [helper.make_node("InstanceNormalization", inputs + names, [output], **given)]
    ends = ("split", "whole", "ones", "zeros", "groups", "normal", "map", "scaled")
    split, whole, ones, zeros, by_group, normal, map_, scaled = (f"{op.name}.{end}" for end in ends)
    # A map's channels are its second axis, and ONNX broadcasts from the right.
    axes = _constant(op.name + ".axes", numpy.array([1, 2], numpy.int64))
    weights = [f"{op.name}.by_{end}" for end in ("gamma", "beta")]
    return [
        _constant(split, numpy.array([0, groups, -1], numpy.int64)),
        _constant(whole, numpy.array((0,) + shape, numpy.int64)),
        _constant(ones, numpy.ones(groups, numpy.float32)),
        _constant(zeros, numpy.zeros(groups, numpy.float32)),
        axes,
        helper.make_node("Unsqueeze", [op.name + ".gamma", axes.output[0]], weights[:1]),
        helper.make_node("Unsqueeze", [op.name + ".beta", axes.output[0]], weights[1:]),
        helper.make_node("Reshape", inputs + [split], [by_group]),
        helper.make_node("InstanceNormalization", [by_group, ones, zeros], [normal], name=op.name, **given),
        helper.make_node("Reshape", [normal, whole], [map_]),
        helper.make_node("Mul", [map_, weights[0]], [scaled]),
        helper.make_node("Add", [scaled, weights[1]], [output]),
    ]


def _slice(op, shape, inputs, output):
    names = [f"{op.name}.{end}" for end in ("begins", "ends", "axes")]
    numbers = (op.params["begin"], op.params["end"], 1)
    parts = [_constant(name, numpy.array([number], numpy.int64)) for name, number in zip(names, numbers)]
    return parts + [helper.make_node("Slice", inputs + names, [output])]


def _pad(op, shape, inputs, output):
    top, bottom, left, right = op.params["padding"]
    names = [f"{op.name}.{end}" for end in ("sides", "value")]
    sides = numpy.array([0, 0, top, left, 0, 0, bottom, right], numpy.int64)
    parts = [_constant(names[0], sides), _constant(names[1], numpy.float32(op.params["value"]))]
    return parts + [helper.make_node("Pad", inputs + names, [output])]


def _upsample(op, shape, inputs, output):
    scales = op.name + ".scales"
    given = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    if op.params["is_bilinear"]:
        given = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    factors = numpy.array((1, 1) + op.params["factor"], numpy.float32)
    return [_constant(scales, factors), helper.make_node("Resize", inputs + ["", scales], [output], **given)]


def _lrn(op, shape, inputs, output):
    given = {"size": op.params["size"], "bias": float(op.params["bias_term"])}
    given.update({name: float(op.params[name]) for name in ("alpha", "beta")})
    return [helper.make_node("LRN", inputs, [output], **given)]


def _shuffle(op, shape, inputs, output):
    (channels, height, width), groups = shape, op.params["groups"]
    names = [f"{op.name}.{end}" for end in ("split", "whole", "groups", "swapped")]
    split = numpy.array([0, groups, channels // groups, height, width], numpy.int64)
    return [
        _constant(names[0], split),
        _constant(names[1], numpy.array([0, channels, height, width], numpy.int64)),
        helper.make_node("Reshape", inputs + names[:1], [names[2]]),
        helper.make_node("Transpose", names[2:3], [names[3]], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", [names[3], names[1]], [output]),
    ]


def _steps(*steps):
    """The lowering to several nodes. steps: (kind, what it reads); 'x' is the input, a number a constant, and the
    place of an earlier step its value."""

    def lower(op, shape, inputs, output):
        nodes, values = [], []
        for at, (kind, reads) in enumerate(steps):
            names = []
            for read in reads:
                if isinstance(read, float):
                    name = f"{op.name}.constant{len(nodes)}"
                    nodes.append(_constant(name, numpy.float32(read)))
                else:
                    name = inputs[0] if read == "x" else values[read]
                names.append(name)
            values.append(output if at == len(steps) - 1 else f"{op.name}.{at}")
            nodes.append(helper.make_node(kind, names, [values[-1]]))
        return nodes

    return lower


_SILU = _steps(("Sigmoid", ["x"]), ("Mul", ["x", 0]))
_MISH = _steps(("Softplus", ["x"]), ("Tanh", [0]), ("Mul", ["x", 1]))
_EXACT_GELU = _steps(
    ("Div", ["x", math.sqrt(2)]), ("Erf", [0]), ("Add", [1, 1.0]), ("Mul", ["x", 2]), ("Mul", [3, 0.5])
)
# With x * x * x in the place of the power, OpenCV 5.0 ends the process.
_TANH_GELU = _steps(
    ("Pow", ["x", 3.0]),
    ("Mul", [0, 0.044715]),
    ("Add", ["x", 1]),
    ("Mul", [2, math.sqrt(2 / math.pi)]),
    ("Tanh", [3]),
    ("Add", [4, 1.0]),
    ("Mul", ["x", 5]),
    ("Mul", [6, 0.5]),
)


def _gelu(op, shape, inputs, output):
    return (_EXACT_GELU if op.params["is_exact"] else _TANH_GELU)(op, shape, inputs, output)


def _unflatten(op, shape, inputs, output):
    axes = op.name + ".axes"
    nodes = [_constant(axes, numpy.array([2, 3], numpy.int64))]
    return nodes + [helper.make_node("Unsqueeze", inputs + [axes], [output])]


_LOWER = {
    "conv": _conv,
    "clip": _clip,
    "leakyrelu": _with("LeakyRelu", alpha="slope"),
    "prelu": _by_weight("PRelu", "slope"),
    "scale": _by_weight("Mul", "scale"),
    "shift": _by_weight("Add", "shift"),
    "layernorm": _layernorm,
    "groupnorm": _groupnorm,
    "slice": _slice,
    "pad": _pad,
    "upsample": _upsample,
    "lrn": _lrn,
    "shuffle": _shuffle,
    "elu": _with("Elu", alpha="alpha"),
    "sigmoid": _plain("Sigmoid"),
    "hardsigmoid": _with("HardSigmoid", alpha="slope", beta="offset"),
    "hardswish": _plain("HardSwish"),
    "silu": _SILU,
    "tanh": _plain("Tanh"),
    "gelu": _gelu,
    "softplus": _plain("Softplus"),
    "mish": _MISH,
    "globalmax": _globalpool("GlobalMaxPool"),
    "unflatten": _unflatten,
    "multiply": _plain("Mul"),
    "concat": _plain("Concat", axis=1),
    "batchnorm": _batchnorm,
    "relu": _plain("Relu"),
    "maxpool": _pool("MaxPool"),
    "avgpool": _pool("AveragePool"),
    "globalpool": _globalpool("GlobalAveragePool"),
    "flatten": _plain("Flatten", axis=1),
    "dense": _dense,
    "add": _plain("Add"),
}
