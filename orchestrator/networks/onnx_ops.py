"""What each ONNX operator becomes: rules by its name, each (graph, node) -> value."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from orchestrator.networks.onnx_functions import BINARY, UNARY, Function, sigmoid, softplus
from orchestrator.networks.onnx_graph import SPLIT, SWAPPED, TURNED, Array, Graph, Node, Parts, Rule, Value, vector_of

_LOWEST, _HIGHEST = (float(limit) for limit in (np.finfo(np.float32).min, np.finfo(np.float32).max))


def _conv(graph: Graph, node: Node) -> Value:
    source, kernel = node.map(), node.weight(1, 4)
    graph.use(node, 1)
    bias = node.constant(2)
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


def _batchnorm(graph: Graph, node: Node) -> Value:
    source = node.map()
    for at in range(1, 5):
        if node.weight(at, 1).shape != source.shape[:1]:
            node.refuse(f"its input {at + 1} is not one number for each of {source.shape[0]} channels")
    if node.attributes.get("spatial", 1) != 1:
        node.refuse("it normalises each pixel (spatial = 0), not each channel")
    graph.use(node, 1)
    epsilon, kept = node.number("epsilon", 1e-5), node.number("momentum", 0.9)
    # float32 in the file; the decimal that was meant is the shortest one that gives it.
    made = graph.op(node, "batchnorm", source, epsilon=_decimal(epsilon), kept=_decimal(kept))
    graph.keep(made, **{end: node.constant(at) for at, end in enumerate(("gamma", "beta", "mean", "var"), 1)})
    return made


def _decimal(number: float) -> float:
    """The shortest decimal of a float32: 0.9 of 0.8999999761581421."""
    return float(str(np.float32(number)))


def _clip(graph: Graph, node: Node) -> Value:
    ends = []
    for at, (name, default) in enumerate((("min", _LOWEST), ("max", _HIGHEST)), 1):
        given = node.constant(at)
        number = node.number(name, default) if given is None else float(given.ravel()[0]) if given.size == 1 else None
        if number is None or not math.isfinite(number):
            node.refuse(f"its {name} is not one finite number")
        ends.append(_decimal(number) if abs(number) < _HIGHEST else number)
    low, high = ends
    if (low, high) == (0, _HIGHEST):
        return RULES["Relu"](graph, node)
    source = node.value()
    return graph.each(
        node, source, lambda x: np.clip(x, low, high), Parts("clip", (source,), {"low": low, "high": high})
    )


def _plain(kind: str, function: Function | None = None) -> Rule:
    """Of an op without params. function: what it does to each number, where that may be a part of another op."""

    def rule(graph: Graph, node: Node) -> Value:
        source = node.value(0, ("", TURNED))
        if function is None:
            return replace(graph.op(node, kind, source), form=source.form)
        return graph.each(node, source, function, Parts(kind, (source,)))

    return rule


def _with(kind: str, **params: tuple[str, float]) -> Rule:
    """Of an op with params; params: name -> the attribute of it, and its default."""

    def rule(graph: Graph, node: Node) -> Value:
        numbers = {name: _decimal(node.number(*source)) for name, source in params.items()}
        return graph.op(node, kind, node.value(), **numbers)

    return rule


def _hardsigmoid(graph: Graph, node: Node) -> Value:
    slope, offset = _decimal(node.number("alpha", 0.2)), _decimal(node.number("beta", 0.5))
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


def _gemm(graph: Graph, node: Node) -> Value:
    source, weight = _vector(graph, node), node.weight(1, 2)
    given = node.attributes
    if given.get("transA", 0) or node.number("alpha", 1.0) != 1 or node.number("beta", 1.0) != 1:
        node.refuse("it transposes or scales its input, which no dense layer here does")
    graph.use(node, 1)
    inputs, features = weight.shape[::-1] if given.get("transB", 0) else weight.shape
    if (inputs,) != source.shape:
        node.refuse(f"its weights take {inputs} features, and its input has {source.shape[0]}")
    bias = node.constant(2)
    if bias is not None and bias.size != features:
        node.refuse(f"its bias has {bias.size} numbers, and there are {features} features")
    made = graph.op(node, "dense", source, features=features, bias=bias is not None)
    graph.keep(made, weight=weight if given.get("transB", 0) else weight.T, bias=None if bias is None else bias.ravel())
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
    source, asked = graph.settled(node, node.value(0, ("", SPLIT, SWAPPED))), node.integers("shape", 1)
    if not asked:
        return node.refuse("it has no shape to make")
    whole = (graph.batch, *source.shape)
    wanted = [whole[at] if side == 0 and at < len(whole) else side for at, side in enumerate(asked)]
    if wanted.count(-1) == 1:
        known = math.prod(side for side in wanted if side != -1)
        wanted[wanted.index(-1)] = math.prod(whole) // known if known > 0 else -1
    if tuple(wanted) == whole:
        plain = replace(source, form="", groups=0)
        return graph.op(node, "shuffle", plain, groups=source.groups) if source.form == SWAPPED else plain
    if source.form:
        return node.refuse(f"it makes {tuple(wanted)} of channels in groups; only a channel shuffle is read")
    if len(wanted) == 5 and len(whole) == 4 and (wanted[0], *wanted[3:]) == (whole[0], *whole[2:]):
        return replace(source, form=SPLIT, groups=wanted[1])
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


def _two(kind: str) -> Rule:
    """Of an operator of two inputs. kind: of the op that it is where both are values of their own; '' for none."""

    def rule(graph: Graph, node: Node) -> Value:
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
    maker = graph.maker(value)
    if kind == "add" and not maker.params.get("bias", True) and graph.is_read_once(node, at):
        graph.change(value, bias=True)
        graph.keep(value, bias=other.ravel())
        return value
    graph.use(node, 1 - at)
    end = "shift" if kind == "add" else "scale"
    made = graph.op(node, end, value)
    graph.keep(made, **{end: other.ravel()})
    return replace(made, form=value.form)


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


def _layernorm(graph: Graph, node: Node) -> Value:
    value = graph.settled(node, node.value(0, ("", TURNED)))
    rank = len(value.shape) + 1
    is_last = node.attributes.get("axis", -1) in (-1, rank - 1)
    if not is_last or (len(value.shape) == 3 and value.form != TURNED) or len(node.proto.output) > 1:
        return node.refuse("it normalises other axes than the channels alone, which is not read")
    arrays = {end: node.constant(at) for at, end in ((1, "gamma"), (2, "beta"))}
    graph.use(node, 1)
    made = graph.op(node, "layernorm", value, epsilon=_decimal(node.number("epsilon", 1e-5)))
    zero = np.zeros(value.shape[0], np.float32)
    graph.keep(made, gamma=arrays["gamma"], beta=zero if arrays["beta"] is None else arrays["beta"])
    return replace(made, form=value.form)


def _lrn(graph: Graph, node: Node) -> Value:
    defaults = {"alpha": ("alpha", 1e-4), "beta": ("beta", 0.75), "bias_term": ("bias", 1.0)}
    numbers = {name: _decimal(node.number(*source)) for name, source in defaults.items()}
    return graph.op(node, "lrn", node.map(), size=node.attributes.get("size"), **numbers)


def _joined(graph: Graph, node: Node, kind: str) -> Value:
    left, right = node.value(0, ("", TURNED)), node.value(1, ("", TURNED))
    if left.vector and right.vector:
        made = graph.op(node, kind, Value(left.vector, left.shape[:1]), Value(right.vector, right.shape[:1]))
        return vector_of(made, made.op)
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


RULES: dict[str, Callable[[Graph, Node], Value]] = {
    "Abs": _unary,
    "Add": _two("add"),
    "AveragePool": _pool("avgpool"),
    "BatchNormalization": _batchnorm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _two(""),
    "Dropout": _as_it_is,
    "Elu": _with("elu", alpha=("alpha", 1.0)),
    "Erf": _unary,
    "Exp": _unary,
    "Flatten": _flatten,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global("globalpool"),
    "GlobalMaxPool": _global("globalmax"),
    "HardSigmoid": _hardsigmoid,
    "HardSwish": _plain("hardswish"),
    "Identity": _as_it_is,
    "LRN": _lrn,
    "LayerNormalization": _layernorm,
    "LeakyRelu": _with("leakyrelu", slope=("alpha", 0.01)),
    "Log": _unary,
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "Max": _two(""),
    "MaxPool": _pool("maxpool"),
    "Min": _two(""),
    "Mish": _plain("mish"),
    "Mul": _two("multiply"),
    "Neg": _unary,
    "Pow": _two(""),
    "PRelu": _prelu,
    "Reciprocal": _unary,
    "ReduceMax": _reduced("globalmax"),
    "ReduceMean": _reduced("globalpool"),
    "Relu": _plain("relu", lambda x: np.maximum(x, 0)),
    "Reshape": _reshape,
    "Sigmoid": _plain("sigmoid", sigmoid),
    "Softmax": _softmax,
    "Softplus": _plain("softplus", softplus),
    "Sqrt": _unary,
    "Squeeze": _squeeze,
    "Sum": _two("add"),
    "Sub": _two(""),
    "Swish": _swish,
    "Tanh": _plain("tanh", np.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""ONNX operator -> what it becomes."""
