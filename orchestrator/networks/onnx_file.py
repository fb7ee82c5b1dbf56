"""An ONNX file as a network: its graph, node by node, as ops of workers/ops.py.

What depends on constants and shapes alone is computed; Identity and Dropout are left out; a softmax at the end is taken
off. Weights are drawn anew, by seed, so that of an initialiser only the shape counts.
Source: the ONNX operator specification, opsets 7 to 25.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from orchestrator.networks import onnx_layers, onnx_maps, onnx_norms, onnx_shapes, onnx_values
from orchestrator.networks.input_size import InputSize
from orchestrator.networks.onnx_graph import Array, Graph, shown
from workers.net import Net

RULES = {
    **onnx_layers.RULES,
    **onnx_maps.RULES,
    **onnx_norms.RULES,
    **onnx_shapes.RULES,
    **onnx_values.RULES,
}

OPSETS = range(7, 26)
MOST_BYTES = 2 * 2**30
MOST_NODES = 20_000


@dataclass(frozen=True)
class Imported:
    """A network that a file held. told: what was changed on the way, a sentence each."""

    net: Net
    told: tuple[str, ...]
    arrays: Mapping[str, Array]

    def weights(self) -> dict[str, Array]:
        """Those of the file: name -> float32 array."""
        return {weight.name: self.arrays[weight.name].astype(np.float32) for weight in self.net.weights}


def read(path: Path, input_size: InputSize | None = None) -> Imported:
    """The network of an ONNX file, at the size that it names or at `input_size`.

    Raises ValueError, one sentence that names the node, for a file that is no network as workers/net.py has them.
    """
    model = _load(path)
    if model.graph.sparse_initializer:
        raise ValueError("it has sparse weights, which are not read.")
    known = {proto.name for proto in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in known]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise ValueError(
            f"it has {len(inputs)} inputs and {len(model.graph.output)} outputs; a network here has one of each."
        )
    pictures = _pictures(inputs[0], input_size)
    graph = Graph(model, _opset(model), pictures.batch, tuple(pictures.size), inputs[0].name)
    for node in model.graph.node:
        graph.add(node, RULES)
    net = graph.finish(model.graph.output[0].name)
    return Imported(net, tuple(graph.told), graph.weights)


def _load(path: Path) -> onnx.ModelProto:
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MOST_BYTES:
            raise ValueError(f"it has {size_bytes / 2**30:.1f} GiB; at most 2 GiB are read.")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror}).") from None
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError:
        raise ValueError("it is no ONNX model, or is damaged.") from None
    if not model.graph.node:
        raise ValueError("it holds no graph: it is no ONNX model, or an empty one.")
    if len(model.graph.node) > MOST_NODES:
        raise ValueError(f"it has {len(model.graph.node):,} nodes; at most {MOST_NODES:,} are read.")
    names = [value.name for value in (*model.graph.input, *model.graph.output, *model.graph.initializer)]
    for node in model.graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [part.name for part in node.attribute]
    if not all(isinstance(name, str) for name in names):  # protobuf gives bytes for what is no UTF-8
        raise ValueError("it holds a name that is no UTF-8; it is damaged.")
    return model


def _opset(model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] not in OPSETS:
        seen = ", ".join(map(str, versions)) or "none"
        raise ValueError(f"its opset is {seen}; opsets {OPSETS[0]} to {OPSETS[-1]} are read.")
    return int(versions[0])


class _Pictures(NamedTuple):
    batch: int
    size: InputSize


def _pictures(value: onnx.ValueInfoProto, asked: InputSize | None) -> _Pictures:
    name, kind = shown(value.name), value.type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        known = onnx.TensorProto.DataType.keys()
        seen = known[kind.elem_type].lower() if 0 <= kind.elem_type < len(known) else "unknown"
        raise ValueError(f"its input '{name}' is of type {seen}; pictures are float32.")
    sides = [side.dim_value if side.HasField("dim_value") else 0 for side in kind.shape.dim]
    if len(sides) != 4:
        raise ValueError(f"its input '{name}' has {len(sides)} axes; pictures are (batch, channels, height, width).")
    batch, *rest = sides
    if asked is None and not all(side > 0 for side in rest):
        raise ValueError(f"its input '{name}' leaves its size open; give one, for example: \"input_sizes\": [32].")
    if asked is not None and rest[0] > 0 and rest[0] != asked.channels:
        raise ValueError(f"its input '{name}' has {rest[0]} channels; {asked} has {asked.channels}.")
    try:
        return _Pictures(max(1, batch), asked or InputSize.of(rest))
    except ValueError as error:
        raise ValueError(f"its input '{name}' is {' x '.join(map(str, rest))}: {error}.") from None
