"""The ops of workers/ops.py as Paddle's own functions; maps are (n, channels, height, width)."""

import paddle
from paddle.nn import functional

from workers.ops import divisor, upsampling
from workers.protocol import Unsupported


class Network(object):
    """A Net as tensors and a function of pictures.

    tensors: name -> tensor, all of them, in the order of net.weights; dense ones as (in, out), as Paddle has them.
    """

    def __init__(self, net, weights):
        for op in net.ops[1:]:
            if op.kind not in _LOWER:
                raise Unsupported(op.kind, f"{op.name}: the paddle adapter does not lower it")
        self._net = net
        self.tensors = {}
        for weight in net.weights:
            value = weights[weight.name]
            value = value.T.copy() if value.ndim == 2 else value
            tensor = paddle.create_parameter(list(value.shape), "float32")
            tensor.set_value(value)
            tensor.stop_gradient = not weight.is_trainable
            self.tensors[weight.name] = tensor
        self.trained = [self.tensors[weight.name] for weight in net.weights if weight.is_trainable]

    def logits(self, x, training):
        """Logits (n, classes); in training the running averages are updated."""
        values = {self._net.ops[0].name: x}
        for op in self._net.ops[1:]:
            inputs = [values[name] for name in op.inputs]
            values[op.name] = _LOWER[op.kind](_Own(op, self.tensors, training), *inputs)
            for name in self._net.last_uses[op.name]:
                del values[name]
        return values[self._net.output]


class _Own(object):
    """An op with its own weights: own(end) -> tensor, or None without such a weight."""

    def __init__(self, op, tensors, training):
        self._op, self._tensors = op, tensors
        self.params, self.training = op.params, training

    def __call__(self, end):
        return self._tensors.get(f"{self._op.name}.{end}")


def _conv(own, x):
    params = own.params
    sides, stride, dilation = list(params["padding"]), list(params["stride"]), list(params["dilation"])
    return functional.conv2d(x, own("weight"), own("bias"), stride, sides, dilation, params["groups"])


def _batchnorm(own, x):
    return functional.batch_norm(
        x,
        own("mean"),
        own("var"),
        own("gamma"),
        own("beta"),
        training=own.training,
        momentum=own.params["kept"],
        epsilon=own.params["epsilon"],
    )


def _maxpool(own, x):
    params = own.params
    if any(params["padding"]):
        top, bottom, left, right = params["padding"]
        x = functional.pad(x, [left, right, top, bottom], value=float("-inf"))
    return functional.max_pool2d(x, list(params["kernel"]), list(params["stride"]))


def _avgpool(own, x):
    params = own.params
    top, bottom, left, right = params["padding"]
    if not any(params["padding"]):
        return functional.avg_pool2d(x, list(params["kernel"]), list(params["stride"]))
    rows, columns = params["kernel"]
    counts = divisor(own, x.shape[1:])
    padded = functional.pad(x, [left, right, top, bottom])
    pooled = functional.avg_pool2d(padded, list(params["kernel"]), list(params["stride"]))
    return (
        pooled if params["counts_padding"] else pooled * paddle.to_tensor((rows * columns / counts).astype("float32"))
    )


def _by_channel(weight, x):
    return weight.reshape([-1] + [1] * (x.ndim - 2))


def _weighed(own, x):
    return x * _by_channel(own("gamma"), x) + _by_channel(own("beta"), x)


def _standard(x, axis, epsilon):
    mean = x.mean(axis, keepdim=True)
    centred = x - mean
    return centred * paddle.rsqrt((centred * centred).mean(axis, keepdim=True) + epsilon)


def _groupnorm(own, x):
    by_group = x.reshape([x.shape[0], own.params["groups"], -1])
    return _weighed(own, _standard(by_group, 2, own.params["epsilon"]).reshape(x.shape))


def _pad(own, x):
    top, bottom, left, right = own.params["padding"]
    return functional.pad(x, [left, right, top, bottom], value=float(own.params["value"]))


def _upsample(own, x):
    rows, columns = (upsampling(own, axis, size).astype("float32") for axis, size in enumerate(x.shape[2:]))
    across = paddle.matmul(x, paddle.to_tensor(columns.T.copy()))
    return paddle.matmul(paddle.to_tensor(rows), across)


def _lrn(own, x):
    size, alpha, beta, bias = (own.params[name] for name in ("size", "alpha", "beta", "bias_term"))
    squares = functional.pad((x * x).unsqueeze(1), [0, 0, 0, 0, size // 2, size // 2], data_format="NCDHW")
    around = sum(squares[:, 0, at : at + x.shape[1]] for at in range(size))
    return x / (bias + alpha / size * around) ** beta


def _shuffle(own, x):
    count, channels, height, width = x.shape
    groups = own.params["groups"]
    by_group = x.reshape([count, groups, channels // groups, height, width])
    return by_group.transpose([0, 2, 1, 3, 4]).reshape(x.shape)


def _prelu(own, x):
    return functional.relu(x) - own("slope").reshape([-1, 1, 1]) * functional.relu(-x)


_LOWER = {
    "conv": _conv,
    "scale": lambda own, x: x * _by_channel(own("scale"), x),
    "shift": lambda own, x: x + _by_channel(own("shift"), x),
    "layernorm": lambda own, x: _weighed(own, _standard(x, 1, own.params["epsilon"])),
    "groupnorm": _groupnorm,
    "slice": lambda own, x: x[:, own.params["begin"] : own.params["end"]],
    "pad": _pad,
    "upsample": _upsample,
    "lrn": _lrn,
    "shuffle": _shuffle,
    "clip": lambda own, x: paddle.clip(x, own.params["low"], own.params["high"]),
    "leakyrelu": lambda own, x: functional.leaky_relu(x, own.params["slope"]),
    "prelu": _prelu,
    "elu": lambda own, x: functional.elu(x, own.params["alpha"]),
    "sigmoid": lambda own, x: functional.sigmoid(x),
    "hardsigmoid": lambda own, x: paddle.clip(own.params["slope"] * x + own.params["offset"], 0, 1),
    "hardswish": lambda own, x: x * paddle.clip(x + 3, 0, 6) / 6,
    "silu": lambda own, x: functional.silu(x),
    "tanh": lambda own, x: paddle.tanh(x),
    "gelu": lambda own, x: functional.gelu(x, approximate=not own.params["is_exact"]),
    "softplus": lambda own, x: functional.softplus(x),
    "mish": lambda own, x: functional.mish(x),
    "globalmax": lambda own, x: x.max([2, 3]),
    "unflatten": lambda own, x: x.unsqueeze([2, 3]),
    "multiply": lambda own, left, right: left * right,
    "concat": lambda own, *values: paddle.concat(values, 1),
    "batchnorm": _batchnorm,
    "relu": lambda own, x: functional.relu(x),
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "globalpool": lambda own, x: x.mean([2, 3]),
    "flatten": lambda own, x: x.flatten(1),
    "dense": lambda own, x: functional.linear(x, own("weight"), own("bias")),
    "dropout": lambda own, x: functional.dropout(x, own.params["rate"], training=own.training),
    "add": lambda own, left, right: left + right,
}
