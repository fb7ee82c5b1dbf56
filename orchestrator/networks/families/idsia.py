"""IDSIA's road-sign network: three convolutions with max-pooling, two dense layers; 1,510,863 weights at 48 x 48.

Source: Ciresan et al. 2012, "Multi-column deep neural network for traffic sign classification", one column; here with
ReLU after every convolution and after the first dense layer.
"""

from orchestrator.networks.input_size import InputSize
from workers.net import Net, NetBuilder

LABEL = "IDSIA"


def build(input_size: InputSize, classes: int) -> Net:
    """IDSIA for pictures of at least 30 pixels a side."""
    if min(input_size.height, input_size.width) < 30:
        raise ValueError(
            f"model idsia needs pictures of at least 30 pixels a side; {input_size} leaves nothing to pool."
        )
    net = NetBuilder(input_size)
    x = net.input
    for channels, kernel in ((100, 3), (150, 4), (250, 3)):
        x = net.maxpool(net.relu(net.conv(x, channels, kernel)))
    x = net.relu(net.dense(net.flatten(x), 230))
    net.dense(x, classes)
    made: Net = net.net()
    return made
