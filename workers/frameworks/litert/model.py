"""A network with its weights as a LiteRT model: a flatbuffer of its operators, written directly.

Maps are NHWC. As LiteRT's own converter does, a batch normalisation after a convolution becomes part of its weights,
and a ReLU part of the operator before it; the runtime does neither.
Source: tensorflow/lite/schema/schema.fbs, version 3.
"""

import flatbuffers
import numpy
from ai_edge_litert import schema_py_generated as schema

from workers.frameworks.litert.lowering import lower

INPUT, OUTPUT, SIGNATURE = "pictures", "logits", "serving_default"
_ACTIVATION = schema.ActivationFunctionType


def build(net, weights, batch_size):
    """The bytes of the model: pictures (n, height, width, channels) float32 to logits (n, classes).

    net: of workers/net.py. weights: name -> float32 array. batch_size: n.
    Raises Unsupported for an op that has no counterpart here.
    """
    return _Writer(net, weights, batch_size).bytes()


class _Writer(object):
    """The parts of the model so far. net: of workers/net.py. count: pictures of a batch."""

    def __init__(self, net, weights, batch_size):
        self.net, self.count, self._weights = net, batch_size, weights
        self._buffers, self._tensors, self._codes, self._operators = [schema.BufferT()], [], [], []
        self._readers, self._names = {}, {}
        for op in net.ops:
            for name in op.inputs:
                self._readers.setdefault(name, []).append(op)
        channels, height, width = net.shapes[net.ops[0].name]
        self._input = self.value(INPUT, (height, width, channels))
        self._values, done = {net.ops[0].name: self._input}, set()
        for op in net.ops[1:]:
            if op.name not in done:
                done.update(lower(self, op, [self._values[name] for name in op.inputs]))

    def bytes(self):
        """The finished model."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.name = self._tensors, self._operators, "waymark"
        graph.inputs, graph.outputs = [self._input], [self._values[self.net.output]]
        model = schema.ModelT()
        model.version, model.description = 3, "waymark"
        model.operatorCodes, model.subgraphs, model.buffers = self._codes, [graph], self._buffers
        model.signatureDefs = [_signature(self._input, self._values[self.net.output])]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def weight(self, op, end):
        """One of the op's own arrays, or None."""
        return self._weights.get(f"{op.name}.{end}")

    def then(self, op, kind):
        """The op of that kind which alone reads `op`; None if it is another, or not alone."""
        readers = self._readers.get(op.name, [])
        return readers[0] if len(readers) == 1 and readers[0].kind == kind else None

    def fused_relu(self, op):
        """(the op whose value an operator for `op` makes, its activation)."""
        relu = self.then(op, "relu")
        return (relu, _ACTIVATION.RELU) if relu else (op, _ACTIVATION.NONE)

    def shape(self, op):
        """Of a value of `op`, without the batch: (height, width, channels) or (features,)."""
        shape = self.net.shapes[op.name]
        return shape[1:] + shape[:1] if len(shape) == 3 else shape

    def finish(self, op, code, inputs, options=(0, None)):
        """Append an operator that makes the value of `op`. options: kind and object."""
        self._values[op.name] = output = self.value(op.name, self.shape(op))
        self.operator(code, inputs, output, options)

    def alias(self, op, value):
        """The value of `op` is one that exists."""
        self._values[op.name] = value

    def value_of(self, op):
        """The number of the value of an op."""
        return self._values[op.name]

    def operator(self, code, inputs, output, options=(0, None)):
        """Append an operator."""
        known = [one.builtinCode for one in self._codes]
        if code not in known:
            made = schema.OperatorCodeT()
            made.builtinCode, made.version = code, 1
            made.deprecatedBuiltinCode = min(code, 127)
            self._codes.append(made)
            known.append(code)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = known.index(code), list(inputs), [output]
        made.builtinOptionsType, made.builtinOptions = options
        self._operators.append(made)

    def value(self, name, shape):
        """A new value, of an op or between two operators of one; its number."""
        return self.tensor(name, (self.count,) + tuple(shape), schema.TensorType.FLOAT32, 0)

    def constant(self, name, array):
        """A tensor that holds an array, float32 or int32; its number."""
        kind = schema.TensorType.INT32 if array.dtype == numpy.int32 else schema.TensorType.FLOAT32
        buffer = schema.BufferT()
        buffer.data = numpy.frombuffer(numpy.ascontiguousarray(array).tobytes(), numpy.uint8)
        self._buffers.append(buffer)
        return self.tensor(name, array.shape, kind, len(self._buffers) - 1)

    def tensor(self, name, shape, kind, buffer):
        """A new tensor; its number. The quantiser wants each name once, and an op may be called as we call a value."""
        made, count = schema.TensorT(), self._names.get(name, 0)
        self._names[name] = count + 1
        name = f"{name}.{count}" if count else name
        made.name, made.shape, made.type, made.buffer = name, [int(side) for side in shape], kind, buffer
        self._tensors.append(made)
        return len(self._tensors) - 1


def _signature(source, result):
    """The names of input and output, which the quantiser asks for."""
    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex = SIGNATURE, 0
    made.inputs, made.outputs = [_named(INPUT, source)], [_named(OUTPUT, result)]
    return made


def _named(name, tensor):
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name, tensor
    return made
