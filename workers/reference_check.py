"""Checks the oracle itself: computes the same networks from the definitions, slowly and in another way.

Values are sums over kernel places and loops over windows, with no matrix of columns; gradients are differences of the
loss. None of it is shared with workers/frameworks/numpy_ref; the rule of an update is, and the unit tests hold it.
"""

import math

import numpy

from workers.bounds import worst
from workers.frameworks import Settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.optimisers import rule_of
from workers.protocol import Training

TRAINING = Training("sgd", "he_normal", 0.05, 0.9, 1, 1)


def compare(net, weights, x, y, training=TRAINING):
    """Figures: relative differences of numpy_ref from the definitions.

    x: float64 (n, channels, height, width); y: int64 (n,). A few pictures are enough; more would take long.
    training: with the rule, at whatever rate.
    """
    training = training._replace(learning_rate=TRAINING.learning_rate, schedule=TRAINING.schedule)
    weights = {name: value.astype(numpy.float64) for name, value in weights.items()}
    logits, _ = forward(net, weights, x, training=False)
    oracle = _oracle(net, weights, training)
    seen_logits = oracle.predict((x, y))
    seen_loss, gradients = oracle.gradients((x, y))
    averages = _averages(net, weights, x)
    after = oracle.weights()
    return {
        "reference_logits": _difference(seen_logits, logits),
        "reference_loss": _difference(seen_loss, loss(net, weights, x, y, training.label_smoothing)),
        "reference_gradients": _slope_error(net, weights, x, y, gradients, training.label_smoothing),
        "reference_averages": worst([_difference(after[name], value) for name, value in averages.items()] or [0.0]),
        "reference_weights": _three_updates(net, weights, x, y, training),
    }


def forward(net, weights, x, training):
    """(logits, batch-normalisation op -> (mean, unbiased variance) of the batch) from the definitions."""
    values, moments = {}, {}
    for op in net.ops:
        inputs = [values[name] for name in op.inputs]
        own = {name.split(".")[1]: value for name, value in weights.items() if name.split(".")[0] == op.name}
        if op.kind == "input":
            value = x
        elif op.kind == "conv":
            value = _conv(inputs[0], own, op.params)
        elif op.kind == "batchnorm":
            value, moments[op.name] = _batchnorm(inputs[0], own, op.params["epsilon"], training)
        elif op.kind in _OF_EACH:
            value = _OF_EACH[op.kind](inputs[0], own, **op.params)
        elif op.kind in ("maxpool", "avgpool"):
            value = _pool(inputs[0], {"maxpool": numpy.max, "avgpool": numpy.mean}[op.kind], **op.params)
        elif op.kind == "globalpool":
            value = numpy.einsum("nchw->nc", inputs[0]) / (inputs[0].shape[2] * inputs[0].shape[3])
        elif op.kind == "globalmax":
            value = numpy.array([[channel.max() for channel in picture] for picture in inputs[0]])
        elif op.kind == "unflatten":
            value = inputs[0].reshape(inputs[0].shape + (1, 1))
        elif op.kind == "flatten":
            value = numpy.array([picture.ravel() for picture in inputs[0]])
        elif op.kind == "dense":
            value = numpy.einsum("ni,oi->no", inputs[0], own["weight"]) + own.get("bias", 0)
        elif op.kind in ("add", "multiply"):
            shape = numpy.broadcast(*inputs).shape
            left, right = (numpy.broadcast_to(value, shape) for value in inputs)
            value = left + right if op.kind == "add" else left * right
        elif op.kind == "shuffle":
            groups, count = op.params["groups"], inputs[0].shape[1]
            order = [group * (count // groups) + at for at in range(count // groups) for group in range(groups)]
            value = inputs[0][:, order]
        elif op.kind == "slice":
            value = numpy.stack([inputs[0][:, at] for at in range(op.params["begin"], op.params["end"])], 1)
        elif op.kind == "pad":
            value = numpy.full((len(x),) + net.shapes[op.name], float(op.params["value"]))
            (top, _, left, _), (height, width) = op.params["padding"], inputs[0].shape[2:]
            value[:, :, top : top + height, left : left + width] = inputs[0]
        elif op.kind == "upsample":
            value = _upsample(inputs[0], **op.params)
        elif op.kind == "concat":
            value = numpy.empty((len(x),) + net.shapes[op.name])
            begin = 0
            for part in inputs:
                value[:, begin : begin + part.shape[1]] = part
                begin += part.shape[1]
        else:
            raise ValueError(f"{op.name} ({op.kind}) is random or not defined here, so it cannot be checked.")
        values[op.name] = value
    return values[net.output], moments


_normal_share = numpy.vectorize(lambda x: math.erfc(-x / 2**0.5) / 2, otypes=[float])


def _gelu(x, own, is_exact):
    if is_exact:
        return x * _normal_share(x)
    return x / (1 + numpy.exp(-2 * (2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)))


def _layernorm(x, own, epsilon):
    mean = numpy.einsum("nc...->n...", x) / x.shape[1]
    variance = numpy.einsum("nc...,nc...->n...", x, x) / x.shape[1] - mean**2
    channels = [
        own["gamma"][c] * (x[:, c] - mean) / (variance + epsilon) ** 0.5 + own["beta"][c] for c in range(x.shape[1])
    ]
    return numpy.stack(channels, 1)


def _groupnorm(x, own, groups, epsilon):
    out, size = numpy.empty_like(x), x.shape[1] // groups
    for picture in range(len(x)):
        for first in range(0, x.shape[1], size):
            values = x[picture, first : first + size]
            mean = values.sum() / values.size
            variance = (values**2).sum() / values.size - mean**2
            for c in range(first, first + size):
                normal = (x[picture, c] - mean) / (variance + epsilon) ** 0.5
                out[picture, c] = own["gamma"][c] * normal + own["beta"][c]
    return out


def _upsample(x, factor, is_bilinear):
    """Pixel by pixel: the four pixels around its place, each by how near it is."""
    height, width = x.shape[2:]
    out = numpy.empty(x.shape[:2] + (height * factor[0], width * factor[1]))

    def inside(y, z):
        return x[:, :, min(max(y, 0), height - 1), min(max(z, 0), width - 1)]

    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            if not is_bilinear:
                out[:, :, i, j] = x[:, :, i // factor[0], j // factor[1]]
                continue
            row, column = (i + 0.5) / factor[0] - 0.5, (j + 0.5) / factor[1] - 0.5
            top, left = math.floor(row), math.floor(column)
            corners = [(y, z) for y in (top, top + 1) for z in (left, left + 1)]
            out[:, :, i, j] = sum((1 - abs(row - y)) * (1 - abs(column - z)) * inside(y, z) for y, z in corners)
    return out


def _lrn(x, own, size, alpha, beta, bias_term):
    out = numpy.empty_like(x)
    for channel in range(x.shape[1]):
        around = x[:, max(0, channel - size // 2) : channel + size // 2 + 1]
        out[:, channel] = x[:, channel] / (bias_term + alpha / size * (around**2).sum(1)) ** beta
    return out


_OF_EACH = {
    "scale": lambda x, own: numpy.einsum("nc...,c->nc...", x, own["scale"]),
    "shift": lambda x, own: numpy.moveaxis(numpy.moveaxis(x, 1, -1) + own["shift"], -1, 1),
    "layernorm": _layernorm,
    "groupnorm": _groupnorm,
    "lrn": _lrn,
    "relu": lambda x, own: numpy.where(x > 0, x, 0),
    "clip": lambda x, own, low, high: numpy.where(x < low, low, numpy.where(x > high, high, x)),
    "leakyrelu": lambda x, own, slope: numpy.maximum(x, 0) + slope * numpy.minimum(x, 0),
    "prelu": lambda x, own: numpy.maximum(x, 0) + own["slope"].reshape(1, -1, 1, 1) * numpy.minimum(x, 0),
    "elu": lambda x, own, alpha: numpy.maximum(x, 0) + alpha * (numpy.exp(numpy.minimum(x, 0)) - 1),
    "sigmoid": lambda x, own: 1 / (1 + numpy.exp(-x)),
    "hardsigmoid": lambda x, own, slope, offset: numpy.maximum(0, numpy.minimum(1, slope * x + offset)),
    "hardswish": lambda x, own: x * numpy.minimum(6, numpy.maximum(0, x + 3)) / 6,
    "silu": lambda x, own: x / (1 + numpy.exp(-x)),
    "tanh": lambda x, own: 2 / (1 + numpy.exp(-2 * x)) - 1,
    "gelu": _gelu,
    "softplus": lambda x, own: numpy.log(1 + numpy.exp(x)),
    "mish": lambda x, own: x * numpy.tanh(numpy.log(1 + numpy.exp(x))),
}
"""kind -> (x, its own weights, its params) -> a value of the same shape."""


def loss(net, weights, x, y, smoothing=0.0):
    """Mean over the pictures, in training mode, of -log(probability of the right class), less `smoothing` of it, and
    so much of the mean of that of all classes.
    """
    logits, _ = forward(net, weights, x, training=True)
    losses = [-numpy.log(numpy.exp(z) / numpy.exp(z).sum()) for z in logits - logits.max()]
    return numpy.mean([(1 - smoothing) * one[k] + smoothing * one.mean() for one, k in zip(losses, y)])


def _conv(x, own, params):
    top, bottom, left, right = params["padding"]
    kernel, stride, dilation = params["kernel"], params["stride"], params["dilation"]
    channels, groups = params["channels"], params["groups"]
    count, sources, height, width = x.shape
    padded = numpy.zeros((count, sources, height + top + bottom, width + left + right))
    padded[:, :, top : top + height, left : left + width] = x
    rows, columns = [
        (side - (taps - 1) * apart - 1) // step + 1
        for side, taps, step, apart in zip(padded.shape[2:], kernel, stride, dilation)
    ]
    out = numpy.zeros((count, rows, columns, channels))
    reads, makes = sources // groups, channels // groups
    for group in range(groups):
        read, made = slice(group * reads, (group + 1) * reads), slice(group * makes, (group + 1) * makes)
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                y, z = i * dilation[0], j * dilation[1]
                seen = padded[:, read, y : y + rows * stride[0] : stride[0], z : z + columns * stride[1] : stride[1]]
                out[..., made] += numpy.tensordot(seen, own["weight"][made, :, i, j], ((1,), (1,)))
    return out.transpose(0, 3, 1, 2) + (own["bias"].reshape(1, -1, 1, 1) if params["bias"] else 0)


def _batchnorm(x, own, epsilon, training):
    out = numpy.empty_like(x)
    means, variances = numpy.empty(x.shape[1]), numpy.empty(x.shape[1])
    for c in range(x.shape[1]):
        values = x[:, c].ravel()
        mean = values.sum() / values.size
        squares = ((values - mean) ** 2).sum()
        means[c], variances[c] = mean, squares / max(1, values.size - 1)
        used = (mean, squares / values.size) if training else (own["mean"][c], own["var"][c])
        out[:, c] = own["gamma"][c] * (x[:, c] - used[0]) / (used[1] + epsilon) ** 0.5 + own["beta"][c]
    return out, (means, variances)


def _pool(x, summary, kernel, stride, padding, counts_padding=False):
    """Window by window, cut off at the border of the map; zeros that count are counted and not written."""
    top, bottom, left, right = padding
    height, width = x.shape[2:]
    rows = (height + top + bottom - kernel[0]) // stride[0] + 1
    columns = (width + left + right - kernel[1]) // stride[1] + 1
    out = numpy.empty(x.shape[:2] + (rows, columns))
    for i in range(rows):
        for j in range(columns):
            y, z = i * stride[0] - top, j * stride[1] - left
            window = x[:, :, max(0, y) : y + kernel[0], max(0, z) : z + kernel[1]]
            share = window[0, 0].size / float(kernel[0] * kernel[1]) if counts_padding else 1.0
            out[:, :, i, j] = share * summary(window, axis=(2, 3))
    return out


def _slope_error(net, weights, x, y, gradients, smoothing):
    """Worst error of the loss's slope, by differences, along a direction that is half the gradient's and half random.

    Relative to the length of the gradient, or to 1e-3 of the longest, since some gradients are zero up to rounding.
    """
    lengths = {name: numpy.linalg.norm(gradient) for name, gradient in gradients.items()}
    rng, step, errors = numpy.random.RandomState(0), 1e-6, [0.0]
    for name, gradient in sorted(gradients.items()):
        noise = rng.standard_normal(gradient.shape)
        direction = gradient / lengths[name] + noise / numpy.linalg.norm(noise)
        ends = [
            loss(net, dict(weights, **{name: weights[name] + move * direction}), x, y, smoothing)
            for move in (step, -step)
        ]
        error = abs((ends[0] - ends[1]) / (2 * step) - (gradient * direction).sum())
        errors.append(error / max(lengths[name], 1e-3 * max(lengths.values())))
    return worst(errors)


def _averages(net, weights, x):
    """Running averages after one training batch: name -> array."""
    _, moments = forward(net, weights, x, training=True)
    averages = {}
    for op in net.ops:
        for end, moment in zip(("mean", "var"), moments.get(op.name, ())):
            name = f"{op.name}.{end}"
            averages[name] = op.params["kept"] * weights[name] + (1 - op.params["kept"]) * moment
    return averages


def _three_updates(net, weights, x, y, training):
    """Difference between three of the oracle's updates and the rule's, each by the checked gradients of its weights."""
    oracle, rule = _oracle(net, weights, training), rule_of(training)
    state = {weight.name: rule.start(weights[weight.name]) for weight in net.weights if weight.is_trainable}
    by_hand = dict(weights)
    for step in range(3):
        oracle.step((x, y))
        _, gradients = _oracle(net, by_hand, training).gradients((x, y))
        gradients = rule.clipped(gradients)
        for name in state:
            rate = rule.rate_at(0, step)
            state[name], by_hand[name] = rule.update(state[name], by_hand[name], gradients[name], rate)
    after = oracle.weights()
    return worst(_difference(after[name], by_hand[name]) for name in state)


def _oracle(net, weights, training):
    return Oracle(net, weights, "cpu", Settings(training, threads=1, seed=0), {})


def _difference(seen, wanted):
    return float(numpy.abs(seen - wanted).max() / numpy.abs(wanted).max())
