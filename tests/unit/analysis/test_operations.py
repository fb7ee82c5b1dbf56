"""Operations and bytes of a training step."""

import pytest

from orchestrator.analysis.operations import step_bytes, step_operations
from tests import fake_run as fake
from workers import models


def test_backward_costs_twice_forward_less_the_first_layer():
    net = models.build("idsia", 43, 48)
    first_layer = 3 * 3 * 3 * 100 * 46 * 46
    assert net.multiply_adds == 124_243_090
    assert step_operations(fake.IDSIA, 48, 43, 64) == 2 * 64 * (3 * net.multiply_adds - first_layer)


def test_operations_and_bytes_grow_with_the_batch():
    one, two = (step_operations(fake.RESNET, 32, 43, batch) for batch in (32, 64))
    assert two == 2 * one
    assert step_bytes(fake.RESNET, 32, 43, 64) / step_bytes(fake.RESNET, 32, 43, 32) == pytest.approx(2, rel=0.05)


def test_a_resnet_does_less_for_each_byte_than_idsia():
    intensity = [step_operations(*of, 43, 64) / step_bytes(*of, 43, 64) for of in ((fake.RESNET, 32), (fake.IDSIA, 48))]
    assert intensity[0] < intensity[1]
