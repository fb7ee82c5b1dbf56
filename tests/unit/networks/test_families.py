"""The families: their shapes, counts and what they refuse."""

import pytest

from orchestrator.networks import InputSize, families
from tests.networks import net_of
from tests.small_networks import residual


def test_idsia_at_48_has_the_papers_weights_and_multiply_adds():
    net = net_of("idsia", 48, 43)
    assert (net.weight_count, net.multiply_adds) == (1510863, 124243090)


def test_idsia_at_48_has_the_maps_of_the_paper():
    net = net_of("idsia", 48, 43)
    maps = [net.shapes[name] for name in ("conv1", "maxpool1", "conv2", "maxpool2", "conv3", "maxpool3", "dense1")]
    assert maps == [(100, 46, 46), (100, 23, 23), (150, 20, 20), (150, 10, 10), (250, 8, 8), (250, 4, 4), (230,)]


def test_resnet_32_has_about_0_46_million_weights():
    assert 0.45e6 < net_of("resnet32", 32, 43).weight_count < 0.475e6


@pytest.mark.parametrize("depth", [8, 20, 32])
def test_resnet_has_depth_many_layers_and_two_projections(depth):
    kinds = [op.kind for op in net_of(f"resnet{depth}", 32, 43).ops]
    assert kinds.count("conv") + kinds.count("dense") == depth + 2


def test_resnet_has_the_same_weights_at_every_size():
    counts = {net_of("resnet20", size, 43).weight_count for size in (32, 48, 64)}
    assert counts == {274619}


def test_resnet_convolutions_have_no_bias():
    net = net_of("resnet20", 32, 43)
    assert [w.name for w in net.weights if w.name.endswith(".bias")] == ["dense1.bias"]


@pytest.mark.parametrize(
    ("name", "size", "params", "sentence"),
    [
        ("resnet", 32, {"depth": 21}, "6n + 2"),
        ("resnet", 50, {"depth": 20}, "multiple of 4; 50 is not"),
        ("resnet", 32, {}, "model resnet needs depth"),
        ("idsia", 48, {"depth": 20}, "model idsia takes no depth"),
        ("idsia", 16, {}, "at least 30"),
        ("vgg", 48, {}, "there is no model 'vgg'; known: idsia, resnet"),
    ],
)
def test_a_model_that_cannot_be_says_why(name, size, params, sentence):
    with pytest.raises(ValueError, match=sentence.replace("+", r"\+")):
        families.build(name, InputSize.square(size), 43, **params)


def test_the_network_of_the_workers_tests_is_the_familys():
    assert residual((1, 16, 24), 7).ops == net_of("resnet8", [1, 16, 24], 7).ops
    assert residual((3, 32, 32), 43, blocks=3).ops == net_of("resnet20", 32).ops
