"""ONNX's own tests, as networks: of single operators, and of PyTorch's modules as its exporter wrote them."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests

from orchestrator.networks.onnx_file import RULES
from orchestrator.networks.onnx_graph import Graph
from workers.frameworks import inference_settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle


class Case(NamedTuple):
    """A model with its inputs and outputs, and how near ONNX wants them."""

    name: str
    model: onnx.ModelProto
    inputs: tuple
    outputs: tuple
    rtol: float
    atol: float

    @property
    def operator(self) -> str:
        """What it tests; of a function as its parts, the function."""
        names = [name.split("_test_")[0] for node in self.model.graph.node for name in node.output if "_test_" in name]
        return names[0] if names else self.model.graph.node[0].op_type


class OtherFormError(Exception):
    """A case without a picture input, or whose first axis is no batch."""


def of_operators():
    """The cases of single operators."""
    for case in collect_testcases(None):
        inputs, outputs = (
            tuple(np.asarray(one) if isinstance(one, np.generic) else one for one in arrays)
            for arrays in case.data_sets[0]
        )
        yield Case(case.name, case.model, inputs, outputs, case.rtol, case.atol)


def of_pytorch():
    """Those of PyTorch's modules, whose files lie in the package."""
    for case in load_model_tests(kind="pytorch-converted"):
        folder = Path(case.model_dir)
        model = onnx.load(folder / "model.onnx")
        arrays = [
            tuple(
                numpy_helper.to_array(onnx.load_tensor(path))
                for path in sorted((folder / "test_data_set_0").glob(f"{kind}_*.pb"))
            )
            for kind in ("input", "output")
        ]
        yield Case(case.name, model, *arrays, case.rtol, case.atol)


def _one(case):
    """(pictures, nodes, constants): the first input as pictures, the others as constants."""
    names = [value.name for value in case.model.graph.input]
    constants = zip(names[1:], case.inputs[1:], strict=False)
    pictures, nodes = _as_pictures(case.inputs[:1], names[:1], case.outputs[0])
    return pictures, nodes, [numpy_helper.from_array(array, name) for name, array in constants]


def _joined(case):
    """The same of all inputs, which come as one and are divided by channel."""
    pictures, nodes = _as_pictures(case.inputs, [value.name for value in case.model.graph.input], case.outputs[0])
    return pictures, nodes, []


def _channels_last(case):
    """The first input, whose axes are (batch, height, width, channels)."""
    if case.inputs[0].ndim != 4 or case.outputs[0].ndim != 4:
        raise OtherFormError
    names = [value.name for value in case.model.graph.input]
    nodes = [helper.make_node("Transpose", ["pictures"], names[:1], perm=[0, 2, 3, 1])]
    constants = zip(names[1:], case.inputs[1:], strict=False)
    pictures = case.inputs[0].transpose(0, 3, 1, 2)
    return pictures, nodes, [numpy_helper.from_array(array, name) for name, array in constants]


def _as_pictures(inputs, names, wanted):
    """(pictures (n, c, h, w), the nodes that make the inputs of them). Vectors come as maps of 1 x 1."""
    ranks = {array.ndim for array in inputs}
    if len(ranks) > 1 or any(array.dtype != np.float32 for array in inputs):
        raise OtherFormError
    (rank,) = ranks
    # Of a function of each number the shape is free.
    if rank in (1, 3) and any(array.shape != wanted.shape for array in inputs):
        raise OtherFormError
    if len({(len(array), *array.shape[2:]) for array in inputs}) > 1:
        raise OtherFormError
    whole = [array.reshape(array.shape + (1,) * (4 - rank)) for array in inputs]
    nodes, source = [], "pictures"
    if rank == 2:
        source = "pictures_as_a_vector"
        nodes.append(helper.make_node("Flatten", ["pictures"], [source], axis=1))
    if len(inputs) == 1:
        nodes.append(helper.make_node("Identity", [source], names[:1]))
        return whole[0], nodes
    ends = np.cumsum([0] + [array.shape[1] for array in whole])
    for name, begin, end in zip(names, ends[:-1], ends[1:], strict=True):
        parts = [f"{name}_{word}" for word in ("begin", "end", "axis")]
        for part, number in zip(parts, (begin, end, 1), strict=True):
            nodes.append(helper.make_node("Constant", [], [part], value=numpy_helper.from_array(np.array([number]))))
        nodes.append(helper.make_node("Slice", [source, *parts], [name]))
    return np.concatenate(whole, 1), nodes


def _networks(case, form):
    """(model, pictures, wanted) of each output, which is a vector.

    Of LayerNormalization only the first output counts: the others are not read.
    """
    if not case.inputs or not all(isinstance(one, np.ndarray) for one in (*case.inputs, *case.outputs)):
        raise OtherFormError
    first = case.inputs[0]
    if first.dtype != np.float32 or not 1 <= first.ndim <= 4:
        raise OtherFormError
    pictures, nodes, constants = form(case)
    has_one = case.model.graph.node[0].op_type == "LayerNormalization"
    count = 1 if has_one else len(case.outputs)
    for output, wanted in zip(case.model.graph.output[:count], case.outputs[:count], strict=True):
        if wanted.shape[:1] != first.shape[:1]:
            raise OtherFormError
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        if has_one:
            del model.graph.node[0].output[1:]
        last, ends = output.name, []
        if form is _channels_last:
            ends.append(helper.make_node("Transpose", [last], ["turned"], perm=[0, 3, 1, 2]))
            last, wanted = "turned", wanted.transpose(0, 3, 1, 2)
        if wanted.ndim != 2 or pictures.shape[2:] != (1, 1):
            ends.append(helper.make_node("Flatten", [last], ["as_a_vector"], axis=1))
            last = "as_a_vector"
        model.graph.CopyFrom(
            helper.make_graph(
                [*nodes, *model.graph.node, *ends],
                "case",
                [helper.make_tensor_value_info("pictures", onnx.TensorProto.FLOAT, pictures.shape)],
                [helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None)],
                [*model.graph.initializer, *constants],
            )
        )
        yield model, pictures, wanted.reshape(len(wanted), -1)


def _agrees(case, form) -> bool:
    """Whether the oracle gives what the case wants. Raises ValueError if the case is refused."""
    are_right = []
    (opset,) = [entry.version for entry in case.model.opset_import if entry.domain == ""]
    for model, pictures, wanted in _networks(case, form):
        graph = Graph(model, opset, len(pictures), pictures.shape[1:], "pictures")
        for node in model.graph.node:
            graph.add(node, RULES)
        net = graph.finish(model.graph.output[0].name)
        weights = {weight.name: graph.weights[weight.name] for weight in net.weights}
        seen = Oracle(net, weights, "cpu", inference_settings(1), {}).exact_logits(pictures).reshape(wanted.shape)
        if any("taken off" in sentence for sentence in graph.told):
            seen = seen - seen.max(1, keepdims=True)
            seen = seen - np.log(np.exp(seen).sum(1, keepdims=True))
            seen = seen if case.operator == "LogSoftmax" else np.exp(seen)
        are_right.append(bool(np.allclose(seen, wanted, rtol=case.rtol, atol=max(case.atol, 1e-6))))
    return all(are_right)


def _agrees_in_a_form(case: Case) -> bool | None:
    """Whether it agrees in the first form that is read; None if none is, and for a case that draws at random."""
    for form in () if _is_random(case) else (_one, _joined, _channels_last):
        try:
            return _agrees(case, form)
        except (OtherFormError, ValueError):
            continue
    return None


def _is_random(case: Case) -> bool:
    return case.operator == "Dropout" and "training" in case.name and "zero_ratio" not in case.name


class Read(NamedTuple):
    """operator -> how many cases agree; operator -> how many are refused; names of those that differ."""

    claimed: Counter
    refused: Counter
    wrong: list


@cache
def read(source) -> Read:
    """All cases of `of_operators` or `of_pytorch`."""
    found = Read(Counter(), Counter(), [])
    with np.errstate(all="ignore"):
        for case in source():
            is_right = _agrees_in_a_form(case)
            if is_right is None:
                found.refused[case.operator] += 1
            elif is_right:
                found.claimed[case.operator] += 1
            else:
                found.wrong.append(case.name)
    return found
