"""LeNet-5, with maxima for its trained means and ReLU for its scaled tanh, as it is used today.

Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", section II.B; C3 reads all maps.
"""

from orchestrator.networks.input_size import InputSize
from workers.net import Net, NetBuilder

LABEL = "LeNet"


def build(input_size: InputSize, classes: int) -> Net:
    """LeNet-5 for pictures of at least 8 pixels a side; below 32 they are padded to the size of its first maps."""
    net = NetBuilder(input_size)
    small = min(input_size.height, input_size.width) < 32
    x = net.maxpool(net.relu(net.conv(net.input, 6, 5, padding=2 if small else 0)))
    side = (min(input_size.height, input_size.width) if small else min(input_size.height, input_size.width) - 4) // 2
    x = net.maxpool(net.relu(net.conv(x, 16, 5, padding=0 if side >= 6 else 2)))
    x = net.relu(net.dense(net.flatten(x), 120))
    net.dense(net.relu(net.dense(x, 84)), classes)
    made: Net = net.net()
    return made
