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
        values[op.name] = OUTPUT if op.name == net.output else op.name
        made = _LOWER[op.kind](op, [values[name] for name in op.inputs], values[op.name])
        # What reads the file again finds the op under its own name; a pool over the whole map begins with its node.
        made[0 if op.kind in ("globalpool", "globalmax") else -1].name = op.name
        nodes += made
    count = "n" if batch_size is None else batch_size
    shape, classes = net.shapes[net.ops[0].name], net.shapes[net.output]
    graph = helper.make_graph(
        nodes,
        "waymark",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (count,) + shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (count,) + classes)],
        [_initialiser(weight.name, weights[weight.name]) for weight in net.weights],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, producer_name="waymark", opset_imports=[opset], ir_version=IR_VERSION)


def _initialiser(name, value):
    value = value.reshape(-1, 1, 1) if name.endswith(".slope") else value  # PRelu's broadcasts from the right
    return numpy_helper.from_array(numpy.ascontiguousarray(value), name)


def _conv(op, inputs, output):
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


def _batchnorm(op, inputs, output):
    names = [f"{op.name}.{end}" for end in ("gamma", "beta", "mean", "var")]
    return [helper.make_node("BatchNormalization", inputs + names, [output], epsilon=op.params["epsilon"])]


def _pool(kind):
    def lower(op, inputs, output):
        top, bottom, left, right = op.params["padding"]
        shape = {"kernel_shape": op.params["kernel"], "strides": op.params["stride"]}
        if any(op.params["padding"]):
            shape["pads"] = [top, left, bottom, right]
        if op.params.get("counts_padding"):
            shape["count_include_pad"] = 1
        return [helper.make_node(kind, inputs, [output], **shape)]

    return lower


def _globalpool(kind):
    def lower(op, inputs, output):
        map_ = op.name + "_map"
        return [helper.make_node(kind, inputs, [map_]), helper.make_node("Flatten", [map_], [output], axis=1)]

    return lower


def _dense(op, inputs, output):
    names = [op.name + ".weight"] + ([op.name + ".bias"] if op.params["bias"] else [])
    return [helper.make_node("Gemm", inputs + names, [output], transB=1)]


def _plain(kind, **attributes):
    """The lowering to one node of that kind with these attributes."""
    return lambda op, inputs, output: [helper.make_node(kind, inputs, [output], **attributes)]


def _with(kind, **names):
    """Likewise; each attribute has the value of the param of that name."""

    def lower(op, inputs, output):
        values = {attribute: float(op.params[name]) for attribute, name in names.items()}
        return [helper.make_node(kind, inputs, [output], **values)]

    return lower


def _constant(name, value):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))


def _clip(op, inputs, output):
    ends = [f"{op.name}_{end}" for end in ("low", "high")]
    bounds = [_constant(name, numpy.float32(op.params[end])) for name, end in zip(ends, ("low", "high"))]
    return bounds + [helper.make_node("Clip", inputs + ends, [output])]


def _prelu(op, inputs, output):
    return [helper.make_node("PRelu", inputs + [op.name + ".slope"], [output])]


def _steps(*steps):
    """The lowering to several nodes. steps: (kind, what it reads); 'x' is the input, a number a constant, and the
    place of an earlier step its value."""

    def lower(op, inputs, output):
        nodes, values = [], []
        for at, (kind, reads) in enumerate(steps):
            names = []
            for read in reads:
                if isinstance(read, float):
                    name = f"{op.name}_constant{len(nodes)}"
                    nodes.append(_constant(name, numpy.float32(read)))
                else:
                    name = inputs[0] if read == "x" else values[read]
                names.append(name)
            values.append(output if at == len(steps) - 1 else f"{op.name}_{at}")
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


def _gelu(op, inputs, output):
    return (_EXACT_GELU if op.params["is_exact"] else _TANH_GELU)(op, inputs, output)


def _unflatten(op, inputs, output):
    axes = op.name + "_axes"
    nodes = [_constant(axes, numpy.array([2, 3], numpy.int64))]
    return nodes + [helper.make_node("Unsqueeze", inputs + [axes], [output])]


_LOWER = {
    "conv": _conv,
    "clip": _clip,
    "leakyrelu": _with("LeakyRelu", alpha="slope"),
    "prelu": _prelu,
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
