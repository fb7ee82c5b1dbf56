"""The normalisations of workers/ops.py in numpy, each with its gradient; see layers.py for what a layer is."""

import numpy

from workers.frameworks.numpy_ref.layers import Layer, by_channel, per_channel


class BatchNorm(Layer):
    """Normalises each channel; the running variance takes the unbiased one of the batch, as most frameworks do."""

    def forward(self, x, training):
        """(n, c, h, w) -> the same shape; in training updates the running mean and variance."""
        mean, var = self.weight("mean"), self.weight("var")
        if training:
            kept, count = self.params["kept"], x[:, 0].size
            batch_mean = x.mean((0, 2, 3))
            centred = x - batch_mean[:, None, None]
            batch_var = numpy.einsum("nchw,nchw->c", centred, centred) / count
            mean[:] = kept * mean + (1 - kept) * batch_mean
            var[:] = kept * var + (1 - kept) * batch_var * (count / max(1.0, count - 1.0))
            mean, var = batch_mean, batch_var
        else:
            centred = x - mean[:, None, None]
        self.scale = 1 / numpy.sqrt(var + self.params["epsilon"])
        centred *= self.scale[:, None, None]
        self.normal = centred
        out = self.normal * self.weight("gamma")[:, None, None]
        out += self.weight("beta")[:, None, None]
        return out

    def backward(self, gradient):
        """Gradient of x, through the mean and variance of the batch."""
        count = gradient[:, 0].size
        by_beta = gradient.sum((0, 2, 3))
        by_gamma = numpy.einsum("nchw,nchw->c", gradient, self.normal)
        self.learn("gamma", by_gamma)
        self.learn("beta", by_beta)
        x_gradient = self.normal * (-by_gamma / count)[:, None, None]
        x_gradient -= (by_beta / count)[:, None, None]
        x_gradient += gradient
        x_gradient *= (self.weight("gamma") * self.scale)[:, None, None]
        return (x_gradient,)


class LayerNorm(Layer):
    """Normalises the channels of each pixel, or the features of a vector.

    Source: Ba et al. 2016, arXiv:1607.06450, equation 3; over channels as in Liu et al. 2022, arXiv:2201.03545.
    """

    axis = 1

    def forward(self, x, training):
        """The same shape."""
        grouped = self._grouped(x)
        centred = grouped - grouped.mean(self.axis, keepdims=True)
        self.scale = 1 / numpy.sqrt((centred**2).mean(self.axis, keepdims=True) + self.params["epsilon"])
        self.normal = (centred * self.scale).reshape(x.shape)
        return self.normal * by_channel(self.weight("gamma"), x) + by_channel(self.weight("beta"), x)

    def backward(self, gradient):
        """Gradient of x, through the mean and variance of what is normalised together."""
        self.learn("gamma", per_channel(gradient * self.normal))
        self.learn("beta", per_channel(gradient))
        inner = self._grouped(gradient * by_channel(self.weight("gamma"), gradient))
        normal = self._grouped(self.normal)
        along = (inner * normal).mean(self.axis, keepdims=True)
        x_gradient = (inner - inner.mean(self.axis, keepdims=True) - normal * along) * self.scale
        return (x_gradient.reshape(gradient.shape),)

    def _grouped(self, x):
        """x with what is normalised together along `axis`."""
        return x


class GroupNorm(LayerNorm):
    """Normalises each group of channels of a picture, over its pixels.

    Source: Wu and He 2018, arXiv:1803.08494, equations 1 to 7; with groups of one channel, Ulyanov et al. 2016,
    arXiv:1607.08022.
    """

    axis = 2

    def _grouped(self, x):
        return x.reshape(len(x), self.params["groups"], -1)


class Lrn(Layer):
    """Divides each value by a power of the mean square of the channels around it.

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 3.3.
    """

    def forward(self, x, training):
        """The same shape."""
        self.x = x
        share = self.params["alpha"] / self.params["size"]
        self.base = self.params["bias_term"] + share * self._around(x**2)
        return x * self.base ** -self.params["beta"]

    def backward(self, gradient):
        """Gradient of x, through the sums of squares in which it counts."""
        alpha, beta, size = (self.params[name] for name in ("alpha", "beta", "size"))
        inner = self._around(gradient * self.x * self.base ** (-beta - 1))
        return (gradient * self.base**-beta - 2 * alpha * beta / size * self.x * inner,)

    def _around(self, x):
        """For each channel the sum over the `size` channels around it."""
        half = self.params["size"] // 2
        sums = numpy.cumsum(numpy.pad(x, ((0, 0), (half + 1, half), (0, 0), (0, 0)), "constant"), 1)
        return sums[:, self.params["size"] :] - sums[:, : x.shape[1]]


LAYERS = {
    "batchnorm": BatchNorm,
    "layernorm": LayerNorm,
    "groupnorm": GroupNorm,
    "lrn": Lrn,
}
