"""Small networks for tests of the worker, which also run on CPython 3.6, without the orchestrator and its families."""

from workers.net import NetBuilder


def residual(shape, classes, blocks=1):
    """The family's ResNet with that many blocks in each of its three stages. shape: (channels, height, width)."""
    net = NetBuilder(shape)
    x = net.relu(_normed(net, net.input, 16, 3, 1))
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(blocks):
            is_first = stage > 0 and block == 0
            main = net.relu(_normed(net, x, channels, 3, 2 if is_first else 1))
            main = _normed(net, main, channels, 3, 1)
            side = _normed(net, x, channels, 1, 2) if is_first else x
            x = net.relu(net.add(main, side))
    net.dense(net.globalpool(x), classes)
    return net.net()


def _normed(net, x, channels, kernel, stride):
    return net.batchnorm(net.conv(x, channels, kernel, stride, padding=kernel // 2, bias=False))


def as_json(net):
    """The network as job.json holds it."""
    return {"label": "small", "ops": net.data}
