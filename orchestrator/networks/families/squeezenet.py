"""SqueezeNet 1.1: fire modules, which squeeze the channels and widen them with 1 x 1 and 3 x 3 kernels.

Source: Iandola et al. 2016, arXiv:1602.07360, table 1, in the authors' later version 1.1, whose pools round up.
"""

from orchestrator.networks.input_size import InputSize
from workers.net import Net, NetBuilder

LABEL = "SqueezeNet"

FIRES = ((16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256))
"""Channels of the squeeze and of each half of the expansion; None: a pool."""


def build(input_size: InputSize, classes: int) -> Net:
    """SqueezeNet 1.1 for pictures of at least 24 pixels a side."""
    if min(input_size.height, input_size.width) < 24:
        raise ValueError(
            f"model squeezenet halves its maps four times and takes sides of at least 24; {input_size} is not."
        )
    net = NetBuilder(input_size)
    x = _pool(net, net.relu(net.conv(net.input, 64, 3, 2)), _halved(input_size.height), _halved(input_size.width))
    sides = _pooled(_halved(input_size.height)), _pooled(_halved(input_size.width))
    for fire in FIRES:
        if fire is None:
            x, sides = _pool(net, x, *sides), (_pooled(sides[0]), _pooled(sides[1]))
        else:
            x = _fire(net, x, *fire)
    net.globalpool(net.relu(net.conv(net.dropout(x, 0.5), classes, 1)))
    made: Net = net.net()
    return made


def _fire(net: NetBuilder, x: str, squeeze: int, expand: int) -> str:
    x = net.relu(net.conv(x, squeeze, 1))
    joined: str = net.op("concat", net.relu(net.conv(x, expand, 1)), net.relu(net.conv(x, expand, 3, padding=1)))
    return joined


def _pool(net: NetBuilder, x: str, height: int, width: int) -> str:
    """3 x 3 of stride 2; a last window that is not full counts."""
    bottom, right = (2 * (_pooled(side) - 1) + 3 - side for side in (height, width))
    made: str = net.maxpool(x, 3, 2, (0, bottom, 0, right))
    return made


def _halved(side: int) -> int:
    return (side - 3) // 2 + 1


def _pooled(side: int) -> int:
    return -(-(side - 3) // 2) + 1
