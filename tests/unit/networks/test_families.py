"""The families: their shapes, counts and what they refuse."""

import pytest

from orchestrator.networks import InputSize, Model, Network, families
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
        ("alexnet", 48, {}, "there is no model 'alexnet'; known: idsia, lenet, linear, mobilenet_v2, resnet"),
    ],
)
def test_a_model_that_cannot_be_says_why(name, size, params, sentence):
    with pytest.raises(ValueError, match=sentence.replace("+", r"\+")):
        families.build(name, InputSize.square(size), 43, **params)


def test_the_network_of_the_workers_tests_is_the_familys():
    assert residual((1, 16, 24), 7).ops == net_of("resnet8", [1, 16, 24], 7).ops
    assert residual((3, 32, 32), 43, blocks=3).ops == net_of("resnet20", 32).ops


@pytest.mark.parametrize(
    ("model", "size", "classes", "weights"),
    [
        # Of the authors' code and its best-known ports, at 1000 classes; MobileNetV2's paper says 3.4 million.
        (Model(name="mobilenet_v2"), InputSize.square(224), 1000, 3504872),
        (Model(name="squeezenet"), InputSize.square(224), 1000, 1235496),
        (Model(name="vgg", depth=11), InputSize.square(32), 10, 9231114),
        (Model(name="vgg", depth=16), InputSize.square(32), 10, 14728266),
        (Model(name="lenet"), InputSize(1, 32, 32), 10, 61706),
        (Model(name="lenet"), InputSize(1, 28, 28), 10, 61706),
    ],
)
def test_a_family_has_the_weights_of_its_source(model, size, classes, weights):
    assert Network.of(model, size, classes).net.weight_count == weights


def test_mobilenet_v2_has_the_multiply_adds_of_its_paper():
    net = Network.of(Model(name="mobilenet_v2"), InputSize.square(224), 1000).net
    assert round(net.multiply_adds / 1e6) == 301  # "300M"


@pytest.mark.parametrize("width", [50, 140])
def test_a_width_changes_the_channels_by_multiples_of_8(width):
    net = Network.of(Model(name="mobilenet_v2", params={"width": width}), InputSize.square(32), 43).net
    assert {shape[0] % 8 for shape in net.shapes.values() if len(shape) == 3 and shape[0] > 3} == {0}
    assert net.shapes["conv1"][0] == {50: 16, 140: 48}[width]


@pytest.mark.parametrize(
    ("model", "size", "sentence"),
    [
        (Model(name="mobilenet_v2", params={"width": 5}), 32, "a width of 10 to 200 percent; 5 is not"),
        (Model(name="vgg", depth=12), 32, "a depth of 11, 13, 16, 19; 12 is not"),
        (Model(name="vgg", depth=11), 48, "each side must be a multiple of 32"),
        (Model(name="squeezenet"), 16, "takes sides of at least 24"),
        (Model(name="lenet", params={"width": 5}), 32, "takes no width"),
        (Model(name="vgg"), 32, "model vgg needs depth"),
    ],
)
def test_a_family_says_what_it_cannot_be(model, size, sentence):
    with pytest.raises(ValueError, match=sentence):
        Network.of(model, InputSize.square(size), 10)


@pytest.mark.parametrize("side", [8, 12, 20, 28, 32, 64])
def test_lenet_takes_every_side(side):
    assert Network.of(Model(name="lenet"), InputSize(1, side, side), 10).net.classes == 10
