"""Residual networks of the CIFAR kind: three stages of 16, 32 and 64 channels, depth = 6n + 2.

Where the shape changes the shortcut is a 1 x 1 convolution of stride 2 with batch normalisation.
Source: He et al. 2015, arXiv:1512.03385, section 4.2, with shortcuts of type B.
"""

from orchestrator.networks.input_size import InputSize
from workers.net import Net, NetBuilder

LABEL = "ResNet"


def build(input_size: InputSize, classes: int, depth: int) -> Net:
    """ResNet of `depth` layers, 6n + 2 of at least 8, for pictures whose sides are multiples of 4."""
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"model resnet has a depth of 6n + 2 (8, 14, 20, 26, 32, ...); {depth} is not.")
    if input_size.height % 4 or input_size.width % 4:
        raise ValueError(
            f"model resnet halves its maps twice, so each side must be a multiple of 4; {input_size} is not."
        )
    net = NetBuilder(input_size)
    x = net.relu(_conv_norm(net, net.input, 16, 3, 1))
    for stage, channels in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            x = _block(net, x, channels, changes_shape=stage > 0 and block == 0)
    net.dense(net.globalpool(x), classes)
    made: Net = net.net()
    return made


def _block(net: NetBuilder, x: str, channels: int, *, changes_shape: bool) -> str:
    stride = 2 if changes_shape else 1
    main = net.relu(_conv_norm(net, x, channels, 3, stride))
    main = _conv_norm(net, main, channels, 3, 1)
    side = _conv_norm(net, x, channels, 1, stride) if changes_shape else x
    joined: str = net.relu(net.add(main, side))
    return joined


def _conv_norm(net: NetBuilder, x: str, channels: int, kernel: int, stride: int) -> str:
    # No bias: batch normalisation subtracts the mean, and with it any constant.
    normed: str = net.batchnorm(net.conv(x, channels, kernel, stride, padding=kernel // 2, bias=False))
    return normed
