"""The reference of each optimiser of workers/optimisers.py: the update of its table, in float64."""

import numpy


class Sgd(object):
    """v = momentum * v + g; w = w - learning_rate * v."""

    def __init__(self, training, weights):
        """training: Training. weights: name -> array, those that are trained; updated in place."""
        self._rate, self._momentum = training.learning_rate, training.momentum
        self._weights = weights
        self._velocity = {name: numpy.zeros(value.shape, value.dtype) for name, value in weights.items()}

    def update(self, gradients):
        """One update. gradients: name -> array, of the mean loss."""
        for name, velocity in self._velocity.items():
            velocity *= self._momentum
            velocity += gradients[name]
            self._weights[name] -= self._rate * velocity


OPTIMISERS = {"sgd": Sgd}
