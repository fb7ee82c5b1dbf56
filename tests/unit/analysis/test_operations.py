"""Operations and bytes of a training step."""

import pytest

from orchestrator.analysis.operations import step_bytes, step_operations
from tests.networks import network_of

RESNET, IDSIA = network_of("resnet20", 32), network_of("idsia", 48)


def test_backward_costs_twice_forward_less_the_first_layer():
    net = IDSIA.net
    first_layer = 3 * 3 * 3 * 100 * 46 * 46
    assert net.multiply_adds == 124_243_090
    assert step_operations(IDSIA, 64) == 2 * 64 * (3 * net.multiply_adds - first_layer)


def test_operations_and_bytes_grow_with_the_batch():
    one, two = (step_operations(RESNET, batch) for batch in (32, 64))
    assert two == 2 * one
    assert step_bytes(RESNET, 64) / step_bytes(RESNET, 32) == pytest.approx(2, rel=0.05)


def test_a_resnet_does_less_for_each_byte_than_idsia():
    intensity = [step_operations(network, 64) / step_bytes(network, 64) for network in (RESNET, IDSIA)]
    assert intensity[0] < intensity[1]
