"""ONNX operators that normalise."""

from dataclasses import replace

import numpy as np

from orchestrator.networks.onnx_graph import GROUPED, TURNED, Array, Graph, Node, Rule, Value, decimal


def _batchnorm(graph: Graph, node: Node) -> Value:
    source = node.map()
    arrays = {end: _per_channel(node, at, source) for at, end in enumerate(("gamma", "beta", "mean", "var"), 1)}
    if node.attributes.get("spatial", 1) != 1:
        node.refuse("it normalises each pixel (spatial = 0), not each channel")
    epsilon, kept = node.number("epsilon", 1e-5), node.number("momentum", 0.9)
    # float32 in the file; the decimal that was meant is the shortest one that gives it.
    made = graph.op(node, "batchnorm", source, epsilon=decimal(epsilon), kept=decimal(kept))
    graph.keep(made, **arrays)
    return made


def _per_channel(node: Node, at: int, source: Value) -> Array:
    array = node.weight(at, 1)
    if array.shape != source.shape[:1]:
        node.refuse(f"its input {at + 1} is not one number for each of {source.shape[0]} channels")
    return array


def _layernorm(graph: Graph, node: Node) -> Value:
    value = graph.settled(node, node.value(0, ("", TURNED)))
    rank = len(value.shape) + 1
    is_last = node.attributes.get("axis", -1) in (-1, rank - 1)
    if not is_last or (len(value.shape) == 3 and value.form != TURNED) or len(node.proto.output) > 1:
        return node.refuse("it normalises other axes than the channels alone, which is not read")
    zero = np.zeros(value.shape[0], np.float32)
    gamma, beta = _per_channel(node, 1, value), zero if node.constant(2) is None else _per_channel(node, 2, value)
    made = graph.op(node, "layernorm", value, epsilon=decimal(node.number("epsilon", 1e-5)))
    graph.keep(made, gamma=gamma, beta=beta)
    return replace(made, form=value.form)


def _instancenorm(graph: Graph, node: Node) -> Value:
    """Of each channel; or, as PyTorch's exporter has it, of channels in groups, whose weights come in later nodes."""
    source = node.map(forms=("", GROUPED))
    epsilon = decimal(node.number("epsilon", 1e-5))
    if source.form != GROUPED:
        gamma, beta = _per_channel(node, 1, source), _per_channel(node, 2, source)
        made = graph.op(node, "groupnorm", source, groups=source.shape[0], epsilon=epsilon)
        graph.keep(made, gamma=gamma, beta=beta)
        return made
    gamma, beta = node.weight(1, 1), node.weight(2, 1)
    if gamma.size != source.groups or beta.size != source.groups or (gamma != 1).any() or beta.any():
        node.refuse("it has weights for each group, not for each channel")
    made = graph.op(node, "groupnorm", replace(source, form="", groups=0), groups=source.groups, epsilon=epsilon)
    graph.keep(made, gamma=np.ones(source.shape[0], np.float32), beta=np.zeros(source.shape[0], np.float32))
    graph.await_weights(made, "gamma", "beta")
    return replace(made, form=GROUPED, groups=source.groups)


def _groupnorm(graph: Graph, node: Node) -> Value:
    source, groups = node.map(), node.attributes.get("num_groups")
    gamma, beta = _per_channel(node, 1, source), _per_channel(node, 2, source)
    made = graph.op(node, "groupnorm", source, groups=groups, epsilon=decimal(node.number("epsilon", 1e-5)))
    graph.keep(made, gamma=gamma, beta=beta)
    return made


def _lrn(graph: Graph, node: Node) -> Value:
    defaults = {"alpha": ("alpha", 1e-4), "beta": ("beta", 0.75), "bias_term": ("bias", 1.0)}
    numbers = {name: decimal(node.number(*source)) for name, source in defaults.items()}
    return graph.op(node, "lrn", node.map(), size=node.attributes.get("size"), **numbers)


RULES: dict[str, Rule] = {
    "BatchNormalization": _batchnorm,
    "GroupNormalization": _groupnorm,
    "InstanceNormalization": _instancenorm,
    "LRN": _lrn,
    "LayerNormalization": _layernorm,
}
"""ONNX operator -> what it becomes."""
