"""ONNX's own tests of single operators: each case of a form that is read gives what ONNX says, in the oracle."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from orchestrator.networks.onnx_file import RULES
from orchestrator.networks.onnx_graph import Graph
from workers.frameworks import inference_settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle

FEWEST = {
    "AveragePool": 12,
    "BatchNormalization": 2,
    "Clip": 1,
    "Conv": 6,
    "Dropout": 3,
    "Elu": 3,
    "Flatten": 3,
    "Gelu": 4,
    "GlobalAveragePool": 2,
    "GlobalMaxPool": 2,
    "HardSigmoid": 4,
    "HardSwish": 1,
    "Identity": 2,
    "LeakyRelu": 3,
    "MaxPool": 10,
    "Mish": 1,
    "Relu": 1,
    "Sigmoid": 2,
    "Softplus": 3,
    "Swish": 1,
    "Tanh": 2,
}
"""Operator -> how many of its cases are read and agree, at least."""


class OtherFormError(Exception):
    """A case that is of no one picture input, one output, or whose first axis is no batch."""


def as_network(case):
    """(model, opset, pictures, wanted): the first input as pictures, the others constants, a vector at the end."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph, (inputs, outputs) = model.graph, case.data_sets[0]
    if (
        not graph.input
        or len(graph.output) != 1
        or not all(isinstance(array, np.ndarray) for array in (*inputs, *outputs))
    ):
        raise OtherFormError
    pictures, (wanted,) = inputs[0], outputs
    if pictures.dtype != np.float32 or not 1 <= pictures.ndim <= 4 or wanted.shape[:1] != pictures.shape[:1]:
        raise OtherFormError
    if pictures.ndim in (1, 3) and wanted.shape == pictures.shape:  # a function of each number: its shape is free
        pictures = pictures.reshape(pictures.shape + (1,) * (4 - pictures.ndim))
    for value, array in zip(graph.input[1:], inputs[1:], strict=True):
        graph.initializer.append(numpy_helper.from_array(array, value.name))
    del graph.input[1:]
    if wanted.ndim > 2 or pictures.ndim == 4:
        last = graph.output[0].name
        graph.node.append(onnx.helper.make_node("Flatten", [last], ["as_a_vector"], axis=1))
        graph.output[0].name = "as_a_vector"
    (opset,) = [entry.version for entry in model.opset_import if entry.domain == ""]
    return model, opset, pictures, wanted.reshape(len(wanted), -1)


def agrees(case) -> bool:
    """Whether the oracle gives what the case wants, as near as ONNX asks. Raises ValueError if the case is refused."""
    model, opset, pictures, wanted = as_network(case)
    graph = Graph(model, opset, len(pictures), pictures.shape[1:], model.graph.input[0].name)
    for node in model.graph.node:
        graph.add(node, RULES)
    net = graph.finish(model.graph.output[0].name)
    weights = {weight.name: graph.weights[weight.name] for weight in net.weights}
    logits = Oracle(net, weights, "cpu", inference_settings(1), {}).exact_logits(pictures)
    return bool(np.allclose(logits.reshape(wanted.shape), wanted, rtol=case.rtol, atol=max(case.atol, 1e-6)))


@pytest.fixture(scope="module")
def read():
    """(operator -> cases that are read, names of those that do not agree)."""
    counts, wrong = Counter(), []
    with np.errstate(all="ignore"):
        for case in collect_testcases(None):
            try:
                is_right = agrees(case)
            except (OtherFormError, ValueError):
                continue
            counts[case.model.graph.node[0].op_type] += 1
            wrong += [] if is_right else [case.name]
    return counts, wrong


def test_every_case_that_is_read_agrees(read):
    counts, wrong = read
    assert sum(counts.values()) >= sum(FEWEST.values())
    assert wrong == []


def test_no_operator_has_fewer_cases_than_are_claimed(read):
    counts, _ = read
    assert {name: counts[name] for name, fewest in FEWEST.items() if counts[name] < fewest} == {}
