"""MXNet: Gluon layers, hybridised into one static graph. One code for 1.5 and later.

MXNet is asynchronous even on a CPU: code that reads a value, or stops a clock, has to wait for it.
"""

import math
import os

import mxnet
import mxnet.runtime  # 1.5 does not import it by itself
from mxnet import autograd, gluon
from mxnet.gluon import nn

from workers import native
from workers.bounds import FLOAT32
from workers.frameworks import EXTRAS, own_optimiser, own_options, own_precision
from workers.frameworks.mxnet.optimisers import OPTIMISERS, Update, loss_of
from workers.ops import divisor, upsampling
from workers.protocol import Unsupported

VERSION = mxnet.__version__

_GLUON_NAMES = {"mean": "running_mean", "var": "running_var"}


class Adapter(object):
    """See workers/frameworks/__init__.py. Own options: none.

    `threads` has no effect: their number is fixed when MXNet is imported (see describe).
    """

    def __init__(self, net, weights, device, settings, options):
        own_options(options)
        own_precision(settings, {FLOAT32: "float32"})
        if device == "gpu" and not mxnet.context.num_gpus():
            raise Unsupported("device", "MXNet sees no GPU, or was built without CUDA")
        mxnet.random.seed(settings.seed)
        self._context = mxnet.gpu(0) if device == "gpu" else mxnet.cpu(0)
        self._network = Network(net)
        self._network.initialize(mxnet.init.Zero(), ctx=self._context)
        self._parameters = {weight.name: self._network.parameter(weight.name) for weight in net.weights}
        for name, parameter in self._parameters.items():
            parameter.set_data(mxnet.nd.array(weights[name]))
            if parameter.list_ctx() != [self._context]:
                raise Unsupported("device", f"{name} is on {parameter.list_ctx()}")
        self._network.hybridize(static_alloc=True, static_shape=True)
        self._loss = loss_of(settings.training, net.shapes[net.output][0], self._context)
        entry = own_optimiser(settings.training, OPTIMISERS, EXTRAS)
        self._update = Update(entry, self._network.collect_params(), settings.training)
        self.optimiser = self._update.optimiser

    def place(self, x, y):
        """New arrays on the device, both float32, MXNet's default for numpy arrays."""
        return mxnet.nd.array(x, self._context, "float32"), mxnet.nd.array(y, self._context, "float32")

    def load(self, batches, order, workers):
        """Gluon's DataLoader: `workers` processes, which cut picture by picture and hand over in shared memory."""
        return _Loader(batches, batch_sampler=[numbers.tolist() for numbers in order], num_workers=workers)

    def step(self, batch):
        """One update; the loss of each picture before it, as an array without its graph."""
        x, y = batch
        with autograd.record():
            losses = self._loss(self._network(x), y)
        # The gradient is that of the sum; the trainer divides it by the number of pictures.
        losses.backward()
        self._update.take(len(x))
        return losses.detach()

    def set_rate(self, rate):
        """The rate of the next update."""
        self._update.set_rate(rate)

    def state(self):
        """Copies, of the weights that have a gradient."""
        trained = {name: parameter for name, parameter in self._parameters.items() if parameter.grad_req != "null"}
        return {name: self._update.state(parameter) for name, parameter in trained.items()}

    def loss_value(self, handle):
        """Waits for these losses; their mean."""
        return float(handle.asnumpy().mean())

    def predict(self, batch):
        """Logits (n, classes)."""
        return self._network(batch[0]).asnumpy()

    def prepare(self, x):
        """The pictures as they are."""
        return x

    def infer(self, x):
        """An array that is being computed."""
        return self._network(mxnet.nd.array(x, self._context, "float32"))

    def logits(self, handle):
        """Waits for it."""
        return handle.asnumpy()

    def sync(self):
        """Waits for all queued work: the update may still be running when the loss is known."""
        mxnet.nd.waitall()

    def weights(self):
        """Copies; the layouts are the network's own."""
        return {name: parameter.data().asnumpy() for name, parameter in self._parameters.items()}

    @staticmethod
    def describe():
        """Features of the build, and the number of threads.

        1.5 reports neither OpenMP nor a BLAS, though it uses both: `openmp` and `blas` are as reported.
        """
        has = {feature.name: feature.enabled for feature in mxnet.runtime.feature_list()}
        blas = [name for name in sorted(has) if name.startswith("BLAS_") and has[name]]
        # OpenMP binds its threads, and MKL reads the processor type, at their first use.
        side = mxnet.nd.ones((64, 64))
        mxnet.nd.dot(side, side).wait_to_read()
        return {
            **native.describe(),
            # Of the OpenMP that this library is linked with; without the variable MXNet uses half of the processors.
            "omp_threads": mxnet.base._LIB.omp_get_max_threads(),
            "omp_num_threads_variable": os.environ.get("OMP_NUM_THREADS"),
            "openmp": has["OPENMP"],
            "mkldnn": has["MKLDNN"],
            "blas": blas[0][len("BLAS_") :].lower() if blas else None,
            "lapack": has["LAPACK"],
            "cuda": has["CUDA"],
            "cudnn": has["CUDNN"],
            "deterministic_variable": os.environ.get("MXNET_ENFORCE_DETERMINISM"),
            "tf32_variable": os.environ.get("NVIDIA_TF32_OVERRIDE"),
        }


class _Loader(gluon.data.DataLoader):
    """Gluon's, which ends its workers when they have done what they were asked for.

    Gluon's own end kills them; one that is killed while it hands over a batch keeps the lock of the queue, and the pool
    waits for it without end.
    """

    def __del__(self):
        if self._worker_pool:
            self._worker_pool.close()
            self._worker_pool.join()


class Network(gluon.HybridBlock):
    """The ops of a Net as Gluon layers, called in its order."""

    def __init__(self, net):
        super(Network, self).__init__()
        self._input, self._output = net.ops[0].name, net.output
        self._plan = []
        self._layers = {}
        for op in net.ops[1:]:
            if op.kind not in _LOWER:
                raise Unsupported(op.kind, f"{op.name}: the mxnet adapter does not lower it")
            layer = _LOWER[op.kind](op, net.shapes[op.inputs[0]])
            if op.kind == "add":
                layer.broadcasts = net.shapes[op.inputs[0]] != net.shapes[op.inputs[1]]
            self.register_child(layer, op.name)
            self._layers[op.name] = layer
            self._plan.append((layer, op.inputs, op.name))

    def hybrid_forward(self, F, x):  # noqa: N803 - Gluon passes it by this name
        """Logits (n, classes) of x (n, channels, height, width)."""
        values = {self._input: x}
        for layer, inputs, name in self._plan:
            values[name] = layer(*[values[source] for source in inputs])
        return values[self._output]

    def parameter(self, weight_name):
        """The parameter that holds a weight of the Net."""
        op, end = weight_name.split(".")
        return getattr(self._layers[op], _GLUON_NAMES.get(end, end))


class PaddedConv(nn.Conv2D):
    """A convolution whose zeros on opposite sides differ in number."""

    def __init__(self, sides, *args, **kwargs):
        super(PaddedConv, self).__init__(*args, **kwargs)
        self._sides = sides

    def hybrid_forward(self, F, x, *args, **kwargs):  # noqa: N803
        """Pads, then convolves."""
        x = F.pad(x, mode="constant", pad_width=(0, 0, 0, 0) + self._sides)
        return super(PaddedConv, self).hybrid_forward(F, x, *args, **kwargs)


class PaddedPool(gluon.HybridBlock):
    """A pool of a padded map. value: what stands in the padding. shares: what its values are multiplied by, or None."""

    def __init__(self, pool, sides, value, shares=None):
        super(PaddedPool, self).__init__()
        self.pool, self._sides, self._value = pool, sides, value
        if shares is not None:
            self.shares = self.params.get_constant("shares", shares.astype("float32")[None, None])
        self._has_shares = shares is not None

    def hybrid_forward(self, F, x, shares=None):  # noqa: N803
        """Pads, then pools."""
        x = F.pad(x, mode="constant", pad_width=(0, 0, 0, 0) + self._sides, constant_value=self._value)
        x = self.pool(x)
        return F.broadcast_mul(x, shares) if self._has_shares else x


class Add(gluon.HybridBlock):
    """Sum of two values; the operator for values of one shape, which MKL-DNN has, where they are of one."""

    broadcasts = False

    def hybrid_forward(self, F, left, right):  # noqa: N803
        """The shape of the larger."""
        return F.broadcast_add(left, right) if self.broadcasts else left + right


class Function(gluon.HybridBlock):
    """A function of values. function: (operators, values...) -> value."""

    def __init__(self, function):
        super(Function, self).__init__()
        self._function = function

    def hybrid_forward(self, F, *values):  # noqa: N803
        """What the function makes of them."""
        return self._function(F, *values)


class PRelu(gluon.HybridBlock):
    """A slope for each channel; Gluon's own layer has one for all."""

    def __init__(self, channels):
        super(PRelu, self).__init__()
        self.slope = self.params.get("slope", shape=(channels,))

    def hybrid_forward(self, F, x, slope):  # noqa: N803
        """The same shape."""
        # The gradient of its own operator (LeakyReLU, act_type="prelu") is wrong in 1.9, by 0.75 of an update here.
        return F.relu(x) - F.broadcast_mul(F.reshape(slope, shape=(1, -1, 1, 1)), F.relu(-x))


class ByChannel(gluon.HybridBlock):
    """A weight of each channel or feature. end: its name. function: (operators, value, weight) -> value."""

    def __init__(self, shape, end, function):
        super(ByChannel, self).__init__()
        setattr(self, end, self.params.get(end, shape=(shape[0],)))
        self._shape, self._function = (1, -1) + (1,) * (len(shape) - 1), function

    def hybrid_forward(self, F, x, **weights):  # noqa: N803
        """The same shape."""
        (weight,) = weights.values()
        return self._function(F, x, F.reshape(weight, shape=self._shape))


class GroupNorm(gluon.HybridBlock):
    """Normalises each group of channels; Gluon has none before 1.6, and one with a weight for each group after."""

    def __init__(self, channels, groups, epsilon):
        super(GroupNorm, self).__init__()
        self._groups, self._epsilon = groups, epsilon
        self.gamma, self.beta = (self.params.get(end, shape=(channels,)) for end in ("gamma", "beta"))

    def hybrid_forward(self, F, x, gamma, beta):  # noqa: N803
        """The same shape."""
        by_group = F.reshape(x, shape=(0, self._groups, -1))
        centred = F.broadcast_sub(by_group, F.mean(by_group, axis=2, keepdims=True))
        variance = F.mean(F.square(centred), axis=2, keepdims=True)
        normal = F.reshape_like(F.broadcast_mul(centred, F.rsqrt(variance + self._epsilon)), x)
        gamma, beta = (F.reshape(weight, shape=(1, -1, 1, 1)) for weight in (gamma, beta))
        return F.broadcast_add(F.broadcast_mul(normal, gamma), beta)


class Upsample(gluon.HybridBlock):
    """Rows and columns as sums of rows and columns: before 1.6 its own operator puts corners on corners.

    shares: of workers/ops.py, for the rows and for the columns.
    """

    def __init__(self, shares):
        super(Upsample, self).__init__()
        for end, share in zip(("by_row", "by_column"), shares):
            setattr(self, end, self.params.get_constant(end, share.T.astype("float32")))

    def hybrid_forward(self, F, x, by_row, by_column):  # noqa: N803
        """(n, c, h, w) -> (n, c, h * rows, w * columns)."""
        turned = F.swapaxes(F.dot(x, by_column), dim1=2, dim2=3)
        return F.swapaxes(F.dot(turned, by_row), dim1=2, dim2=3)


class GlobalPool(nn.GlobalAvgPool2D):
    """Mean over height and width."""

    def hybrid_forward(self, F, x):  # noqa: N803
        """(n, c, h, w) -> (n, c)."""
        return F.flatten(super(GlobalPool, self).hybrid_forward(F, x))


def _conv(op, shape):
    top, bottom, left, right = op.params["padding"]
    is_even = (top, left) == (bottom, right)
    common = {
        "channels": op.params["channels"],
        "kernel_size": op.params["kernel"],
        "strides": op.params["stride"],
        "dilation": op.params["dilation"],
        "groups": op.params["groups"],
        "use_bias": op.params["bias"],
        "in_channels": shape[0],
    }
    return nn.Conv2D(padding=(top, left), **common) if is_even else PaddedConv(op.params["padding"], **common)


def _maxpool(op, shape):
    pool = nn.MaxPool2D(op.params["kernel"], op.params["stride"])
    lowest = -3.4e38  # of float32; MXNet's own padding is as wide on both sides only
    return PaddedPool(pool, op.params["padding"], lowest) if any(op.params["padding"]) else pool


def _avgpool(op, shape):
    pool = nn.AvgPool2D(op.params["kernel"], op.params["stride"])
    if not any(op.params["padding"]):
        return pool
    rows, columns = op.params["kernel"]
    counts = divisor(op, shape)
    return PaddedPool(pool, op.params["padding"], 0.0, None if isinstance(counts, int) else rows * columns / counts)


def _batchnorm(op, shape):
    return nn.BatchNorm(epsilon=op.params["epsilon"], momentum=op.params["kept"], in_channels=shape[0])


def _of_each(function):
    """The lowering of an op that is a function of its values alone."""
    return lambda op, shape: Function(function)


def _clip(op, shape):
    low, high = op.params["low"], op.params["high"]
    return Function(lambda ops, x: ops.clip(x, a_min=low, a_max=high))


def _hardsigmoid(op, shape):
    slope, offset = op.params["slope"], op.params["offset"]
    return Function(lambda ops, x: ops.clip(slope * x + offset, a_min=0, a_max=1))


def _gelu(op, shape):
    if op.params["is_exact"]:
        # The gradient of its own operator (LeakyReLU, act_type="gelu") is wrong in 1.5, by a third of an update here.
        return Function(lambda ops, x: 0.5 * x * (1 + ops.erf(x / math.sqrt(2))))
    scale = math.sqrt(2 / math.pi)
    return Function(lambda ops, x: 0.5 * x * (1 + ops.tanh(scale * (x + 0.044715 * x * x * x))))


def _lrn(op, shape):
    size, alpha, beta, bias = (op.params[name] for name in ("size", "alpha", "beta", "bias_term"))
    return Function(lambda ops, x: ops.LRN(x, nsize=size, alpha=alpha, beta=beta, knorm=bias))


def _slice(op, shape):
    begin, end = op.params["begin"], op.params["end"]
    return Function(lambda ops, x: ops.slice_axis(x, axis=1, begin=begin, end=end))


def _pad(op, shape):
    sides, value = (0, 0, 0, 0) + op.params["padding"], op.params["value"]
    return Function(lambda ops, x: ops.pad(x, mode="constant", pad_width=sides, constant_value=value))


def _upsample(op, shape):
    rows, columns = op.params["factor"]
    if op.params["is_bilinear"]:
        return Upsample([upsampling(op, axis, shape[1 + axis]) for axis in (0, 1)])
    if rows == columns:
        return Function(lambda ops, x: ops.UpSampling(x, scale=rows, sample_type="nearest"))
    return Function(lambda ops, x: ops.repeat(ops.repeat(x, repeats=rows, axis=2), repeats=columns, axis=3))


def _shuffle(op, shape):
    groups = op.params["groups"]

    def turned(ops, x):
        by_group = ops.reshape(x, shape=(0, -4, groups, -1, -2))
        return ops.reshape(ops.swapaxes(by_group, dim1=1, dim2=2), shape=(0, -3, -2))

    return Function(turned)


_LOWER = {
    "conv": _conv,
    "scale": lambda op, shape: ByChannel(shape, "scale", lambda ops, x, weight: ops.broadcast_mul(x, weight)),
    "shift": lambda op, shape: ByChannel(shape, "shift", lambda ops, x, weight: ops.broadcast_add(x, weight)),
    "layernorm": lambda op, shape: nn.LayerNorm(axis=1, epsilon=op.params["epsilon"], in_channels=shape[0]),
    "groupnorm": lambda op, shape: GroupNorm(shape[0], op.params["groups"], op.params["epsilon"]),
    "slice": _slice,
    "pad": _pad,
    "upsample": _upsample,
    "lrn": _lrn,
    "shuffle": _shuffle,
    "clip": _clip,
    "leakyrelu": lambda op, shape: nn.LeakyReLU(op.params["slope"]),
    "prelu": lambda op, shape: PRelu(shape[0]),
    "elu": lambda op, shape: nn.ELU(op.params["alpha"]),
    "sigmoid": lambda op, shape: nn.Activation("sigmoid"),
    "hardsigmoid": _hardsigmoid,
    "hardswish": _of_each(lambda ops, x: x * ops.clip(x + 3, a_min=0, a_max=6) / 6),
    "silu": lambda op, shape: nn.Swish(),
    "tanh": lambda op, shape: nn.Activation("tanh"),
    "gelu": _gelu,
    "softplus": lambda op, shape: nn.Activation("softrelu"),
    "mish": _of_each(lambda ops, x: x * ops.tanh(ops.Activation(x, act_type="softrelu"))),
    "globalmax": _of_each(lambda ops, x: ops.max(x, axis=(2, 3))),
    "unflatten": _of_each(lambda ops, x: ops.reshape(x, shape=(0, 0, 1, 1))),
    "multiply": _of_each(lambda ops, left, right: ops.broadcast_mul(left, right)),
    "concat": _of_each(lambda ops, *values: ops.concat(*values, dim=1)),
    "batchnorm": _batchnorm,
    "relu": lambda op, shape: nn.Activation("relu"),
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "globalpool": lambda op, shape: GlobalPool(),
    "flatten": lambda op, shape: nn.Flatten(),
    "dense": lambda op, shape: nn.Dense(op.params["features"], use_bias=op.params["bias"], in_units=shape[0]),
    "dropout": lambda op, shape: nn.Dropout(op.params["rate"]),
    "add": lambda op, shape: Add(),
}
