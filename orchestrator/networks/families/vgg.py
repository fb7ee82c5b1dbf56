"""VGG with batch normalisation and one dense layer, as it is used for small pictures.

Source: Simonyan and Zisserman 2014, arXiv:1409.1556, table 1, columns A, B, D and E; the three dense layers of the
paper, for maps of 7 x 7, are one.
"""

from orchestrator.networks.input_size import InputSize
from workers.net import Net, NetBuilder

LABEL = "VGG"

COLUMNS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth -> convolutions of each stage."""


def build(input_size: InputSize, classes: int, depth: int) -> Net:
    """VGG of 11, 13, 16 or 19 layers for pictures whose sides are multiples of 32."""
    if depth not in COLUMNS:
        raise ValueError(f"model vgg has a depth of {', '.join(map(str, COLUMNS))}; {depth} is not.")
    if input_size.height % 32 or input_size.width % 32:
        raise ValueError(
            f"model vgg halves its maps five times, so each side must be a multiple of 32; {input_size} is not."
        )
    net = NetBuilder(input_size)
    x = net.input
    for count, channels in zip(COLUMNS[depth], (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            x = net.relu(net.batchnorm(net.conv(x, channels, 3, padding=1)))
        x = net.maxpool(x)
    net.dense(net.flatten(x), classes)
    made: Net = net.net()
    return made
