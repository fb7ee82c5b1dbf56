"""The ops of workers/ops.py that work on each value alone, each as its value and its slope; written for float64."""

import math

import numpy

from workers.frameworks.numpy_ref.layers import Layer

_erf = numpy.vectorize(math.erf, otypes=[float])


class _Elementwise(Layer):
    """A function of each value."""

    def forward(self, x, training):
        """The same shape."""
        self.x = x
        return self.value(x)

    def backward(self, gradient):
        """The gradient times the slope."""
        return (gradient * self.slope(self.x),)


class Clip(_Elementwise):
    """Cut to low and high, with slope 0 at both, as for ReLU."""

    def value(self, x):
        return numpy.clip(x, self.params["low"], self.params["high"])

    def slope(self, x):
        return (x > self.params["low"]) & (x < self.params["high"])


class LeakyRelu(_Elementwise):
    """x, and slope * x below 0."""

    def value(self, x):
        return numpy.where(x > 0, x, self.params["slope"] * x)

    def slope(self, x):
        return numpy.where(x > 0, 1.0, self.params["slope"])


class PRelu(Layer):
    """x, and below 0 x times the slope of its channel."""

    def forward(self, x, training):
        """The same shape."""
        self.x = x
        return numpy.where(x > 0, x, self.weight("slope")[:, None, None] * x)

    def backward(self, gradient):
        """Gradient of x; that of the slopes by `learn`."""
        self.learn("slope", (gradient * numpy.minimum(self.x, 0)).sum((0, 2, 3)))
        return (gradient * numpy.where(self.x > 0, 1.0, self.weight("slope")[:, None, None]),)


class Elu(_Elementwise):
    """x, and alpha * (exp(x) - 1) below 0."""

    def value(self, x):
        return numpy.where(x > 0, x, self.params["alpha"] * numpy.expm1(numpy.minimum(x, 0)))

    def slope(self, x):
        return numpy.where(x > 0, 1.0, self.params["alpha"] * numpy.exp(numpy.minimum(x, 0)))


class Sigmoid(_Elementwise):
    """1 / (1 + exp(-x))."""

    def value(self, x):
        return _sigmoid(x)

    def slope(self, x):
        return _sigmoid(x) * (1 - _sigmoid(x))


class HardSigmoid(_Elementwise):
    """slope * x + offset, cut to 0 and 1."""

    def value(self, x):
        return numpy.clip(self._line(x), 0, 1)

    def slope(self, x):
        line = self._line(x)
        return self.params["slope"] * ((line > 0) & (line < 1))

    def _line(self, x):
        return self.params["slope"] * x + self.params["offset"]


class HardSwish(_Elementwise):
    """x times (x / 6 + 1/2 cut to 0 and 1)."""

    def value(self, x):
        return x * numpy.clip(x / 6 + 0.5, 0, 1)

    def slope(self, x):
        return numpy.where(numpy.abs(x) < 3, x / 3 + 0.5, x > 0)


class Silu(_Elementwise):
    """x * sigmoid(x)."""

    def value(self, x):
        self.share = _sigmoid(x)
        return x * self.share

    def slope(self, x):
        return self.share * (1 + x * (1 - self.share))


class Tanh(_Elementwise):
    """tanh(x)."""

    def value(self, x):
        return numpy.tanh(x)

    def slope(self, x):
        return 1 - numpy.tanh(x) ** 2


class Gelu(_Elementwise):
    """x times the share of a normal distribution below x; or its form with tanh.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2.
    """

    def value(self, x):
        self.share = self._share(x)
        return x * self.share

    def slope(self, x):
        if self.params["is_exact"]:
            return self.share + x * numpy.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        inner = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
        return self.share + x * 2 * self.share * (1 - self.share) * inner

    def _share(self, x):
        if self.params["is_exact"]:
            return (1 + _erf(x / math.sqrt(2))) / 2
        return (1 + numpy.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


class Softplus(_Elementwise):
    """log(1 + exp(x))."""

    def value(self, x):
        return numpy.logaddexp(0, x)

    def slope(self, x):
        return _sigmoid(x)


class Mish(_Elementwise):
    """x * tanh(log(1 + exp(x))).

    Source: Misra 2019, arXiv:1908.08681, equation 1.
    """

    def value(self, x):
        return x * numpy.tanh(numpy.logaddexp(0, x))

    def slope(self, x):
        gate = numpy.tanh(numpy.logaddexp(0, x))
        return gate + x * (1 - gate**2) * _sigmoid(x)


def _sigmoid(x):
    return (1 + numpy.tanh(x / 2)) / 2


LAYERS = {
    "clip": Clip,
    "leakyrelu": LeakyRelu,
    "prelu": PRelu,
    "elu": Elu,
    "sigmoid": Sigmoid,
    "hardsigmoid": HardSigmoid,
    "hardswish": HardSwish,
    "silu": Silu,
    "tanh": Tanh,
    "gelu": Gelu,
    "softplus": Softplus,
    "mish": Mish,
}
