"""`invoke import`: a network of one's own as a file of ops that a spec may name."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import files
from orchestrator.console.progress import Console
from orchestrator.errors import SpecError
from orchestrator.networks import InputSize, lowerings, own
from workers.net import Net


@dataclass(frozen=True)
class ImportRequest:
    """source: an ONNX file. name: of the network. input_size: where the file leaves it open, or for another one."""

    source: Path
    name: str
    input_size: InputSize | None
    to: Path


def import_network(request: ImportRequest, console: Console) -> tuple[str, list[dict[str, Any]]]:
    """A title and a row for each op; the network is written to `to`/NAME.json.

    Raises SpecError: one sentence with the file and, if it has one, the node.
    """
    try:
        from orchestrator.networks import onnx_file
    except ImportError:
        raise SpecError('reading ONNX needs the package onnx: pip install -e ".[onnx]" in the clone.') from None
    try:
        seen = onnx_file.read(request.source, request.input_size)
        own.keep(seen.net.data)
    except ValueError as error:
        raise SpecError(f"{request.source}: {error}") from None
    net, name = seen.net, request.name or own.name_of(request.source)
    target = request.to / f"{name}.json"
    text = _text(name, net)
    if target.exists() and target.read_text(encoding="utf-8", errors="replace") != text:
        raise SpecError(f"{target} is there and holds another network; remove it, or give another name: --as=NAME.")
    files.write_atomically(target, text)
    for told in seen.told:
        console.say(told)
    for framework, ops in lowerings.lacking(net).items():
        kinds = sorted({op.kind for op in net.ops if op.name in ops})
        which = ops[0] if len(ops) == 1 else f"{len(ops)} ops, the first {ops[0]}"
        console.say(f"{framework} lacks {', '.join(kinds)}: {which}")
    shape, millions = "x".join(map(str, net.input)), net.multiply_adds / 1e6
    title = (
        f"{name}@{InputSize.of(list(net.input))}: {shape} to {net.classes} logits, {len(net.ops) - 1} ops, "
        f"{net.weight_count:,} weights, {millions:,.3g} million multiply-adds; written to {target}"
    )
    return title, _rows(net)


def _text(name: str, net: Net) -> str:
    """The file: an op a line."""
    ops = ",\n".join(f"  {json.dumps(op)}" for op in net.data)
    return f'{{\n "label": {json.dumps(name)},\n "ops": [\n{ops}\n ]\n}}\n'


def _rows(net: Net) -> list[dict[str, Any]]:
    weights = {op.name: 0 for op in net.ops}
    for weight in net.weights:
        weights[weight.name.split(".")[0]] += math.prod(weight.shape) if weight.is_trainable else 0
    return [
        {
            "op": op.name,
            "kind": op.kind,
            "reads": ", ".join(op.inputs),
            "shape": "x".join(map(str, net.shapes[op.name])),
            "weights": weights[op.name],
            "params": ", ".join(f"{name} {_word(value)}" for name, value in op.params.items()),
        }
        for op in net.ops
    ]


def _word(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
