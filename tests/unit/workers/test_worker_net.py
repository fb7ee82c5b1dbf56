"""Shapes, counts and first weights of networks."""

import numpy
import pytest

from workers import models
from workers.net import Net, NetBuilder, Op


def test_idsia_at_48_has_the_papers_weights_and_multiply_adds():
    net = models.build("idsia", 43, 48)
    assert (net.weight_count, net.multiply_adds) == (1510863, 124243090)


def test_idsia_at_48_has_the_maps_of_the_paper():
    net = models.build("idsia", 43, 48)
    maps = [net.shapes[name] for name in ("conv1", "maxpool1", "conv2", "maxpool2", "conv3", "maxpool3", "dense1")]
    assert maps == [(100, 46, 46), (100, 23, 23), (150, 20, 20), (150, 10, 10), (250, 8, 8), (250, 4, 4), (230,)]


def test_resnet_32_has_about_0_46_million_weights():
    assert 0.45e6 < models.build("resnet", 43, 32, depth=32).weight_count < 0.475e6


@pytest.mark.parametrize("depth", [8, 20, 32])
def test_resnet_has_depth_many_layers_and_two_projections(depth):
    kinds = [op.kind for op in models.build("resnet", 43, 32, depth=depth).ops]
    assert kinds.count("conv") + kinds.count("dense") == depth + 2


def test_resnet_has_the_same_weights_at_every_size():
    counts = {models.build("resnet", 43, size, depth=20).weight_count for size in (32, 48, 64)}
    assert counts == {274619}


def test_resnet_convolutions_have_no_bias():
    net = models.build("resnet", 43, 32, depth=20)
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
        models.build(name, 43, size, **params)


def small(**conv):
    net = NetBuilder((3, 9, 7))
    net.dense(net.flatten(net.maxpool(net.conv(net.input, 4, 3, **conv), 2, 2)), 5)
    return net.net()


def test_padding_is_top_bottom_left_right():
    assert small(padding=(1, 2, 0, 3)).shapes["conv1"] == (4, 9 + 3 - 2, 7 + 3 - 2)


def test_rows_that_do_not_fill_a_window_are_left_out():
    assert small().shapes["maxpool1"] == (4, 3, 2)  # of 7 x 5


def test_a_strided_convolution_counts_its_output_pixels_only():
    net = NetBuilder((3, 9, 7))
    net.conv(net.input, 4, 3, stride=2, padding=1)
    assert net.net().multiply_adds == 3 * 9 * 4 * 5 * 4


def test_weights_are_named_and_shaped_in_op_order():
    shapes = [(weight.name, weight.shape) for weight in small().weights]
    assert shapes == [
        ("conv1.weight", (4, 3, 3, 3)),
        ("conv1.bias", (4,)),
        ("dense1.weight", (5, 24)),
        ("dense1.bias", (5,)),
    ]


def test_running_averages_are_weights_that_do_not_count():
    net = NetBuilder((3, 4, 4))
    net.batchnorm(net.input)
    assert (net.net().weight_count, len(net.net().weights)) == (6, 4)


def test_first_weights_are_the_frozen_stream_of_their_seed():
    drawn = small().start(7)["conv1.weight"]
    stream = numpy.random.RandomState(7).standard_normal(4 * 27).reshape(4, 3, 3, 3)
    assert numpy.array_equal(drawn, (stream * numpy.sqrt(2 / 27.0)).astype(numpy.float32))


def test_first_weights_have_the_spread_of_he():
    weights = models.build("idsia", 43, 48).start(0)["conv2.weight"]
    assert abs(weights.std() / numpy.sqrt(2 / 1600.0) - 1) < 0.01  # 240,000 draws: 1 % is seven standard errors


def test_batch_normalisation_starts_as_the_identity():
    net = NetBuilder((3, 4, 4))
    net.batchnorm(net.input)
    assert [float(value[0]) for value in net.net().start(0).values()] == [1, 0, 0, 1]


def test_values_are_let_go_after_their_last_reader():
    net = models.build("resnet", 43, 32, depth=8)
    assert [name for op in net.ops for name in net.last_uses[op.name]].count("relu1") == 1
    assert "relu1" in net.last_uses["add1"]


def test_a_changed_net_differs_in_that_op_only():
    net = small()
    changed = net.changed("conv1", padding=(1, 1, 1, 1))
    assert [a.name for a, b in zip(net.ops, changed.ops) if a != b] == ["conv1"]


PICTURE = Op("input", "input", (), {"shape": (3, 4, 4)})
CONV = {"channels": 2, "kernel": 3, "stride": 1, "padding": (0, 0, 0, 0), "bias": True}


@pytest.mark.parametrize(
    ("ops", "sentence"),
    [
        ([PICTURE, Op("softmax1", "softmax", ("input",), {})], "softmax1 is of kind 'softmax'"),
        ([PICTURE, Op("relu1", "relu", ("conv1",), {})], "reads 'conv1', which no earlier op makes"),
        ([PICTURE, Op("add1", "add", ("input",), {})], "add1 .add. has 1 inputs; it takes 2"),
        ([Op("relu1", "relu", ("input",), {})], "the first op, and no other, is the input"),
        ([PICTURE, PICTURE], "'input' cannot name an op"),
        ([PICTURE, Op("Conv-1", "relu", ("input",), {})], "'Conv-1' cannot name an op"),
        ([PICTURE, Op("conv1", "conv", ("input",), dict(CONV, kernel=5))], "kernel of 5 does not fit a map of 4 x 4"),
        ([PICTURE, Op("conv1", "conv", ("input",), dict(CONV, padding=(0, -1, 0, 0)))], "negative"),
        ([PICTURE, Op("dense1", "dense", ("input",), {"features": 3, "bias": True})], "flatten it first"),
        ([PICTURE, Op("dropout1", "dropout", ("input",), {"rate": 1.0})], "rate is 1.0"),
        ([PICTURE, Op("maxpool1", "maxpool", ("input",), {"kernel": 2, "stride": 0})], "must be at least 1"),
    ],
)
def test_a_list_of_ops_that_is_no_network_says_which_op(ops, sentence):
    with pytest.raises(ValueError, match=sentence):
        Net(ops)


def test_a_sum_of_two_shapes_names_both():
    net = NetBuilder((3, 4, 4))
    net.add(net.input, net.conv(net.input, 3, 3))
    with pytest.raises(ValueError, match=r"add1 \(add\): its inputs have the shapes \(3, 4, 4\) and \(3, 2, 2\)"):
        net.net()


def tiny():
    net = NetBuilder((3, 4, 4))
    net.dense(net.globalpool(net.conv(net.input, 2, 3)), 5)
    return net.net()


def test_weights_are_read_as_they_were_written(tmp_path):
    net = tiny()
    numpy.savez(str(tmp_path / "weights.npz"), **net.start(3))
    seen = net.read(str(tmp_path / "weights.npz"))
    assert list(seen) == [weight.name for weight in net.weights]
    assert all(numpy.array_equal(seen[name], value) for name, value in net.start(3).items())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda weights: weights.pop("conv1.bias"), "lacks conv1.bias"),
        (lambda weights: weights.update(conv9=weights["conv1.bias"]), "has conv9"),
        (
            lambda weights: weights.update({"conv1.bias": weights["conv1.bias"][:1]}),
            r"conv1.bias is of shape \(1,\); this network's is \(2,\)",
        ),
    ],
)
def test_weights_of_another_network_are_refused_by_name(tmp_path, change, sentence):
    net = tiny()
    weights = net.start(0)
    change(weights)
    numpy.savez(str(tmp_path / "weights.npz"), **weights)
    with pytest.raises(ValueError, match=sentence):
        net.read(str(tmp_path / "weights.npz"))


def test_a_file_that_holds_no_weights_is_named(tmp_path):
    (tmp_path / "weights.npz").write_text("not a zip")
    with pytest.raises(ValueError, match=r"weights\.npz cannot be read as weights"):
        tiny().read(str(tmp_path / "weights.npz"))
