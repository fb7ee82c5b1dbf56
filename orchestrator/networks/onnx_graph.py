"""The graph of an ONNX file while it is followed, node by node, for one batch of pictures."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray

from orchestrator.errors import shortened
from orchestrator.networks import onnx_constants
from orchestrator.networks.onnx_functions import Function, named
from workers.net import Net
from workers.ops import KINDS, PARAMS, Op

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """What an op makes: the op's name, and its shape without the batch.

    vector: of a map of 1 x 1 that no op makes yet: the op whose vector it is.
    source, function: of a function of each number of another value: that value, and what is done to it. Where no op
                      makes it yet, `op` is '', `origin` the node whose output it is, and `parts` the op that this
                      node alone is.
    form, groups: '' of a value as the ops here have it; otherwise how its axes stand in the file.
    """

    op: str
    shape: Shape
    vector: str = ""
    source: "Value | None" = None
    function: Function | None = None
    origin: "Node | None" = None
    parts: "Parts | None" = None
    form: str = ""
    groups: int = 0


TURNED, SPLIT, SWAPPED, GROUPED = "turned", "split", "swapped", "grouped"
"""Forms of a value: axes (batch, height, width, channels); channels as (groups, channels); the same, swapped; and
(batch, groups, all else)."""


@dataclass(frozen=True)
class Parts:
    """An op that is not made yet."""

    kind: str
    inputs: tuple[Value, ...]
    params: dict[str, Any] = field(default_factory=dict)


@dataclass
class Node:
    """A node of the file.

    place: its place in the file. name: for messages.
    inputs: each a value that depends on the picture, an array that does not, or None for one left out.
    """

    proto: onnx.NodeProto
    place: int
    name: str
    kind: str
    inputs: list[Value | Array | None] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)

    def refuse(self, why: str) -> NoReturn:
        """Raise the sentence that names this node."""
        raise ValueError(f"node '{self.name}' ({self.kind}): {' '.join(why.split()).rstrip('.')}.")

    def value(self, at: int = 0, forms: Collection[str] = ("",)) -> Value:
        """The input at that place, which must depend on the picture, in one of these forms."""
        given = self.inputs[at] if at < len(self.inputs) else None
        if not isinstance(given, Value):
            self.refuse(f"its input {at + 1} does not depend on the picture")
        if given.form not in forms:
            self.refuse("its input has its axes in another order than (batch, channels, height, width)")
        return given

    def map(self, at: int = 0, forms: Collection[str] = ("",)) -> Value:
        """The same, which must be a map."""
        value = self.value(at, forms)
        if len(value.shape) != 3:
            self.refuse(f"its input {at + 1} is of shape {value.shape}, not (channels, height, width)")
        return value

    def constant(self, at: int) -> Array | None:
        """The input at that place, which must not depend on the picture; None where it is left out."""
        given = self.inputs[at] if at < len(self.inputs) else None
        if isinstance(given, Value):
            self.refuse(f"its input {at + 1} depends on the picture; only a constant is read there")
        return given

    def weight(self, at: int, rank: int) -> Array:
        """The same, which must be there and have so many axes, none of them empty."""
        array = self.constant(at)
        if array is None or array.ndim != rank or not array.size:
            shape = "left out" if array is None else f"of shape {array.shape}"
            self.refuse(f"its input {at + 1} is {shape}; it must have {rank} axes")
        return array

    def integers(self, attribute: str, at: int | None = None) -> tuple[int, ...] | None:
        """Integers of an attribute, or of the input `at` that later opsets have in its place."""
        given = self.attributes.get(attribute)
        if given is None and at is not None:
            given = self.constant(at)
        if given is None:
            return None
        numbers = np.atleast_1d(np.asarray(given))
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or numbers.size > 16:
            self.refuse(f"{attribute} is {shortened(str(given))}; it must be integers")
        return tuple(int(number) for number in numbers)

    def number(self, attribute: str, default: float) -> float:
        """A number of an attribute."""
        given = self.attributes.get(attribute, default)
        if not isinstance(given, (int, float)) or not np.isfinite(given):
            self.refuse(f"{attribute} is {shortened(str(given))}; it must be a finite number")
        return given

    def word(self, attribute: str, default: str) -> str:
        """A word of an attribute."""
        given = self.attributes.get(attribute, default)
        if isinstance(given, bytes):
            given = given.decode("utf-8", "replace")
        if not isinstance(given, str):
            self.refuse(f"{attribute} is no word")
        return shown(given)


Rule = Callable[["Graph", Node], Value | list[Value]]
"""What a node makes; of several outputs, a list."""


class Graph:
    """The ops so far.

    opset: of the file. batch: pictures, as the file has it, or 1. told: what was changed on the way, a sentence each.
    weights: those of the file, under the names of workers/net.py.
    """

    def __init__(self, model: onnx.ModelProto, opset: int, batch: int, shape: Shape, source: str) -> None:
        self.opset, self.batch = opset, batch
        self.told: list[str] = []
        self.weights: dict[str, Array] = {}
        self._tensors = {proto.name: proto for proto in model.graph.initializer}
        self._ops: dict[str, Op] = {"input": Op("input", "input", (), {"shape": shape})}
        self._shapes: dict[str, Shape] = {"input": shape}
        self._known: dict[str, Value | Array] = {source: Value("input", shape)}
        self._count = 0
        self._places = {"input": -1}
        self._users: dict[str, str] = {}
        self._awaited: dict[str, list[str]] = {}
        self._same_as: dict[str, str] = {}
        self._settled: dict[int, tuple[Value, Value]] = {}
        self._outputs = _ends(model)
        self._outputs_of = [node.output[0] if node.output else "" for node in model.graph.node]
        self._reads = Counter(name for node in model.graph.node for name in node.input)
        self._reads.update(output.name for output in model.graph.output)

    def add(self, proto: onnx.NodeProto, rules: Mapping[str, Rule]) -> None:
        """One more node. Raises ValueError, a sentence that names it, for one that is not read."""
        name = shown(proto.name or (proto.output[0] if proto.output else "") or proto.op_type)
        node = Node(proto, self._count, name, shown(proto.op_type))
        self._count += 1
        if proto.domain not in ("", "ai.onnx"):
            node.refuse(f"it is of the domain '{shown(proto.domain)}'; only ONNX's own operators are read")
        if not proto.output:
            node.refuse("it makes no value")
        node.inputs = [self._input(node, source) for source in proto.input]
        try:
            node.attributes = {part.name: onnx.helper.get_attribute_value(part) for part in proto.attribute}
        except (ValueError, TypeError, AttributeError):
            node.refuse("an attribute of it cannot be read")
        for output, value in zip(proto.output, self._made(node, rules), strict=False):
            if output in self._known:
                node.refuse(f"it makes '{shown(output)}', which an earlier node makes")
            self._known[output] = value

    def op(self, node: Node, kind: str, *inputs: Value, **params: Any) -> Value:
        """Append an op of a node; its value."""
        return self._append(node, kind, tuple(self.made(node, value) for value in inputs), params)

    def each(self, node: Node, value: Value, function: Function, parts: Parts | None = None) -> Value:
        """A function of each number of a value; no op makes it until one needs it. parts: the op that the node is."""
        inner = value.function
        made = Value("", value.shape, source=value, function=function, origin=node, parts=parts, form=value.form)
        if value.source is None or inner is None:
            return made
        return replace(made, source=value.source, function=lambda x: function(inner(x)))

    def settled(self, node: Node, value: Value) -> Value:
        """The value, in its form, made by an op: of a function in several nodes, the op that computes it."""
        if value.op or value.source is None or value.function is None:
            return value
        if id(value) not in self._settled:
            self._settled[id(value)] = value, self._op_of(value.origin or node, value)
        return replace(self._settled[id(value)][1], form=value.form, groups=value.groups)

    def _op_of(self, node: Node, value: Value) -> Value:
        parts, source = value.parts, value.source
        is_whole = parts is not None and all(given.op for given in parts.inputs)
        known = None if is_whole or value.function is None else named(value.function)
        if known is not None and source is not None:
            return self.op(node, known.kind, source, **known.params) if known.kind else self.settled(node, source)
        if parts is None:
            node.refuse("with the nodes before it, it is a function of each value that is none of those that are read")
        return self.op(node, parts.kind, *parts.inputs, **parts.params)

    def made(self, node: Node, value: Value) -> str:
        """The op that makes a value: a map of 1 x 1 is made of its vector now, if none made it before."""
        value = self.settled(node, value)
        if not value.vector:
            return value.op
        name = f"{value.vector}__map"
        if name not in self._ops:
            self._append(node, "unflatten", (value.vector,), {}, name)
            self._places[name] = self._places[value.vector]  # before all that read it, in whatever order they settle
        return name

    def keep(self, value: Value, **arrays: Array | None) -> None:
        """The file's weights of the op that makes a value, by the ends of their names; None for one that it lacks."""
        for end, array in arrays.items():
            if array is not None:
                self.weights[f"{value.op}.{end}"] = array

    def await_weights(self, value: Value, *ends: str) -> None:
        """Weights with these ends, of the op that makes a value, may come in later nodes, in this order."""
        self._awaited[value.op] = list(ends)

    def passes_on(self, node: Node, value: Value) -> None:
        """A node changes no number of a value whose op awaits weights: they may come after it."""
        if self._is_direct(node, 0, value):
            self._outputs_of[self._places[value.op]] = node.proto.output[0]

    def takes_weight(self, node: Node, at: int, value: Value, end: str, array: Array) -> bool:
        """Whether the op that makes the input at that place, for this node alone, awaits this weight; it is given."""
        ends = self._awaited.get(value.op, [])
        if end not in ends or not self._is_direct(node, at, value):
            return False
        del ends[: ends.index(end) + 1]
        op = self._ops[value.op]
        if end == "bias":
            self._ops[value.op] = op._replace(params={**op.params, "bias": True})
        self.keep(value, **{end: array})
        self._outputs_of[self._places[value.op]] = node.proto.output[0]
        return True

    def _is_direct(self, node: Node, at: int, value: Value) -> bool:
        """Whether the op that makes a value awaits weights, and its output is read by this node and by no other."""
        name = node.proto.input[at]
        return value.op in self._awaited and self._outputs_of[self._places[value.op]] == name and self._reads[name] == 1

    def shape_of(self, value: Value) -> Shape:
        """With the batch, its axes as the file has them."""
        channels, *sides = value.shape
        return (self.batch, *sides, channels) if value.form == TURNED else (self.batch, channels, *sides)

    def is_output(self, node: Node) -> bool:
        """Whether a node makes the output, or what no node reads but Identity and its like."""
        return node.proto.output[0] in self._outputs

    def use(self, node: Node, at: int) -> None:
        """A weight of a node. Raises ValueError for a kernel that another node has too: training would part the two.

        Vectors that are equal, such as all ones, exporters write once for all nodes; each gets its own.
        """
        name = node.proto.input[at]
        array = node.constant(at)
        if array is not None and array.size in array.shape:
            return
        name = self._same_as.get(name, name)
        if name in self._users:
            node.refuse(f"it shares '{shown(name)}' with node '{self._users[name]}'; shared weights are not read")
        if name in self._tensors:
            self._users[name] = node.name

    def finish(self, output: str) -> Net:
        """The network that makes this output. Raises ValueError if that is no vector."""
        value = self._known.get(output)
        if not isinstance(value, Value):
            raise ValueError(f"its output '{shown(output)}' is not made from the picture by any node.")
        value = self.settled(Node(onnx.NodeProto(output=[output]), self._count, shown(output), "output"), value)
        if value.form:
            raise ValueError(f"its output '{shown(output)}' has its axes in another order than (batch, classes).")
        last = value.vector or value.op
        if len(self._shapes[last]) == 3 and self._shapes[last][1:] == (1, 1):
            flat = Op(f"{last}__vector", "flatten", (last,), {})
            self._ops[flat.name], self._places[flat.name], last = flat, self._count, flat.name
            self.told.append("The output, a map of 1 x 1, is read as a vector.")
        elif len(self._shapes[last]) == 3:
            raise ValueError(f"its output is of shape {self._shapes[last]}; it must be a vector of logits.")
        needed, kept = {last}, []
        for op in reversed(self._ops.values()):
            if op.name in needed:
                needed.update(op.inputs)
                kept.append(op)
        if kept[-1].kind != "input":
            raise ValueError("its output does not depend on the picture.")
        for name, ends in self._awaited.items():
            lacks = [end for end in ends if f"{name}.{end}" in self.weights]  # all ones, or all zeros
            if lacks and name in needed:
                kind = self._ops[name].kind
                self.told.append(f"'{name}' ({kind}) has {' and '.join(lacks)} as weights; the file has none for it.")
        # In the order of the file: a function of several nodes became an op only when another node needed it.
        kept.reverse()
        return Net(sorted(kept, key=lambda op: self._places[op.name]))

    def _input(self, node: Node, name: str) -> Value | Array | None:
        if not name:
            return None
        if name not in self._known:
            if name not in self._tensors:
                node.refuse(f"it reads '{shown(name)}', which no earlier node makes: it is lacking, or part of a cycle")
            try:
                self._known[name] = onnx_constants.tensor(self._tensors[name])
            except ValueError as error:
                node.refuse(f"its input '{shown(name)}' {error}")
        return self._known[name]

    def _made(self, node: Node, rules: Mapping[str, Rule]) -> list[Value | Array]:
        depends = [value for value in node.inputs if isinstance(value, Value)]
        if node.kind == "Shape" and depends:
            if depends[0].form not in ("", TURNED):
                node.refuse("its input has its channels in groups; only a channel shuffle is read")
            whole = np.array(self.shape_of(depends[0]), np.int64)
            start, end = (node.integers(name) or (default,) for name, default in (("start", 0), ("end", len(whole))))
            return [whole[start[0] : end[0]]]
        if node.kind == "CastLike" and depends:
            return [self._like_a_picture(node)]
        if node.kind == "Constant" or (not depends and node.kind in onnx_constants.FOLDED):
            known = [value for value in node.inputs if not isinstance(value, Value)]
            if node.kind in _TURNING and node.proto.input:
                source = node.proto.input[0]
                self._same_as[node.proto.output[0]] = self._same_as.get(source, source)
            try:
                return list(onnx_constants.folded(node.proto, known, self.opset))
            except ValueError as error:
                node.refuse(str(error))
        if node.kind not in rules:
            node.refuse("it is not among the operators that are read")
        made = rules[node.kind](self, node)
        return list(made) if isinstance(made, list) else [made]

    def _like_a_picture(self, node: Node) -> Value | Array:
        """The first input of a CastLike, of which one input at least is a value: those are float32."""
        given, like = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
        if isinstance(given, Value) and (isinstance(like, Value) or (like is not None and like.dtype == np.float32)):
            return given
        if given is None or isinstance(given, Value):
            node.refuse("it makes another type than float32")
        return given.astype(np.float32)

    def _append(self, node: Node, kind: str, sources: tuple[str, ...], params: dict[str, Any], name: str = "") -> Value:
        for param, value in params.items():
            is_right, words = PARAMS[param]
            if not is_right(value):
                node.refuse(f"{param} is {value}; it must be {words}")
        op = Op(name or self._name(node), kind, sources, params)
        try:
            shape, _, _ = KINDS[kind].rule(op, [self._shapes[source] for source in sources])
        except ValueError as error:
            node.refuse(str(error))
        self._ops[op.name], self._shapes[op.name], self._places[op.name] = op, shape, node.place
        made = Value(op.name, shape)
        if params.get("bias") is False:
            self.await_weights(made, "bias")
        return made

    def _name(self, node: Node) -> str:
        """The node's name as one of an op: lower case, of letters, digits and '_'."""
        plain = re.sub(r"[^a-z0-9]+", "_", (node.proto.name or node.proto.output[0]).lower()).strip("_")[:80]
        plain = plain if plain[:1].isalpha() else f"{node.kind.lower()}_{plain}".rstrip("_")
        name, number = plain, 1
        while name in self._ops:
            number += 1
            name = f"{plain}_{number}"
        return name


_TURNING = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""What leaves a weight as it is, or turns its axes: it stays the same weight."""

_NOTHING = ("Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Cast")


def _ends(model: onnx.ModelProto) -> set[str]:
    """The output, and each value that becomes it without a change of a number."""
    ends = {output.name for output in model.graph.output}
    for node in reversed(model.graph.node):
        if node.op_type in _NOTHING and ends.intersection(node.output) and node.input:
            ends.add(node.input[0])
    return ends


def vector_of(value: Value, name: str) -> Value:
    """A vector that is read as a map of 1 x 1, until an op needs that map."""
    return replace(value, op=f"{name}__map", shape=(*value.shape, 1, 1), vector=name)


def shown(name: str) -> str:
    """A name of a file, of any characters and length, for a message."""
    return shortened("".join(letter if letter.isprintable() else "?" for letter in name))


def decimal(number: float) -> float:
    """The shortest decimal of a float32: 0.9 of 0.8999999761581421."""
    return float(str(np.float32(number)))
