"""ONNX operators that are layers: convolutions, pools, dense layers."""

from dataclasses import replace
from typing import Any

from orchestrator.networks.onnx_graph import TURNED, Array, Graph, Node, Rule, Value, vector_of

Sides = tuple[int, ...]


def _conv(graph: Graph, node: Node) -> Value:
    source, kernel = node.map(), node.weight(1, 4)
    graph.use(node, 1)
    bias = _bias(node, kernel.shape[0], "channels")
    groups = node.attributes.get("group", 1)
    if not isinstance(groups, int) or groups < 1 or kernel.shape[1] * groups != source.shape[0]:
        node.refuse(
            f"its kernel is of shape {kernel.shape} in {groups} groups, and its input has {source.shape[0]} channels"
        )
    dilation = _pair(node, "dilations")
    window = _window(node, source, kernel.shape[2:], dilation)
    own = {"channels": kernel.shape[0], "dilation": dilation, "groups": groups, "bias": bias is not None}
    made = graph.op(node, "conv", source, **window, **own)
    graph.keep(made, weight=kernel, bias=bias)
    return made


def _bias(node: Node, wanted: int, of: str) -> Array | None:
    """The third input, one number for each channel or feature; None if it is left out."""
    bias = node.constant(2)
    if bias is None:
        return None
    if bias.size != wanted or bias.shape[-1:] != (wanted,):
        node.refuse(f"its bias has {bias.size} numbers, and there are {wanted} {of}")
    return bias.ravel()


def _window(node: Node, source: Value, kernel: tuple[int, ...], dilation: tuple[int, int] = (1, 1)) -> dict[str, Any]:
    """Kernel, stride and padding; the last also where the file says only "same"."""
    given = node.integers("kernel_shape")
    if given is not None and given != tuple(kernel):
        node.refuse(f"its kernel_shape is {given}, and its kernel is of shape {tuple(kernel)}")
    stride = _pair(node, "strides")
    how = node.attributes.get("auto_pad", b"NOTSET")
    if how in (b"SAME_UPPER", b"SAME_LOWER"):
        padding = _same(source.shape[1:], kernel, stride, dilation, is_upper=how == b"SAME_UPPER")
    else:
        pads = node.integers("pads") if how == b"NOTSET" else None
        pads = pads or (0, 0, 0, 0)
        if len(pads) != 4:
            node.refuse(f"pads are {pads}; they must be four")
        padding = (pads[0], pads[2], pads[1], pads[3])
    return {"kernel": tuple(kernel), "stride": stride, "padding": padding}


def _same(
    sides: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    *,
    is_upper: bool,
) -> tuple[int, ...]:
    """(top, bottom, left, right), so that a side is divided by the stride; the odd one goes last if `is_upper`."""
    padding: list[int] = []
    for side, taps, step, apart in zip(sides, kernel, stride, dilation, strict=True):
        total = max((-(-side // step) - 1) * step + (taps - 1) * apart + 1 - side, 0)
        ends = (total // 2, total - total // 2)
        padding += ends if is_upper else ends[::-1]
    return tuple(padding)


def _pair(node: Node, attribute: str) -> tuple[int, int]:
    given = node.integers(attribute) or (1, 1)
    if len(given) != 2:
        node.refuse(f"{attribute} are {given}; they must be two, for rows and columns")
    return given[0], given[1]


def _pool(kind: str) -> Rule:
    def rule(graph: Graph, node: Node) -> Value:
        source, kernel = node.map(), node.integers("kernel_shape") or ()
        if len(kernel) != 2 or min(kernel) < 1:
            node.refuse(f"kernel_shape is {kernel}; it must be two numbers of at least 1")
        if _pair(node, "dilations") != (1, 1):
            node.refuse("it is dilated, which no pool here is")
        if len([name for name in node.proto.output if name]) > 1:
            node.refuse("its second output, the places of the maxima, is not made")
        window = _window(node, source, kernel)
        counts = bool(node.attributes.get("count_include_pad", 0))
        if node.attributes.get("ceil_mode", 0):
            whole = _rounded_up(source, window)
            if whole != window["padding"] and kind == "avgpool" and counts:
                node.refuse("it rounds its size up (ceil_mode) and counts its padding, which no pool here does")
            window["padding"] = whole
        return graph.op(node, kind, source, **window, **({"counts_padding": counts} if kind == "avgpool" else {}))

    return rule


def _rounded_up(source: Value, window: dict[str, Any]) -> tuple[int, ...]:
    """The padding with which a last window that is not full counts; none begins beyond the map."""
    top, bottom, left, right = window["padding"]
    ends = []
    for side, before, after, taps, step in zip(
        source.shape[1:], (top, left), (bottom, right), window["kernel"], window["stride"], strict=True
    ):
        windows = -(-(side + before + after - taps) // step) + 1
        windows -= (windows - 1) * step >= side + before
        ends.append(max(after, (windows - 1) * step + taps - side - before))
    return top, ends[0], left, ends[1]


def _global(kind: str) -> Rule:
    def rule(graph: Graph, node: Node) -> Value:
        made = graph.op(node, kind, node.map())
        return vector_of(made, made.op)

    return rule


def _reduced(kind: str) -> Rule:
    """ReduceMean and its like, over height and width alone."""

    def rule(graph: Graph, node: Node) -> Value:
        source, axes = node.map(forms=("", TURNED)), node.integers("axes", 1)
        if axes is None or sorted(axis % 4 for axis in axes) != ([1, 2] if source.form == TURNED else [2, 3]):
            node.refuse(f"it reduces the axes {axes}; only height and width are read")
        made = graph.op(node, kind, source)
        if source.form == TURNED and node.attributes.get("keepdims", 1):
            return replace(vector_of(made, made.op), form=TURNED)
        return vector_of(made, made.op) if node.attributes.get("keepdims", 1) else made

    return rule


def _gemm(graph: Graph, node: Node) -> Value:
    source, weight = _vector(graph, node), node.weight(1, 2)
    given = node.attributes
    if given.get("transA", 0):
        node.refuse("it transposes its input, which no dense layer here does")
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    graph.use(node, 1)
    inputs, features = weight.shape[::-1] if given.get("transB", 0) else weight.shape
    if (inputs,) != source.shape:
        node.refuse(f"its weights take {inputs} features, and its input has {source.shape[0]}")
    bias = _bias(node, features, "features")
    made = graph.op(node, "dense", source, features=features, bias=bias is not None)
    weight = weight if given.get("transB", 0) else weight.T
    graph.keep(made, weight=alpha * weight, bias=None if bias is None else beta * bias)
    return made


def _matmul(graph: Graph, node: Node) -> Value:
    source, weight = node.value(0, ("", TURNED)), node.weight(1, 2)
    if source.form == TURNED:
        return _of_each_pixel(graph, node, source, weight)
    source = _vector(graph, node)
    graph.use(node, 1)
    if weight.shape[:1] != source.shape:
        node.refuse(f"its weights take {weight.shape[0]} features, and its input has {source.shape[0]}")
    made = graph.op(node, "dense", source, features=weight.shape[1], bias=False)
    graph.keep(made, weight=weight.T)
    return made


def _of_each_pixel(graph: Graph, node: Node, source: Value, weight: Array) -> Value:
    """A dense layer on the channels of each pixel: a convolution of 1 x 1."""
    graph.use(node, 1)
    if weight.shape[0] != source.shape[0]:
        node.refuse(f"its weights take {weight.shape[0]} channels, and its input has {source.shape[0]}")
    window = {"kernel": (1, 1), "stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1)}
    made = graph.op(node, "conv", source, channels=weight.shape[1], groups=1, bias=False, **window)
    graph.keep(made, weight=weight.T[:, :, None, None])
    return replace(made, form=TURNED)


def _vector(graph: Graph, node: Node) -> Value:
    source = node.value()
    if len(source.shape) != 1:
        node.refuse(f"its input is of shape {source.shape}; a dense layer here takes a vector")
    return source


RULES: dict[str, Rule] = {
    "AveragePool": _pool("avgpool"),
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _global("globalpool"),
    "GlobalMaxPool": _global("globalmax"),
    "MatMul": _matmul,
    "MaxPool": _pool("maxpool"),
    "ReduceMax": _reduced("globalmax"),
    "ReduceMean": _reduced("globalpool"),
}
"""ONNX operator -> what it becomes."""
