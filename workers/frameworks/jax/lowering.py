"""The ops of workers/ops.py as functions of JAX; maps are (n, channels, height, width)."""

import jax
import jax.numpy as jnp
from jax import lax

from workers.ops import PRODUCTS, divisor
from workers.protocol import Unsupported

_FULL = lax.Precision.HIGHEST
"""Float32 products in full, on a card too."""


# In mixed precision: ops that compute in the narrow format, as flax has it. All others get float32 values, and their
# result is narrowed; weights other than those of a product stay float32.
_NARROW = PRODUCTS + ("relu", "clip", "maxpool", "globalpool", "globalmax", "flatten", "add", "concat")


def require_ops(net):
    """Raises Unsupported for an op that is not lowered."""
    for op in net.ops[1:]:
        if op.kind not in _LOWER:
            raise Unsupported(op.kind, f"{op.name}: the jax adapter does not lower it")


def logits_of(net, dtype, weights, x, key=None):
    """(logits (n, classes), weight name -> new running average) of pictures x.

    dtype: of the values between ops; float32, or less. key: of random numbers, in training.
    """
    values, averages = {net.ops[0].name: x.astype(dtype)}, {}
    for number, op in enumerate(net.ops[1:]):
        own = dtype if op.kind in _NARROW else jnp.float32
        inputs = [values[name].astype(own) for name in op.inputs]
        weight = _Own(op, weights, averages, key, number, dtype)
        values[op.name] = _LOWER[op.kind](op, weight, *inputs).astype(dtype)
    return values[net.output].astype(jnp.float32), averages


class _Own(object):
    """The weights of one op: own(end) -> array, or None without such a weight. dtype: of those of a product."""

    def __init__(self, op, weights, averages, key, number, dtype):
        self._name, self._weights, self._averages = op.name, weights, averages
        self._key, self._number = key, number
        self._dtype = dtype if op.kind in PRODUCTS else jnp.float32
        self.training = key is not None

    def __call__(self, end):
        found = self._weights.get(f"{self._name}.{end}")
        return None if found is None else found.astype(self._dtype)

    def keep(self, end, value):
        """A running average after this batch."""
        self._averages[f"{self._name}.{end}"] = value

    def key(self):
        """Random numbers of this op alone."""
        return jax.random.fold_in(self._key, self._number)


def _conv(op, weight, x):
    top, bottom, left, right = op.params["padding"]
    y = lax.conv_general_dilated(
        x,
        weight("weight"),
        op.params["stride"],
        ((top, bottom), (left, right)),
        rhs_dilation=op.params["dilation"],
        feature_group_count=op.params["groups"],
        precision=_FULL,
    )
    return y if weight("bias") is None else y + weight("bias")[:, None, None]


def _batchnorm(op, weight, x):
    mean, variance = weight("mean"), weight("var")
    if weight.training:
        kept, count = op.params["kept"], x.size // x.shape[1]
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        weight.keep("mean", kept * weight("mean") + (1 - kept) * mean)
        weight.keep("var", kept * weight("var") + (1 - kept) * variance * (count / max(1, count - 1)))
    scale = weight("gamma") / jnp.sqrt(variance + op.params["epsilon"])
    return x * scale[:, None, None] + (weight("beta") - mean * scale)[:, None, None]


def _window(op):
    top, bottom, left, right = op.params["padding"]
    sides = ((0, 0), (0, 0), (top, bottom), (left, right))
    return (1, 1) + op.params["kernel"], (1, 1) + op.params["stride"], sides


def _avgpool(op, weight, x):
    return lax.reduce_window(x, 0.0, lax.add, *_window(op)) / divisor(op, x.shape[1:])


def _dense(op, weight, x):
    y = jnp.dot(x, weight("weight").T, precision=_FULL)
    return y if weight("bias") is None else y + weight("bias")


def _prelu(op, weight, x):
    return jnp.where(x > 0, x, weight("slope")[:, None, None] * x)


def _hardsigmoid(op, weight, x):
    return jnp.clip(op.params["slope"] * x + op.params["offset"], 0, 1)


def _of_each(function):
    """The lowering of an op that is a function of its values alone."""
    return lambda op, weight, *values: function(*values)


def _by_channel(weight, x):
    return weight.reshape((-1,) + (1,) * (x.ndim - 2))


def _weighed(weight, x):
    return x * _by_channel(weight("gamma"), x) + _by_channel(weight("beta"), x)


def _layernorm(op, weight, x):
    return _weighed(weight, jax.nn.standardize(x, axis=1, epsilon=op.params["epsilon"]))


def _groupnorm(op, weight, x):
    by_group = x.reshape(len(x), op.params["groups"], -1)
    return _weighed(weight, jax.nn.standardize(by_group, axis=2, epsilon=op.params["epsilon"]).reshape(x.shape))


def _pad(op, weight, x):
    top, bottom, left, right = op.params["padding"]
    return jnp.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=op.params["value"])


def _upsample(op, weight, x):
    (rows, columns), (height, width) = op.params["factor"], x.shape[2:]
    if not op.params["is_bilinear"]:
        return jnp.repeat(jnp.repeat(x, rows, 2), columns, 3)
    return jax.image.resize(x, x.shape[:2] + (height * rows, width * columns), "bilinear", precision=_FULL)


def _lrn(op, weight, x):
    size, alpha, beta, bias = (op.params[name] for name in ("size", "alpha", "beta", "bias_term"))
    around = ((0, 0), (size // 2, size // 2), (0, 0), (0, 0))
    squares = lax.reduce_window(x * x, 0.0, lax.add, (1, size, 1, 1), (1, 1, 1, 1), around)
    return x / (bias + alpha / size * squares) ** beta


def _shuffle(op, weight, x):
    count, _, height, width = x.shape
    by_group = x.reshape(count, op.params["groups"], -1, height, width)
    return by_group.swapaxes(1, 2).reshape(x.shape)


def _globalmax(x):
    # Without the barrier XLA of JAX 0.12 gives a convolution before it, on a CPU, a gradient that is off by 0.7 of it.
    return lax.optimization_barrier(x).max((2, 3))


def _dropout(op, weight, x):
    if not weight.training:
        return x
    kept = jax.random.bernoulli(weight.key(), 1 - op.params["rate"], x.shape)
    return jnp.where(kept, x / (1 - op.params["rate"]), 0)


_LOWER = {
    "conv": _conv,
    "scale": lambda op, weight, x: x * _by_channel(weight("scale"), x),
    "shift": lambda op, weight, x: x + _by_channel(weight("shift"), x),
    "layernorm": _layernorm,
    "groupnorm": _groupnorm,
    "slice": lambda op, weight, x: x[:, op.params["begin"] : op.params["end"]],
    "pad": _pad,
    "upsample": _upsample,
    "lrn": _lrn,
    "shuffle": _shuffle,
    "clip": lambda op, weight, x: jnp.clip(x, op.params["low"], op.params["high"]),
    "leakyrelu": lambda op, weight, x: jax.nn.leaky_relu(x, op.params["slope"]),
    "prelu": _prelu,
    "elu": lambda op, weight, x: jax.nn.elu(x, op.params["alpha"]),
    "sigmoid": _of_each(jax.nn.sigmoid),
    "hardsigmoid": _hardsigmoid,
    "hardswish": _of_each(lambda x: x * jnp.clip(x + 3, 0, 6) / 6),
    "silu": _of_each(jax.nn.silu),
    "tanh": _of_each(jnp.tanh),
    "gelu": lambda op, weight, x: jax.nn.gelu(x, approximate=not op.params["is_exact"]),
    "softplus": _of_each(jax.nn.softplus),
    "mish": _of_each(lambda x: x * jnp.tanh(jax.nn.softplus(x))),
    "globalmax": _of_each(_globalmax),
    "unflatten": _of_each(lambda x: x[:, :, None, None]),
    "multiply": _of_each(lambda left, right: left * right),
    "concat": _of_each(lambda *values: jnp.concatenate(values, 1)),
    "batchnorm": _batchnorm,
    "relu": lambda op, weight, x: jnp.maximum(x, 0),
    "maxpool": lambda op, weight, x: lax.reduce_window(x, -jnp.inf, lax.max, *_window(op)),
    "avgpool": _avgpool,
    "globalpool": lambda op, weight, x: x.mean((2, 3)),
    "flatten": lambda op, weight, x: x.reshape(len(x), -1),
    "dense": _dense,
    "dropout": _dropout,
    "add": lambda op, weight, left, right: left + right,
}
