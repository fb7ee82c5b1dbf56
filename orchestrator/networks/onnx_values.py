"""ONNX operators on each value alone, on two values, and those that join values."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from orchestrator.networks.onnx_functions import BINARY, UNARY, Function, sigmoid, softplus
from orchestrator.networks.onnx_graph import TURNED, Array, Graph, Node, Parts, Rule, Value, decimal, vector_of

_LOWEST, _HIGHEST = (float(limit) for limit in (np.finfo(np.float32).min, np.finfo(np.float32).max))


def _clip(graph: Graph, node: Node) -> Value:
    ends = []
    for at, (name, default) in enumerate((("min", _LOWEST), ("max", _HIGHEST)), 1):
        given = node.constant(at)
        number = node.number(name, default) if given is None else float(given.ravel()[0]) if given.size == 1 else None
        if number is None or not math.isfinite(number):
            node.refuse(f"its {name} is not one finite number")
        ends.append(decimal(number) if abs(number) < _HIGHEST else number)
    low, high = ends
    if (low, high) == (0, _HIGHEST):
        return _relu(graph, node)
    source = node.value()
    return graph.each(
        node, source, lambda x: np.clip(x, low, high), Parts("clip", (source,), {"low": low, "high": high})
    )


def _plain(kind: str, function: Function | None = None) -> Callable[[Graph, Node], Value]:
    """Of an op without params. function: what it does to each number, where that may be a part of another op."""

    def rule(graph: Graph, node: Node) -> Value:
        source = node.value(0, ("", TURNED))
        if function is None:
            return replace(graph.op(node, kind, source), form=source.form)
        return graph.each(node, source, function, Parts(kind, (source,)))

    return rule


_relu = _plain("relu", lambda x: np.maximum(x, 0))


def _with(kind: str, **params: tuple[str, float]) -> Rule:
    """Of an op with params; params: name -> the attribute of it, and its default."""

    def rule(graph: Graph, node: Node) -> Value:
        numbers = {name: decimal(node.number(*source)) for name, source in params.items()}
        return graph.op(node, kind, node.value(), **numbers)

    return rule


def _hardsigmoid(graph: Graph, node: Node) -> Value:
    slope, offset = decimal(node.number("alpha", 0.2)), decimal(node.number("beta", 0.5))
    source = node.value()
    parts = Parts("hardsigmoid", (source,), {"slope": slope, "offset": offset})
    return graph.each(node, source, lambda x: np.clip(slope * x + offset, 0, 1), parts)


def _prelu(graph: Graph, node: Node) -> Value:
    source, slope = node.map(), node.constant(1)
    if slope is None or slope.shape[-3:] != (source.shape[0], 1, 1) or slope.size != source.shape[0]:
        node.refuse(f"its slope is not of shape ({source.shape[0]}, 1, 1): one for each channel")
    graph.use(node, 1)
    made = graph.op(node, "prelu", source)
    graph.keep(made, slope=slope.ravel())
    return made


def _gelu(graph: Graph, node: Node) -> Value:
    source = node.value(0, ("", TURNED))
    made = graph.op(node, "gelu", source, is_exact=node.attributes.get("approximate", b"none") != b"tanh")
    return replace(made, form=source.form)


def _swish(graph: Graph, node: Node) -> Value:
    if node.number("alpha", 1.0) != 1:
        node.refuse("its alpha is not 1")
    return graph.op(node, "silu", node.value())


def _as_it_is(graph: Graph, node: Node) -> Value:
    return node.value()


def _cast(graph: Graph, node: Node) -> Value:
    if node.attributes.get("to") != 1:
        node.refuse("it makes another type than float32")
    return node.value()


def _two(kind: str) -> Rule:
    """Of an operator of two inputs. kind: of the op that it is where both are values of their own; '' for none."""

    def rule(graph: Graph, node: Node) -> Value:
        if node.kind == "Sum" and len(node.inputs) != 2:
            return _sum(graph, node)
        if len(node.inputs) != 2:
            node.refuse(f"it has {len(node.inputs)} inputs; two are read")
        function = BINARY[node.kind if node.kind != "Sum" else "Add"]
        left, right = (
            node.value(at, ("", TURNED)) if isinstance(given, Value) else _scalar(given)
            for at, given in enumerate(node.inputs)
        )
        if isinstance(left, Value) and isinstance(right, Value):
            if left.form != right.form:
                return node.refuse("its inputs have their axes in different orders")
            return _of_one_source(graph, node, function, left, right, kind)
        if isinstance(left, Value) and right is not None:
            return graph.each(node, left, lambda x: function(x, right))
        if isinstance(right, Value) and left is not None:
            return graph.each(node, right, lambda x: function(left, x))
        if kind:
            return _by_channel(graph, node, kind)
        return node.refuse("its constant is not one number; that is not read")

    return rule


def _sum(graph: Graph, node: Node) -> Value:
    """Of one value, or of more than two."""
    values = [node.value(at, ("", TURNED)) for at in range(len(node.inputs))]
    if len({value.form for value in values}) > 1:
        node.refuse("its inputs have their axes in different orders")
    total = values[0]
    for value in values[1:]:
        total = replace(graph.op(node, "add", total, value), form=total.form)
    return total


def _scalar(given: Array | None) -> float | None:
    """The number of a constant that is one; None of others."""
    if given is None or given.size != 1 or given.dtype.kind not in "fiu":
        return None
    return float(given.ravel()[0])


def _of_one_source(graph: Graph, node: Node, function: Any, left: Value, right: Value, kind: str) -> Value:
    """x * sigmoid(x) and its like, where an op computes that; otherwise the op `kind` of the two."""
    base = left.source or left
    if base == (right.source or right):
        ours, theirs = (value.function or _itself for value in (left, right))
        parts = Parts(kind, (left, right)) if kind else None
        return Value(
            "",
            left.shape,
            source=base,
            function=lambda x: function(ours(x), theirs(x)),
            origin=node,
            parts=parts,
            form=left.form,
        )
    if not kind:
        node.refuse("it joins two values, which is not read")
    return _joined(graph, node, kind)


def _itself(x: Any) -> Any:
    return x


def _where(graph: Graph, node: Node) -> Value:
    """A choice between functions of one value, each by a condition that is one too."""
    values = [given for given in node.inputs if isinstance(given, Value)]
    bases = [value.source or value for value in values]
    scalars = [given if isinstance(given, Value) else _scalar(given) for given in node.inputs]
    forms = {value.form for value in values}
    if any(base != bases[0] for base in bases) or len(scalars) != 3 or None in scalars or len(forms) > 1:
        node.refuse("it chooses between other things than functions of one value and numbers, which is not read")
    functions = [
        (given.function or _itself) if isinstance(given, Value) else lambda x, given=given: given for given in scalars
    ]
    return Value(
        "",
        values[0].shape,
        source=bases[0],
        function=lambda x: np.where(*(function(x) for function in functions)),
        origin=node,
        form=values[0].form,
    )


def _unary(graph: Graph, node: Node) -> Value:
    return graph.each(node, node.value(0, ("", TURNED)), UNARY[node.kind])


def _by_channel(graph: Graph, node: Node, kind: str) -> Value:
    """A product or sum with a number for each channel; of a sum that follows a layer without bias, its bias."""
    at = next(at for at, given in enumerate(node.inputs) if isinstance(given, Value))
    value, other = graph.settled(node, node.value(at, ("", TURNED))), node.constant(1 - at)
    channels = value.shape[0]
    wanted = (channels,) if len(value.shape) == 1 or value.form == TURNED else (channels, 1, 1)
    if other is None or other.shape[-len(wanted) :] != wanted or other.size != channels:
        return node.refuse("its constant is neither one number nor one for each channel; that is not read")
    for end in ("bias", "beta") if kind == "add" else ("gamma",):
        if graph.takes_weight(node, at, value, end, other.ravel()):
            return value
    graph.use(node, 1 - at)
    end = "shift" if kind == "add" else "scale"
    made = graph.op(node, end, value)
    graph.keep(made, **{end: other.ravel()})
    return replace(made, form=value.form)


def _joined(graph: Graph, node: Node, kind: str) -> Value:
    left, right = node.value(0, ("", TURNED)), node.value(1, ("", TURNED))
    if left.vector and right.vector:
        made = graph.op(node, kind, Value(left.vector, left.shape[:1]), Value(right.vector, right.shape[:1]))
        return replace(vector_of(made, made.op), form=left.form)
    return replace(graph.op(node, kind, left, right), form=left.form)


def _concat(graph: Graph, node: Node) -> Value:
    values = [node.value(at) for at in range(len(node.inputs))]
    rank = len(values[0].shape) + 1
    if node.attributes.get("axis") not in (1, 1 - rank):
        node.refuse(f"its axis is {node.attributes.get('axis')}; only channels and features (axis 1) are put together")
    return values[0] if len(values) == 1 else graph.op(node, "concat", *values)


def _softmax(graph: Graph, node: Node) -> Value:
    """At the end of the graph only: training is on logits."""
    source = node.value()
    flat = source.shape[0] == math.prod(source.shape)
    if node.attributes.get("axis", 1) not in (1, -1, -len(source.shape)) or not flat or not graph.is_output(node):
        node.refuse("it is not at the end, over the classes; elsewhere it is not read")
    graph.told.append(f"'{node.name}' ({node.kind}) at the end is taken off: networks are trained on logits.")
    return source


RULES: dict[str, Rule] = {
    "Abs": _unary,
    "Add": _two("add"),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Div": _two(""),
    "Dropout": _as_it_is,
    "Elu": _with("elu", alpha=("alpha", 1.0)),
    "Erf": _unary,
    "Exp": _unary,
    "Gelu": _gelu,
    "HardSigmoid": _hardsigmoid,
    "HardSwish": _plain("hardswish"),
    "Identity": _as_it_is,
    "LeakyRelu": _with("leakyrelu", slope=("alpha", 0.01)),
    "Log": _unary,
    "LogSoftmax": _softmax,
    "Greater": _two(""),
    "GreaterOrEqual": _two(""),
    "Less": _two(""),
    "LessOrEqual": _two(""),
    "Max": _two(""),
    "Min": _two(""),
    "Mish": _plain("mish"),
    "Mul": _two("multiply"),
    "Neg": _unary,
    "Pow": _two(""),
    "PRelu": _prelu,
    "Reciprocal": _unary,
    "Relu": _relu,
    "Sigmoid": _plain("sigmoid", sigmoid),
    "Softmax": _softmax,
    "Softplus": _plain("softplus", softplus),
    "Not": _unary,
    "Sqrt": _unary,
    "Sum": _two("add"),
    "Sub": _two(""),
    "Swish": _swish,
    "Tanh": _plain("tanh", np.tanh),
    "Where": _where,
}
"""ONNX operator -> what it becomes."""
