"""A network with its weights as an ONNX model, for the runtimes that read one. Needs the `onnx` package.

Source: the ONNX operators Conv, BatchNormalization, Relu, MaxPool, AveragePool, GlobalAveragePool, Flatten, Gemm and
Add of opset 17. Dropout does nothing in inference, so it is left out.
"""

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
            raise Unsupported(op.kind, "it is not written as ONNX")
        values[op.name] = OUTPUT if op.name == net.output else op.name
        nodes += _LOWER[op.kind](op, [values[name] for name in op.inputs], values[op.name])
    count = "n" if batch_size is None else batch_size
    shape, classes = net.shapes[net.ops[0].name], net.shapes[net.output]
    graph = helper.make_graph(
        nodes,
        "waymark",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (count,) + shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (count,) + classes)],
        [numpy_helper.from_array(numpy.ascontiguousarray(weights[weight.name]), weight.name) for weight in net.weights],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, producer_name="waymark", opset_imports=[opset], ir_version=IR_VERSION)


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


def _globalpool(op, inputs, output):
    map_ = op.name + "_map"
    return [
        helper.make_node("GlobalAveragePool", inputs, [map_]),
        helper.make_node("Flatten", [map_], [output], axis=1),
    ]


def _dense(op, inputs, output):
    names = [op.name + ".weight"] + ([op.name + ".bias"] if op.params["bias"] else [])
    return [helper.make_node("Gemm", inputs + names, [output], transB=1)]


_LOWER = {
    "conv": _conv,
    "batchnorm": _batchnorm,
    "relu": lambda op, inputs, output: [helper.make_node("Relu", inputs, [output])],
    "maxpool": _pool("MaxPool"),
    "avgpool": _pool("AveragePool"),
    "globalpool": _globalpool,
    "flatten": lambda op, inputs, output: [helper.make_node("Flatten", inputs, [output], axis=1)],
    "dense": _dense,
    "add": lambda op, inputs, output: [helper.make_node("Add", inputs, [output])],
}
