"""Operations and bytes of one training step of a network, counted from its shapes.

Operations are multiplications and additions of convolutions and dense layers, forward and backward; those of other ops
are few and left out. Bytes are those of a step that keeps nothing in caches between two ops: every op reads its
inputs and writes its output, in float32.
"""

import numpy as np

from orchestrator.networks import Network

_FLOAT_BYTES = 4
_LEARNING = ("conv", "dense")
_WEIGHT_PASSES = 7
"""Read forward and backward; the gradient written and read; the velocity read and written; the weights written."""


def step_operations(network: Network, batch_size: int) -> float:
    """Of one step: forward, and backward to the weights and to the inputs, which the first layer does not need."""
    net = network.net
    first = next(op.name for op in net.ops if op.kind in _LEARNING)
    shapes = {weight.name: weight.shape for weight in net.weights}
    out = net.shapes[first]
    positions = int(np.prod(out[1:])) if len(out) > 1 else 1
    first_layer = int(np.prod(shapes[f"{first}.weight"])) * positions
    return float(2 * batch_size * (3 * int(net.multiply_adds) - first_layer))


def step_bytes(network: Network, batch_size: int) -> float:
    """Of one step: forward each op's inputs and output; backward both again, and the gradient of the inputs."""
    net = network.net
    sizes = {name: int(np.prod(shape)) for name, shape in net.shapes.items()}
    values = sum(3 * sum(sizes[name] for name in op.inputs) + 2 * sizes[op.name] for op in net.ops if op.inputs)
    return float(_FLOAT_BYTES * (batch_size * values + _WEIGHT_PASSES * net.weight_count))
