"""IDSIA's road-sign network: three convolutions with max-pooling, two dense layers; 1,510,863 weights at 48 x 48.

Source: Ciresan et al. 2012, "Multi-column deep neural network for traffic sign classification", one column; here with
ReLU after every convolution and after the first dense layer.
"""

from workers.net import NetBuilder

LABEL = "IDSIA"


def build(classes, size):
    """IDSIA for pictures of `size` pixels, at least 30."""
    if size < 30:
        raise ValueError(f"model idsia needs pictures of at least 30 pixels; {size} leaves nothing to pool.")
    net = NetBuilder((3, size, size))
    x = net.input
    for channels, kernel in ((100, 3), (150, 4), (250, 3)):
        x = net.maxpool(net.relu(net.conv(x, channels, kernel)))
    x = net.relu(net.dense(net.flatten(x), 230))
    net.dense(x, classes)
    return net.net()
