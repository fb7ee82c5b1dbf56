"""The model of mixed precision: inside an op the oracle is as wide as ever, and what crosses its borders is narrow."""

from workers.ops import PRODUCTS
from workers.rounding import rounded


class Narrowed(object):
    """A layer of numpy_ref whose values and gradients, in and out, are numbers of a narrow format.

    So are the weights of a product where they are used, and the gradients of these; other weights stay wide.
    """

    def __init__(self, layer, precision):
        self.layer, self._weights = layer, layer.weights
        self._precision, self._is_product = precision, layer.op.kind in PRODUCTS

    def forward(self, *values, training):
        """As the layer's."""
        if self._is_product:
            own = self.layer.name + "."
            self.layer.weights = {
                name: self.narrow(weight) for name, weight in self._weights.items() if name.startswith(own)
            }
        return self.narrow(self.layer.forward(*[self.narrow(value) for value in values], training=training))

    def backward(self, gradient):
        """As the layer's."""
        return tuple(self.narrow(part) for part in self.layer.backward(self.narrow(gradient)))

    @property
    def gradients(self):
        """As the layer's."""
        own = self.layer.gradients
        return {name: self.narrow(value) for name, value in own.items()} if self._is_product else own

    def narrow(self, values):
        """The values as numbers of the format."""
        return rounded(values, self._precision)
