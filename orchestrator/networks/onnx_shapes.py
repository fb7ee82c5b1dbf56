"""ONNX operators that give a value other axes: a map as a vector and back, channels last, a channel shuffle."""

import math
from dataclasses import replace

from orchestrator.networks.onnx_graph import GROUPED, SPLIT, SWAPPED, TURNED, Graph, Node, Rule, Value, vector_of


def _flat(graph: Graph, node: Node, source: Value) -> Value:
    """A value as a vector."""
    if len(source.shape) == 1:
        return source
    if source.vector:
        return Value(source.vector, source.shape[:1])
    return graph.op(node, "flatten", source)


def _flatten(graph: Graph, node: Node) -> Value:
    source = node.value()
    axis = node.attributes.get("axis", 1)
    if axis not in (1, -len(source.shape)):
        node.refuse(f"its axis is {axis}; only whole pictures (axis 1) are read as a vector")
    return _flat(graph, node, source)


def _reshape(graph: Graph, node: Node) -> Value:
    source, asked = graph.settled(node, node.value(0, ("", SPLIT, SWAPPED, GROUPED))), node.integers("shape", 1)
    if not asked:
        return node.refuse("it has no shape to make")
    whole = (graph.batch, *source.shape)
    wanted = [whole[at] if side == 0 and at < len(whole) else side for at, side in enumerate(asked)]
    if wanted.count(-1) == 1:
        known = math.prod(side for side in wanted if side != -1)
        wanted[wanted.index(-1)] = math.prod(whole) // known if known > 0 else -1
    if tuple(wanted) == whole:
        plain = replace(source, form="", groups=0)
        graph.passes_on(node, plain)
        return graph.op(node, "shuffle", plain, groups=source.groups) if source.form == SWAPPED else plain
    if source.form:
        return node.refuse(
            f"it makes {tuple(wanted)} of channels in groups; only a channel shuffle and a normalisation are read"
        )
    if len(wanted) == 5 and len(whole) == 4 and (wanted[0], *wanted[3:]) == (whole[0], *whole[2:]):
        return replace(source, form=SPLIT, groups=wanted[1])
    if len(wanted) == 3 and len(whole) == 4 and wanted[0] == graph.batch and source.shape[0] % max(1, wanted[1]) == 0:
        return replace(source, form=GROUPED, groups=wanted[1])
    if wanted == [graph.batch, math.prod(source.shape)]:
        return _flat(graph, node, source)
    if len(source.shape) == 1 and wanted == [graph.batch, *source.shape, 1, 1]:
        return vector_of(source, source.op)
    return node.refuse(
        f"it makes {tuple(wanted)} of {whole}; only a map as a vector, and a vector as a map of 1 x 1, are read"
    )


def _squeeze(graph: Graph, node: Node) -> Value:
    source, axes = node.value(), node.integers("axes", 1)
    rank = len(source.shape) + 1
    if rank != 4 or source.shape[1:] != (1, 1) or sorted(axis % rank for axis in axes or (2, 3)) != [2, 3]:
        node.refuse(f"it takes the axes {axes} from {source.shape}; only a map of 1 x 1 is read as a vector")
    return _flat(graph, node, source)


def _unsqueeze(graph: Graph, node: Node) -> Value:
    source, axes = graph.settled(node, node.value()), node.integers("axes", 1) or ()
    if len(source.shape) != 1 or sorted(axis % 4 for axis in axes) != [2, 3]:
        node.refuse(f"it adds the axes {axes} to {source.shape}; only a vector is read as a map of 1 x 1")
    return vector_of(source, source.op)


def _transpose(graph: Graph, node: Node) -> Value:
    value = node.value(0, ("", TURNED, SPLIT))
    order = node.integers("perm") or ()
    if len(value.shape) == 3 and (value.form, order) == ("", (0, 2, 3, 1)):
        return replace(graph.settled(node, value), form=TURNED)
    if (value.form, order) == (TURNED, (0, 3, 1, 2)):
        return replace(graph.settled(node, value), form="")
    if (value.form, order) == (SPLIT, (0, 2, 1, 3, 4)):
        return replace(value, form=SWAPPED)
    return node.refuse(f"it puts the axes in the order {order}; read are channels last and back, and a channel shuffle")


RULES: dict[str, Rule] = {
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""ONNX operator -> what it becomes."""
