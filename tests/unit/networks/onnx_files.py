"""Small ONNX files, node by node, and what ONNX's own reference and the oracle make of them."""

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from workers.frameworks import inference_settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle

RNG = np.random.RandomState(0)


def conv(source="x", output="c", name="stem", channels=3, features=5, **attributes):
    """(node, arrays) of a 3 x 3 convolution."""
    kernel = RNG.standard_normal((features, channels, 3, 3)).astype(np.float32)
    return helper.make_node("Conv", [source, f"{name}.w"], [output], name=name, **attributes), {f"{name}.w": kernel}


def to_logits(source):
    """Nodes and arrays that make 'y' of a map of 5 channels."""
    nodes = [
        helper.make_node("GlobalAveragePool", [source], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["y"], name="head"),
    ]
    return nodes, {"w": RNG.standard_normal((5, 4)).astype(np.float32)}


def network(middle, arrays=None):
    """(nodes, arrays) of a convolution, the nodes `middle` from 'c' to 'm', and a dense layer."""
    first, kernel = conv()
    last, weights = to_logits("m")
    return [first, *middle, *last], {**kernel, **weights, **(arrays or {})}


def same_as_written(read, x, wanted):
    """Whether the oracle gives these logits with the file's weights."""
    oracle = Oracle(read.net, read.weights(), "cpu", inference_settings(1), {})
    return np.allclose(oracle.exact_logits(x), wanted, rtol=1e-5, atol=1e-5)


def by_onnx(path, x):
    return ReferenceEvaluator(onnx.load(path)).run(None, {"x": x})[0]
