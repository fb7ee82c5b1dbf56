"""Softmax regression: one linear layer, the baseline for pictures and for features such as HOG."""

from orchestrator.networks.input_size import InputSize
from workers.net import Net, NetBuilder

LABEL = "Linear"


def build(input_size: InputSize, classes: int) -> Net:
    """A dense layer on all values of a picture, or of a map of features."""
    net = NetBuilder(input_size)
    net.dense(net.flatten(net.input), classes)
    made: Net = net.net()
    return made
