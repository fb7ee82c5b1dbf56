"""The ops of workers/ops.py in numpy, each with its gradient. Maps are (n, channels, height, width).

A layer: forward(x..., training) gives the value and keeps what backward needs; backward(gradient) may overwrite its
argument, gives the gradients of its inputs, one each, and puts those of its weights into `gradients`. `weights` is
shared with the adapter, by name.
"""

import numpy
from numpy.lib.stride_tricks import as_strided

from workers.ops import divisor, upsampling

# Columns of one chunk of pictures; small enough for a second-level cache.
CHUNK_VALUES = 1 << 20


class Layer(object):
    """Base of all layers: the op, the network's weights and the gradients of this layer's weights."""

    def __init__(self, op, weights, rng):
        self.op = op
        self.params = op.params
        self.name = op.name
        self.weights = weights
        self.rng = rng
        self.gradients = {}

    def weight(self, end):
        """The weight array `end` of this op."""
        return self.weights[f"{self.name}.{end}"]

    def learn(self, end, gradient):
        """Store the gradient of the weight array `end`."""
        self.gradients[f"{self.name}.{end}"] = gradient


class Conv(Layer):
    """Cross-correlation by matrix products over columns of pixels; backward makes the columns again."""

    def forward(self, x, training):
        """(n, in, h, w) -> (n, out, oh, ow)."""
        self.x = _padded(x, self.params["padding"], 0.0)
        kernel = self.weight("weight")
        rows, columns = self._map()
        out = numpy.empty((len(x), len(kernel), rows, columns), x.dtype)
        for chunk in self._chunks(rows, columns):
            product = _products(self._by_group(kernel), self._columns(chunk, rows, columns))
            out[chunk] = product.reshape(len(kernel), -1, rows, columns).transpose(1, 0, 2, 3)
        if self.params["bias"]:
            out += self.weight("bias")[:, None, None]
        return out

    def backward(self, gradient):
        """Gradient of x; those of kernel and bias by `learn`."""
        kernel = self._by_group(self.weight("weight"))
        rows, columns = gradient.shape[2:]
        kernel_gradient = numpy.zeros_like(kernel)
        x_gradient = numpy.zeros_like(self.x)
        for chunk in self._chunks(rows, columns):
            part = gradient[chunk].transpose(1, 0, 2, 3).reshape(kernel.shape[:2] + (-1,))
            kernel_gradient += _products(part, self._columns(chunk, rows, columns).transpose(0, 2, 1))
            self._scatter(_products(kernel.transpose(0, 2, 1), part), x_gradient[chunk])
        self.learn("weight", kernel_gradient.reshape(self.weight("weight").shape))
        if self.params["bias"]:
            self.learn("bias", gradient.sum((0, 2, 3)))
        top, bottom, left, right = self.params["padding"]
        return (x_gradient[:, :, top : x_gradient.shape[2] - bottom, left : x_gradient.shape[3] - right],)

    def _by_group(self, kernel):
        """(groups, out / groups, in / groups * kh * kw)."""
        groups = self.params["groups"]
        return kernel.reshape(groups, len(kernel) // groups, -1)

    def _map(self):
        return _windows_of(self.x.shape[2:], self.params, self.params["dilation"])

    def _chunks(self, rows, columns):
        height, width = self.params["kernel"]
        values = self.x.shape[1] * height * width * rows * columns
        pictures = max(1, CHUNK_VALUES // values)
        return [slice(at, at + pictures) for at in range(0, len(self.x), pictures)]

    def _columns(self, chunk, rows, columns):
        """(groups, in / groups * kh * kw, pictures * oh * ow): one column of inputs for each output pixel."""
        x, (height, width), groups = self.x[chunk], self.params["kernel"], self.params["groups"]
        (down, across), (row_apart, column_apart) = self.params["stride"], self.params["dilation"]
        by_picture, by_channel, by_row, by_column = x.strides
        windows = as_strided(
            x,
            (x.shape[1], height, width, len(x), rows, columns),
            (by_channel, by_row * row_apart, by_column * column_apart, by_picture, by_row * down, by_column * across),
        )
        return windows.reshape(groups, x.shape[1] // groups * height * width, -1)

    def _scatter(self, columns_gradient, x_gradient):
        height, width = self.params["kernel"]
        rows, columns = self._map()
        pictures, channels = x_gradient.shape[:2]
        parts = columns_gradient.reshape(channels, height, width, pictures, rows, columns).transpose(1, 2, 3, 0, 4, 5)
        for place, window in _windows(x_gradient, self.params, self.params["dilation"]):
            window += parts[place]


class Relu(Layer):
    """max(x, 0), with gradient 0 at 0."""

    def forward(self, x, training):
        """The same shape."""
        self.is_positive = x > 0
        return numpy.maximum(x, 0)

    def backward(self, gradient):
        """Gradient where x was positive."""
        gradient *= self.is_positive
        return (gradient,)


class MaxPool(Layer):
    """Largest of each window; if several are equal, the first, by rows, gets the gradient."""

    outside = -numpy.inf  # what stands in the padding: no maximum

    def forward(self, x, training):
        """(n, c, h, w) -> (n, c, oh, ow)."""
        self.shape = x.shape
        windows = self._windows(_padded(x, self.params["padding"], self.outside))
        best = windows[0][1].copy()
        self.winner = numpy.zeros(best.shape, numpy.min_scalar_type(len(windows)))
        for number, (_, window) in enumerate(windows[1:], 1):
            is_larger = window > best
            numpy.copyto(best, window, where=is_larger)
            numpy.copyto(self.winner, number, where=is_larger)
        return best

    def backward(self, gradient):
        """Gradient at the largest values."""
        x_gradient = self._zeros(gradient)
        for number, (_, window) in enumerate(self._windows(x_gradient)):
            window += gradient * (self.winner == number)
        return (self._inside(x_gradient),)

    def _windows(self, padded):
        return list(_windows(padded, self.params, (1, 1)))

    def _zeros(self, gradient):
        top, bottom, left, right = self.params["padding"]
        count, channels, height, width = self.shape
        return numpy.zeros((count, channels, height + top + bottom, width + left + right), gradient.dtype)

    def _inside(self, padded):
        top, _, left, _ = self.params["padding"]
        return padded[:, :, top : top + self.shape[2], left : left + self.shape[3]]


class AvgPool(MaxPool):
    """Mean of each window."""

    outside = 0.0

    def forward(self, x, training):
        """(n, c, h, w) -> (n, c, oh, ow)."""
        self.shape = x.shape
        windows = self._windows(_padded(x, self.params["padding"], self.outside))
        return sum(window for _, window in windows) / divisor(self.op, self.shape[1:])

    def backward(self, gradient):
        """An equal share for every pixel of the window."""
        x_gradient = self._zeros(gradient)
        for _, window in self._windows(x_gradient):
            window += gradient / divisor(self.op, self.shape[1:])
        return (self._inside(x_gradient),)


class GlobalPool(Layer):
    """Mean over height and width."""

    def forward(self, x, training):
        """(n, c, h, w) -> (n, c)."""
        self.shape = x.shape
        return x.mean((2, 3))

    def backward(self, gradient):
        """An equal share for every pixel."""
        _, _, height, width = self.shape
        return (numpy.broadcast_to(gradient[:, :, None, None] / (height * width), self.shape).copy(),)


class Flatten(Layer):
    """A map as a vector in C,H,W order."""

    def forward(self, x, training):
        """(n, c, h, w) -> (n, c * h * w)."""
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, gradient):
        """The map again."""
        return (gradient.reshape(self.shape),)


class Dense(Layer):
    """x W^T + b."""

    def forward(self, x, training):
        """(n, in) -> (n, out)."""
        self.x = x
        out = x.dot(self.weight("weight").T)
        return out + self.weight("bias") if self.params["bias"] else out

    def backward(self, gradient):
        """Gradient of x."""
        self.learn("weight", gradient.T.dot(self.x))
        if self.params["bias"]:
            self.learn("bias", gradient.sum(0))
        return (gradient.dot(self.weight("weight")),)


class Dropout(Layer):
    """Zeroes a share of the values in training; the masks are drawn by this framework."""

    def forward(self, x, training):
        """The same shape."""
        kept = 1 - self.params["rate"]
        self.mask = (self.rng.random_sample(x.shape) < kept) / kept if training else 1.0
        return x * self.mask

    def backward(self, gradient):
        """Gradient where the value was kept."""
        return (gradient * self.mask,)


class Add(Layer):
    """Sum of two values; a map of 1 x 1 counts for every pixel of the other."""

    def forward(self, left, right, training):
        """The shape of the larger."""
        self.shapes = left.shape, right.shape
        return left + right

    def backward(self, gradient):
        """The same for both, in arrays of their own."""
        left, right = self.shapes
        return _summed(gradient, left), _summed(gradient, right).copy()


class Multiply(Layer):
    """Product of two values; a map of 1 x 1 counts for every pixel of the other."""

    def forward(self, left, right, training):
        """The shape of the larger."""
        self.factors = left, right
        return left * right

    def backward(self, gradient):
        """The gradient times the other factor."""
        left, right = self.factors
        return _summed(gradient * right, left.shape), _summed(gradient * left, right.shape)


class Concat(Layer):
    """Values one after the other, by channel."""

    def forward(self, *values, training):
        """(n, sum of the channels, ...)."""
        self.ends = numpy.cumsum([value.shape[1] for value in values])[:-1]
        return numpy.concatenate(values, 1)

    def backward(self, gradient):
        """To each its part, in an array of its own."""
        return tuple(part.copy() for part in numpy.split(gradient, self.ends, 1))


class Scale(Layer):
    """Each channel or feature times its factor."""

    def forward(self, x, training):
        """The same shape."""
        self.x = x
        return x * by_channel(self.weight("scale"), x)

    def backward(self, gradient):
        """Gradient of x; that of the factors by `learn`."""
        self.learn("scale", per_channel(gradient * self.x))
        return (gradient * by_channel(self.weight("scale"), gradient),)


class Shift(Layer):
    """Each channel or feature plus its summand."""

    def forward(self, x, training):
        """The same shape."""
        return x + by_channel(self.weight("shift"), x)

    def backward(self, gradient):
        """The gradient; that of the summands by `learn`."""
        self.learn("shift", per_channel(gradient))
        return (gradient,)


class Slice(Layer):
    """Some of the channels or features."""

    def forward(self, x, training):
        """(n, end - begin, ...)."""
        self.shape = x.shape
        return x[:, self.params["begin"] : self.params["end"]]

    def backward(self, gradient):
        """The gradient in its place, 0 elsewhere."""
        whole = numpy.zeros(self.shape, gradient.dtype)
        whole[:, self.params["begin"] : self.params["end"]] = gradient
        return (whole,)


class Pad(Layer):
    """A value around each map."""

    def forward(self, x, training):
        """(n, c, h, w) -> (n, c, top + h + bottom, left + w + right)."""
        return _padded(x, self.params["padding"], self.params["value"])

    def backward(self, gradient):
        """The gradient without its rim."""
        (top, bottom, left, right), (height, width) = self.params["padding"], gradient.shape[2:]
        return (gradient[:, :, top : height - bottom, left : width - right].copy(),)


class Upsample(Layer):
    """Each row and each column as sums of rows and columns."""

    def forward(self, x, training):
        """(n, c, h, w) -> (n, c, h * rows, w * columns)."""
        self.by_row, self.by_column = (upsampling(self.op, axis, x.shape[2 + axis]) for axis in (0, 1))
        return numpy.matmul(numpy.matmul(self.by_row, x), self.by_column.T)

    def backward(self, gradient):
        """The sums of the gradients of all pixels in which one counts, by its shares."""
        return (numpy.matmul(numpy.matmul(self.by_row.T, gradient), self.by_column),)


class Shuffle(Layer):
    """Channels in groups: the first of each group, then the second of each, ...

    Source: Zhang et al. 2018, arXiv:1707.01083, section 3.1.
    """

    def forward(self, x, training):
        """The same shape."""
        return _regrouped(x, self.params["groups"])

    def backward(self, gradient):
        """The channels in their places again."""
        return (_regrouped(gradient, gradient.shape[1] // self.params["groups"]),)


class GlobalMax(Layer):
    """Largest over height and width; if several are equal, the first, by rows, gets the gradient."""

    def forward(self, x, training):
        """(n, c, h, w) -> (n, c)."""
        self.shape = x.shape
        pixels = x.reshape(x.shape[:2] + (-1,))
        self.winner = pixels.argmax(2)[:, :, None]
        return pixels.max(2)

    def backward(self, gradient):
        """Gradient at the largest values."""
        pixels = numpy.arange(self.shape[2] * self.shape[3])
        return ((gradient[:, :, None] * (pixels == self.winner)).reshape(self.shape),)


class Unflatten(Layer):
    """A vector as a map of 1 x 1."""

    def forward(self, x, training):
        """(n, c) -> (n, c, 1, 1)."""
        return x[:, :, None, None]

    def backward(self, gradient):
        """The vector again."""
        return (gradient[:, :, 0, 0],)


def _regrouped(x, groups):
    by_group = x.reshape((len(x), groups, x.shape[1] // groups) + x.shape[2:])
    return by_group.swapaxes(1, 2).reshape(x.shape)


def by_channel(weight, x):
    """A weight of each channel, or feature, to multiply maps or vectors with."""
    return weight.reshape((-1,) + (1,) * (x.ndim - 2))


def per_channel(gradient):
    """Of each channel, or feature, the sum."""
    return gradient.sum((0,) + tuple(range(2, gradient.ndim)))


def _summed(gradient, shape):
    """The gradient of a value of that shape, which may have counted for every pixel of a larger one."""
    return gradient if gradient.shape == shape else gradient.sum((2, 3), keepdims=True)


def _padded(x, sides, value):
    """Maps with `value` around them; the maps themselves where nothing is added."""
    top, bottom, left, right = sides
    if not any(sides):
        return x
    return numpy.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), "constant", constant_values=value)


def _products(left, right):
    """Of each group the product: (g, a, b) and (g, b, c) -> (g, a, c)."""
    # `matmul` of many small matrices is quicker than as many calls of `dot`; of one large pair it is not.
    return left[0].dot(right[0])[None] if len(left) == 1 else numpy.matmul(left, right)


def _windows_of(sides, params, dilation):
    """[rows, columns] of windows over padded maps with these sides."""
    found = zip(sides, params["kernel"], params["stride"], dilation)
    return [(side - (kernel - 1) * apart - 1) // stride + 1 for side, kernel, stride, apart in found]


def _windows(padded, params, dilation):
    """((i, j), view of the padded maps that holds pixel (i, j) of every window), by rows."""
    rows, columns = _windows_of(padded.shape[2:], params, dilation)
    (height, width), (down, across) = params["kernel"], params["stride"]
    for i in range(height):
        for j in range(width):
            top, left = i * dilation[0], j * dilation[1]
            yield (i, j), padded[:, :, top : top + down * rows : down, left : left + across * columns : across]


LAYERS = {
    "conv": Conv,
    "relu": Relu,
    "maxpool": MaxPool,
    "avgpool": AvgPool,
    "globalpool": GlobalPool,
    "flatten": Flatten,
    "dense": Dense,
    "dropout": Dropout,
    "add": Add,
    "multiply": Multiply,
    "concat": Concat,
    "scale": Scale,
    "shift": Shift,
    "slice": Slice,
    "pad": Pad,
    "upsample": Upsample,
    "shuffle": Shuffle,
    "globalmax": GlobalMax,
    "unflatten": Unflatten,
}
