"""Residual networks of the CIFAR kind: three stages of 16, 32 and 64 channels, depth = 6n + 2.

Where the shape changes the shortcut is a 1 x 1 convolution of stride 2 with batch normalisation.
Source: He et al. 2015, arXiv:1512.03385, section 4.2, with shortcuts of type B.
"""

from workers.net import NetBuilder

LABEL = "ResNet"


def build(classes, size, depth):
    """ResNet of `depth` layers, 6n + 2 of at least 8, for pictures whose side is a multiple of 4."""
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"model resnet has a depth of 6n + 2 (8, 14, 20, 26, 32, ...); {depth} is not.")
    if size < 4 or size % 4:
        raise ValueError(
            f"model resnet halves its maps twice, so the input size must be a multiple of 4; {size} is not."
        )
    net = NetBuilder((3, size, size))
    x = net.relu(_conv_norm(net, net.input, 16, 3, 1))
    for stage, channels in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            x = _block(net, x, channels, changes_shape=stage > 0 and block == 0)
    net.dense(net.globalpool(x), classes)
    return net.net()


def _block(net, x, channels, changes_shape):
    stride = 2 if changes_shape else 1
    main = net.relu(_conv_norm(net, x, channels, 3, stride))
    main = _conv_norm(net, main, channels, 3, 1)
    side = _conv_norm(net, x, channels, 1, stride) if changes_shape else x
    return net.relu(net.add(main, side))


def _conv_norm(net, x, channels, kernel, stride):
    # No bias: batch normalisation subtracts the mean, and with it any constant.
    return net.batchnorm(net.conv(x, channels, kernel, stride, padding=kernel // 2, bias=False))
