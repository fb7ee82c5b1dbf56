"""ONNX operators that cut, pad and enlarge values."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from orchestrator.networks.onnx_graph import TURNED, Array, Graph, Node, Rule, Value, decimal

_FORMS = ("", TURNED)
_MOST_SIDE = 8192


def _channel_axis(value: Value) -> int:
    return len(value.shape) if value.form == TURNED else 1


def _axes(node: Node, given: Sequence[int], rank: int) -> list[int]:
    """Axes of which negative ones count from the last."""
    found = [axis + rank if axis < 0 else axis for axis in given]
    if len(set(found)) != len(found) or not all(0 <= axis < rank for axis in found):
        node.refuse(f"its axes are {tuple(given)}; its input has {rank}")
    return found


def _slice(graph: Graph, node: Node) -> Value:
    value = node.value(0, _FORMS)
    shape = graph.shape_of(value)
    starts, ends = node.integers("starts", 1) or (), node.integers("ends", 2) or ()
    axes = _axes(node, node.integers("axes", 3) or range(len(starts)), len(shape))
    steps = node.integers("steps", 4) or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        node.refuse("its starts, ends, axes and steps are not of one length")
    found = value
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        first, last, _ = slice(start, end).indices(shape[axis])
        if step == 1 and (first, last) == (0, shape[axis]):
            continue
        if step != 1 or axis != _channel_axis(value):
            node.refuse(
                "it takes a part of the rows, columns or pictures, or every second channel; only channels or "
                "features one after the other are read"
            )
        found = _part(graph, node, value, first, last)
    return found


def _part(graph: Graph, node: Node, value: Value, begin: int, end: int) -> Value:
    if (begin, end) == (0, value.shape[0]):
        return value
    if value.vector:
        vector = Value(value.vector, value.shape[:1])
        made = graph.op(node, "slice", vector, begin=begin, end=end)
        return replace(made, op=f"{made.op}__map", shape=(*made.shape, 1, 1), vector=made.op, form=value.form)
    return replace(graph.op(node, "slice", value, begin=begin, end=end), form=value.form)


def _split(graph: Graph, node: Node) -> Value | list[Value]:
    value, count = node.value(0, _FORMS), len(node.proto.output)
    shape = graph.shape_of(value)
    (axis,) = _axes(node, (node.integers("axis") or (0,))[:1], len(shape))
    if axis != _channel_axis(value):
        node.refuse("it divides rows, columns or pictures; only channels or features are divided here")
    size = -(-shape[axis] // count)
    sizes = node.integers("split", 1) or [size] * (count - 1) + [shape[axis] - size * (count - 1)]
    if len(sizes) != count or sum(sizes) != shape[axis] or min(sizes) < 1:
        node.refuse(f"it divides {shape[axis]} channels into {tuple(sizes)}, as {count} values")
    ends = np.cumsum(sizes)
    return [_part(graph, node, value, int(end) - size, int(end)) for size, end in zip(sizes, ends, strict=True)]


def _pad(graph: Graph, node: Node) -> Value:
    value = node.map(forms=_FORMS)
    shape = graph.shape_of(value)
    mode = node.word("mode", "constant")
    if mode != "constant":
        node.refuse(f"its mode is {mode}; only a constant is read")
    pads = node.integers("pads", 1) or ()
    axes = _axes(node, node.integers("", 3) or range(len(shape)), len(shape))
    if len(pads) != 2 * len(axes) or min(pads, default=-1) < 0:
        node.refuse(f"its pads are {pads}; they must be two for each axis, none negative")
    sides = {axis: (pads[at], pads[at + len(axes)]) for at, axis in enumerate(axes)}
    rows, columns = (1, 2) if value.form == TURNED else (2, 3)
    padding = (*sides.pop(rows, (0, 0)), *sides.pop(columns, (0, 0)))
    if any(map(any, sides.values())):
        node.refuse("it pads pictures or channels; only rows and columns are padded here")
    if not any(padding):
        return value
    given = node.constant(2)
    number = node.number("value", 0.0) if given is None else float(given.ravel()[0]) if given.size == 1 else math.nan
    if not math.isfinite(number):
        node.refuse("its value is not one finite number")
    return replace(graph.op(node, "pad", value, padding=padding, value=decimal(number)), form=value.form)


def _resize(graph: Graph, node: Node) -> Value:
    value = node.map(forms=_FORMS)
    shape = graph.shape_of(value)
    is_early = node.kind == "Upsample" or graph.opset < 11
    mode = node.word("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear"):
        node.refuse(f"its mode is {mode}; nearest and linear are read")
    if node.attributes.get("exclude_outside", 0) or node.word("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse("it has exclude_outside or keep_aspect_ratio_policy, which are not read")
    factors = _factors(node, shape, scales_at=1 if is_early else 2)
    rows, columns = (1, 2) if value.form == TURNED else (2, 3)
    if any(factor != 1 for axis, factor in enumerate(factors) if axis not in (rows, columns)):
        node.refuse("it enlarges pictures or channels; only rows and columns are enlarged here")
    for axis in (rows, columns):
        if shape[axis] * factors[axis] > _MOST_SIDE:
            node.refuse(f"it makes a side of {shape[axis] * factors[axis]} pixels; at most {_MOST_SIDE} are read")
        _require_usual(node, shape[axis], factors[axis], mode, is_early=is_early)
    factor = (factors[rows], factors[columns])
    if factor == (1, 1):
        return value
    made = graph.op(node, "upsample", value, factor=factor, is_bilinear=mode != "nearest")
    return replace(made, form=value.form)


def _factors(node: Node, shape: tuple[int, ...], scales_at: int) -> list[int]:
    """Of each axis, by how much it grows."""
    axes = _axes(node, node.integers("axes") or range(len(shape)), len(shape))
    scales: Array | None = node.constant(scales_at)
    given = node.attributes.get("scales")
    if scales is None and isinstance(given, list) and all(isinstance(scale, float) for scale in given):
        scales = np.asarray(given)
    if scales is None or not scales.size:
        sizes = node.integers("sizes", 3) or ()
        scales = np.array([size / shape[axis] for size, axis in zip(sizes, axes, strict=False)])
    if scales.shape != (len(axes),) or scales.dtype.kind not in "fiu":
        node.refuse("it says neither a scale nor a size for each axis")
    factors = [1] * len(shape)
    for axis, scale in zip(axes, scales.tolist(), strict=True):
        if not 1 <= scale <= 64 or scale != int(scale):
            node.refuse(f"it makes an axis {scale:g} times as long; only whole factors up to 64 are read")
        factors[axis] = int(scale)
    return factors


def _require_usual(node: Node, size: int, factor: int, mode: str, *, is_early: bool) -> None:
    """Refuse a node whose pixels lie elsewhere than those of an `upsample`."""
    how = node.word("coordinate_transformation_mode", "asymmetric" if is_early else "half_pixel")
    numbers, count = np.arange(size * factor), size * factor
    centres = (numbers + 0.5) / factor - 0.5
    places = {
        "half_pixel": centres,
        "half_pixel_symmetric": centres,
        "pytorch_half_pixel": centres if count > 1 else np.zeros(1),
        "asymmetric": numbers / factor,
        "align_corners": numbers * (size - 1) / max(1, count - 1),
        "tf_half_pixel_for_nn": (numbers + 0.5) / factor,
    }.get(how)
    if places is None:
        node.refuse(f"its coordinate_transformation_mode is {how}, which is not read")
    places = np.clip(places, 0, size - 1)
    if mode != "nearest":
        is_usual = np.allclose(places, np.clip(centres, 0, size - 1))
    else:
        rounded = node.word("nearest_mode", "floor" if is_early else "round_prefer_floor")
        chosen = {
            "floor": np.floor(places),
            "ceil": np.ceil(places),
            "round_prefer_floor": np.ceil(places - 0.5),
            "round_prefer_ceil": np.floor(places + 0.5),
        }.get(rounded, np.full(count, -1))
        is_usual = bool((chosen == numbers // factor).all())
    if not is_usual:
        node.refuse(f"with {how} its pixels lie elsewhere than in the frameworks; half_pixel is read, and what agrees")


RULES: dict[str, Rule] = {
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Upsample": _resize,
}
"""ONNX operator -> what it becomes."""
