"""The ops of workers/ops.py as Neon's layers: sequences as lists, branches that join as a MergeSum of lists.

Neon's relu, dropout, bias and softmax work in place. So wherever another layer still needs the old value, or the error,
a SkipNode or Copy is put in between.
"""

import numpy
from neon.initializers import Constant
from neon.layers import Activation, BatchNorm, Dropout, Linear, MergeSum, Pooling, SkipNode
from neon.layers.layer import Bias, Convolution, Convolution_bias
from neon.transforms import Rectlin, Softmax

from workers.protocol import Unsupported

_ZERO = Constant(0)
_ATTRIBUTES = {
    ("conv", "weight"): (0, "W"),
    ("conv", "bias"): (0, "weight_bias"),
    ("dense", "weight"): (0, "W"),
    ("dense", "bias"): (1, "W"),
    ("batchnorm", "gamma"): (0, "gamma"),
    ("batchnorm", "beta"): (0, "beta"),
    ("batchnorm", "mean"): (0, "gmean"),
    ("batchnorm", "var"): (0, "gvar"),
}


class Copy(SkipNode):
    """A SkipNode that also copies on the MKL backend, where Neon's own passes its input on."""

    def __init__(self):
        super(Copy, self).__init__()
        self.is_mklop = False  # so values and errors come in the plain layout

    def fprop(self, inputs=None, inference=False, beta=0):
        """A copy of the values."""
        self.outputs[:] = inputs
        return self.outputs

    def bprop(self, error, alpha=1.0, beta=0.0):
        """A copy of the error; None for the first layer."""
        if self.deltas is not None:
            self.deltas[:] = error
        return self.deltas


class PlainSum(MergeSum):
    """A MergeSum in the layout of the CPU backend, for values that the MKL engine's own sum does not support.

    The engine sums in place, in layouts that only its own layers set; vectors have none.
    """

    def __init__(self, layers):
        super(PlainSum, self).__init__(layers)
        self.is_mklop = False

    def fprop(self, inputs, inference=False):
        """The sum of the branches."""
        for number, branch in enumerate(self.layers):
            value = branch.fprop(inputs, inference)
            self.be.convert_data(value, False)
            self.outputs[:] = self.outputs + value if number else value
        return self.outputs

    def bprop(self, error, alpha=1.0, beta=0.0):
        """The sum of the branches' gradients."""
        for number, branch in enumerate(self.layers):
            deltas = branch.bprop(error)
            self.be.convert_data(deltas, False)
            self.deltas[:] = self.deltas + deltas if number else deltas
        return self.deltas


class Lowering(object):
    """A Net as layers for neon.models.Model. Make the backend first, because Neon's layers need it."""

    def __init__(self, net, backend):
        self._net = net
        self._is_mkl = backend.backend_name == "mkl"
        self._ops = {op.name: op for op in net.ops}
        self._readers = {op.name: [reader.kind for reader in net.ops if op.name in reader.inputs] for op in net.ops}
        # For each value, the values that every path from the input to it passes; the last but one is where the
        # branches that an `add` joins begin.
        self._passed = {}
        self._summed_by_engine = set()
        for op in net.ops:
            passed = [self._passed[name] for name in op.inputs]
            common = [value for value in passed[0] if all(value in other for other in passed)] if passed else []
            self._passed[op.name] = common + [op.name]
            if op.kind == "add" and self._suits_engine(op):
                self._summed_by_engine.add(op.name)
        self._lowered = {}
        layers = self._between(net.ops[0].name, net.output)
        for op in net.ops[1:]:
            if op.name not in self._lowered:
                raise Unsupported(op.kind, f"nothing reads {op.name}, so it has no place in Neon's nested containers")
        if not layers or not isinstance(layers[0], (Convolution, Linear)):
            layers.insert(0, Copy())
        if isinstance(layers[-1], Activation):
            layers.append(Copy())
        self.layers = layers + [Activation(Softmax())]

    def set(self, weights):
        """Copy weights (name -> array) into the layers, once these are allocated."""
        for weight in self._net.weights:
            tensor, value = self._tensor(weight), weights[weight.name]
            tensor.set((numpy.moveaxis(value, 0, -1) if value.ndim == 4 else value).reshape(tensor.shape))

    def get(self):
        """name -> float32 array in the Net's own layouts; copies."""
        return {weight.name: _from_neon(self._tensor(weight).get(), weight.shape) for weight in self._net.weights}

    def _tensor(self, weight):
        name, end = weight.name.split(".")
        number, attribute = _ATTRIBUTES[self._ops[name].kind, end]
        return getattr(self._lowered[name][number], attribute)

    def _between(self, start, end):
        """Layers that make the value `end` from the value `start`, which every path to `end` passes."""
        layers = []
        while end != start:
            op = self._ops[end]
            if end in self._lowered:
                raise Unsupported("add", f"the branches it joins share {end}; Neon's containers can only be nested")
            self._lowered[end] = self._sum(op) if op.kind == "add" else self._layers(op)
            layers = self._lowered[end] + layers
            end = self._passed[end][-2]
        return layers

    def _layers(self, op):
        if op.kind not in _LOWER:
            raise Unsupported(op.kind, f"{op.name}: the neon adapter does not lower it")
        return _LOWER[op.kind](op)

    def _sum(self, op):
        parted = self._passed[op.name][-2]
        # The shorter one first, as in Neon's own residual networks.
        branches = sorted((_begun(self._between(parted, name)) for name in op.inputs), key=len)
        is_plain = self._is_mkl and op.name not in self._summed_by_engine
        container, end = (PlainSum, Copy) if is_plain else (MergeSum, SkipNode)
        return [container([_ended(layers, end) for layers in branches])]

    def _suits_engine(self, op):
        """Whether the inputs of a sum certainly have layouts of the MKL engine, as in residual blocks."""
        parted = self._passed[op.name][-2]
        for end in op.inputs:
            if end != parted:
                passed = self._passed[end]
                first = self._ops[passed[passed.index(parted) + 1]]
                if first.kind != "conv" or self._ops[end].kind not in ("conv", "batchnorm"):
                    return False
        while self._ops[parted].kind == "relu":
            parted = self._ops[parted].inputs[0]
        is_laid_out = self._ops[parted].kind in ("conv", "batchnorm", "maxpool", "avgpool")
        return self._readers[op.name] == ["relu"] and (is_laid_out or parted in self._summed_by_engine)


def _begun(layers):
    """A branch of a sum, whose first layer keeps its input unchanged and can add its error to its sibling's."""
    return layers if layers and isinstance(layers[0], Convolution) else [SkipNode(), *layers]


def _ended(layers, end):
    """A branch whose last layer keeps its error unchanged and can add its value to its sibling's; else with `end`.

    A convolution with bias cannot: on the CPU backend it drops its bias when it adds.
    """
    return layers if type(layers[-1]) in (Convolution, BatchNorm, SkipNode) else [*layers, end()]


def _from_neon(value, shape):
    if len(shape) < 4:
        return value.reshape(shape)
    return numpy.ascontiguousarray(numpy.moveaxis(value.reshape(shape[1:] + shape[:1]), -1, 0))


def _conv(op):
    top, bottom, left, right = op.params["padding"]
    if (top, left) != (bottom, right):
        raise Unsupported(
            "conv", f"{op.name} pads its sides by {op.params['padding']}; Neon pads opposite sides equally"
        )
    if op.params["groups"] > 1 or op.params["dilation"] != (1, 1):
        raise Unsupported("conv", f"{op.name} has groups or a dilation; Neon's layers are used without both here")
    down, across = op.params["stride"]
    common = {
        "fshape": op.params["kernel"] + (op.params["channels"],),
        "strides": {"str_h": down, "str_w": across},
        "padding": {"pad_h": top, "pad_w": left},
        "init": _ZERO,
    }
    return [Convolution_bias(bias=_ZERO, **common) if op.params["bias"] else Convolution(**common)]


def _maxpool(op):
    rows, columns = op.params["kernel"]
    if rows * columns > 256:
        raise Unsupported("maxpool", "Neon's CPU backend numbers the pixels of a window by one byte: 16 x 16 at most")
    return _pool(op, "max")


def _pool(op, kind):
    if any(op.params["padding"]):
        raise Unsupported(op.kind, f"{op.name} is padded; what Neon counts at the border differs by its backend")
    down, across = op.params["stride"]
    return [Pooling(op.params["kernel"], op=kind, strides={"str_h": down, "str_w": across})]


def _dropout(op):
    layer = Dropout(keep=1 - op.params["rate"])
    # Scales in training and not in inference; Neon does the reverse. Its switch for all layers (compat_mode) would also
    # change the sizes of pooled maps.
    layer.caffe_mode, layer._train_scaling = True, 1 / layer.keep
    return [layer]


_LOWER = {
    "conv": _conv,
    "batchnorm": lambda op: [BatchNorm(rho=op.params["kept"], eps=op.params["epsilon"])],
    "relu": lambda op: [Activation(Rectlin())],
    "maxpool": _maxpool,
    "avgpool": lambda op: _pool(op, "avg"),
    "globalpool": lambda op: [Pooling("all", op="avg")],
    "flatten": lambda op: [],  # Neon's dense layers read maps, in C,H,W order
    "dense": lambda op: [Linear(op.params["features"], init=_ZERO)] + ([Bias(_ZERO)] if op.params["bias"] else []),
    "dropout": _dropout,
}
