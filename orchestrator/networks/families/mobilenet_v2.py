"""MobileNetV2: inverted residual blocks of depthwise convolutions, with linear ends.

Source: Sandler et al. 2018, arXiv:1801.04381, table 2; ReLU6; batch normalisation after each convolution. The dropout
before the last layer, which the paper does not mention, is left out.
"""

from orchestrator.networks.input_size import InputSize
from workers.net import Net, NetBuilder

LABEL = "MobileNetV2"

# Expansion, channels, blocks, stride of the first block.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def build(input_size: InputSize, classes: int, width: int = 100) -> Net:
    """MobileNetV2 with `width` percent of the channels, 10 to 200, each rounded to a multiple of 8."""
    if not 10 <= width <= 200:
        raise ValueError(f"model mobilenet_v2 has a width of 10 to 200 percent; {width} is not.")
    net = NetBuilder(input_size)
    x = _activated(net, net.input, _rounded(32, width), 3, 2)
    channels = _rounded(32, width)
    for expansion, wide, blocks, stride in STAGES:
        for block in range(blocks):
            made = _rounded(wide, width)
            x = _block(net, x, channels, made, expansion, stride if block == 0 else 1)
            channels = made
    x = _activated(net, x, max(1280, _rounded(1280, width)), 1, 1)
    net.dense(net.globalpool(x), classes)
    made_net: Net = net.net()
    return made_net


def _block(net: NetBuilder, x: str, channels: int, made: int, expansion: int, stride: int) -> str:
    hidden = channels * expansion
    inner = x if expansion == 1 else _activated(net, x, hidden, 1, 1)
    inner = _activated(net, inner, hidden, 3, stride, groups=hidden)
    inner = net.batchnorm(net.conv(inner, made, 1, bias=False))
    joined: str = net.add(inner, x) if stride == 1 and channels == made else inner
    return joined


def _activated(net: NetBuilder, x: str, channels: int, kernel: int, stride: int, groups: int = 1) -> str:
    normed = net.batchnorm(net.conv(x, channels, kernel, stride, kernel // 2, bias=False, groups=groups))
    made: str = net.op("clip", normed, low=0, high=6)
    return made


def _rounded(channels: int, width: int) -> int:
    """A multiple of 8, and at least 0.9 of what was asked for."""
    wanted = channels * width / 100
    nearest = max(8, int(wanted + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * wanted else nearest + 8
