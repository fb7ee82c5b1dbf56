"""What an ONNX file computes from constants and shapes alone, so that no op of a network comes of it."""

import math
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

MOST_VALUES = 64 * 2**20
"""Of an array that a file's constants make."""

MOST_STORED = 2**28
"""Of an array that a file holds."""

MOST_FILLED = 2**31
"""Of one number in all places, which takes no memory."""

FOLDED = frozenset(
    (
        "Add",
        "Cast",
        "CastLike",
        "Ceil",
        "Concat",
        "ConstantOfShape",
        "Div",
        "Equal",
        "Expand",
        "Gather",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceProd",
        "Reshape",
        "Shape",
        "Size",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    )
)
"""The operators that are computed here where all of their inputs are known."""


def tensor(proto: onnx.TensorProto) -> NDArray[np.generic]:
    """The array of an initialiser. Raises ValueError, without its name, for one that is damaged or elsewhere."""
    if any(side < 0 for side in proto.dims):
        raise ValueError("has a negative dimension")
    if math.prod(proto.dims) > MOST_STORED:
        raise ValueError(f"promises {math.prod(proto.dims):,} values, more than {MOST_STORED:,}")
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError("lies in another file; save the model with its data inside (onnx.save of a loaded model)")
    try:
        return np.asarray(numpy_helper.to_array(proto))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"cannot be read as numbers ({type(error).__name__})") from None


def folded(node: onnx.NodeProto, inputs: Sequence[NDArray[np.generic] | None], opset: int) -> list[NDArray[np.generic]]:
    """The outputs of a node of FOLDED. inputs: in its order, None where one is left out.

    Raises ValueError, without the node's name, for one that cannot be computed or would be too large.
    """
    if node.op_type == "ConstantOfShape" and len(inputs) == 1 and inputs[0] is not None:
        return [_filled(node, inputs[0])]
    _refuse_large(node, inputs)
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    del kept.input[:]
    kept.input.extend("" if value is None else f"in{at}" for at, value in enumerate(inputs))
    feeds = {f"in{at}": value for at, value in enumerate(inputs) if value is not None}
    graph = onnx.helper.make_graph(
        [kept],
        "constants",
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds],
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.output],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        with np.errstate(all="ignore"):
            outputs = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # noqa: BLE001 - whatever numpy raises in it, the node cannot be computed
        raise ValueError(f"cannot be computed ({type(error).__name__})") from None
    return [np.asarray(value) for value in outputs]


def _filled(node: onnx.NodeProto, shape: NDArray[np.generic]) -> NDArray[np.generic]:
    """One number in all places; it takes the memory of one."""
    sides = [int(side) for side in shape.ravel()[:9]] if shape.dtype.kind in "iu" else [-1]
    if len(sides) > 8 or min(sides, default=1) < 0 or math.prod(sides) > MOST_FILLED:
        raise ValueError(f"makes an array of shape {sides}, of which none or too many values come")
    given = [tensor(onnx.helper.get_attribute_value(part)) for part in node.attribute if part.name == "value"]
    if given and given[0].size != 1:
        raise ValueError("has a value that is not one number")
    return np.broadcast_to(given[0].ravel()[0] if given else np.float32(0), sides)


def _refuse_large(node: onnx.NodeProto, inputs: Sequence[NDArray[np.generic] | None]) -> None:
    """Before it is computed: a few numbers in a file may ask for more memory than there is."""
    sizes = [1 if value is None else value.size for value in inputs]
    known = [value for value in inputs if value is not None]
    made = sum(sizes)
    try:
        if node.op_type == "Expand" and known:
            made += math.prod(max(0, int(side)) for side in known[-1].ravel()[:64]) * max(1, sizes[0])
        elif node.op_type == "Tile" and known:
            made += sizes[0] * math.prod(max(0, int(times)) for times in known[-1].ravel()[:64])
        elif node.op_type == "Range" and len(known) == 3:
            start, limit, delta = (float(value) for value in known)
            made += int(abs((limit - start) / delta)) if delta else MOST_VALUES
        elif node.op_type in ("Add", "Sub", "Mul", "Div", "Pow", "Where", "Max", "Min", "Equal", "Mod"):
            made = math.prod(np.broadcast_shapes(*(value.shape for value in known)))
    except (ValueError, TypeError, OverflowError):
        raise ValueError("has inputs that do not fit together") from None
    if made > MOST_VALUES:
        raise ValueError(f"makes {made:,} values, more than {MOST_VALUES:,}")
