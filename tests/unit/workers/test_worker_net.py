"""Shapes, counts and first weights of networks."""

import json

import numpy
import pytest

from tests.contract.adapter_facts import every_window
from tests.small_networks import residual
from workers.net import Net, NetBuilder
from workers.ops import Op, divisor, window_counts


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
    weights = wide().start(0)["conv2.weight"]
    assert abs(weights.std() / numpy.sqrt(2 / 1600.0) - 1) < 0.01  # 240,000 draws: 1 % is seven standard errors


def wide():
    """A network whose second convolution has 240,000 weights."""
    net = NetBuilder((3, 9, 9))
    net.conv(net.conv(net.input, 100, 3), 150, 4)
    return net.net()


def test_batch_normalisation_starts_as_the_identity():
    net = NetBuilder((3, 4, 4))
    net.batchnorm(net.input)
    assert [float(value[0]) for value in net.net().start(0).values()] == [1, 0, 0, 1]


def test_values_are_let_go_after_their_last_reader():
    net = residual((3, 32, 32), 43)
    assert [name for op in net.ops for name in net.last_uses[op.name]].count("relu1") == 1
    assert "relu1" in net.last_uses["add1"]


def test_a_changed_net_differs_in_that_op_only():
    net = small()
    changed = net.changed("conv1", padding=(1, 1, 1, 1))
    assert [a.name for a, b in zip(net.ops, changed.ops) if a != b] == ["conv1"]


PICTURE = Op("input", "input", (), {"shape": (3, 4, 4)})
WINDOW = {"kernel": (3, 3), "stride": (1, 1), "padding": (0, 0, 0, 0)}
CONV = {"channels": 2, "dilation": (1, 1), "groups": 1, "bias": True, **WINDOW}


@pytest.mark.parametrize(
    ("ops", "sentence"),
    [
        ([PICTURE, Op("softmax1", "softmax", ("input",), {})], "softmax1 is of kind 'softmax'"),
        ([PICTURE, Op("relu1", "relu", ("conv1",), {})], "reads 'conv1', which no earlier op makes"),
        ([PICTURE, Op("add1", "add", ("input",), {})], "add1 .add. has 1 inputs; it takes 2"),
        ([Op("relu1", "relu", ("input",), {})], "the first op, and no other, is the input"),
        ([PICTURE, PICTURE], "'input' cannot name an op"),
        ([PICTURE, Op("Conv-1", "relu", ("input",), {})], "'Conv-1' cannot name an op"),
        (
            [PICTURE, Op("conv1", "conv", ("input",), dict(CONV, kernel=(5, 5)))],
            "of 5 does not fit a map of 4 x 4",
        ),
        ([PICTURE, Op("conv1", "conv", ("input",), dict(CONV, padding=(0, -1, 0, 0)))], "negative"),
        ([PICTURE, Op("dense1", "dense", ("input",), {"features": 3, "bias": True})], "flatten it first"),
        ([PICTURE, Op("dropout1", "dropout", ("input",), {"rate": 1.0})], "rate is 1.0"),
        ([PICTURE, Op("maxpool1", "maxpool", ("input",), dict(WINDOW, stride=(0, 1)))], "stride is .0, 1.; it must be"),
        ([PICTURE, Op("maxpool1", "maxpool", ("input",), dict(WINDOW, kernel=3))], "kernel is 3; it must be .rows"),
        ([PICTURE, Op("maxpool1", "maxpool", ("input",), dict(WINDOW, padding=(3, 0, 0, 0)))], "3 x 3 empty"),
        (
            [PICTURE, Op("maxpool1", "maxpool", ("input",), {"kernel": (2, 2)})],
            "params kernel; it takes kernel, p",
        ),
        ([PICTURE, Op("conv1", "conv", ("input",), dict(CONV, groups=2))], "2 groups do not divide 3 channels"),
        ([PICTURE, Op("conv1", "conv", ("input",), dict(CONV, dilation=(2, 1)))], "kernel of 5 does not fit"),
        ([PICTURE, Op("conv1", "conv", ("input",), dict(CONV, bias=1))], "bias is 1; it must be true or false"),
        ([], "this one has none"),
    ],
)
def test_a_list_of_ops_that_is_no_network_says_which_op(ops, sentence):
    with pytest.raises(ValueError, match=sentence):
        Net(ops)


def test_a_network_is_the_same_after_its_way_through_json():
    net = every_window()
    again = Net.of(json.loads(json.dumps(net.data)))
    assert (again.ops, again.shapes, again.weights) == (net.ops, net.shapes, net.weights)


@pytest.mark.parametrize("data", ["conv", {"name": "a"}, {"name": "a", "kind": "relu", "inputs": "input"}, 7, None])
def test_what_is_no_op_is_refused_in_a_sentence(data):
    with pytest.raises(ValueError, match=r"is no op|must be a list of names"):
        Net.of([data])


def test_windows_and_groups_have_their_shapes_and_costs():
    net = every_window()
    assert net.shapes["conv1"] == (8, (17 + 1 - 5) // 2 + 1, 13 + 5 - 5 + 1)
    assert net.shapes["maxpool1"] == (8, 7 + 3 - 3 + 1, (14 + 1 - 2) // 2 + 1)
    assert {weight.name: weight.shape for weight in net.weights}["conv1.weight"] == (8, 2, 3, 5)
    assert [weight.fan_in for weight in net.weights if weight.start is None] == [2 * 15, 9, 128]
    assert net.multiply_adds == 2 * 15 * 8 * 7 * 14 + 9 * 8 * 8 * 7 + 128 * 5


def test_a_window_at_the_border_holds_fewer_values():
    net = NetBuilder((1, 3, 4))
    pool = net.avgpool(net.input, (2, 3), (1, 1), (1, 0, 1, 1))
    op = {op.name: op for op in net.net().ops}[pool]
    assert window_counts(op, (1, 3, 4)).tolist() == [[2, 3, 3, 2], [4, 6, 6, 4], [4, 6, 6, 4]]
    assert divisor(op._replace(params=dict(op.params, counts_padding=True)), (1, 3, 4)) == 6


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


def damaged(folder):
    """Files that hold no weights: name -> bytes."""
    numpy.savez(str(folder / "whole.npz"), **tiny().start(0))
    numpy.save(str(folder / "one.npy"), numpy.zeros(3))
    whole = (folder / "whole.npz").read_bytes()
    middle = len(whole) // 2
    return {
        "text": b"not a zip",
        "nothing": b"",
        "a zip that is cut": whole[:middle],
        "a zip with other bytes": whole[: middle // 2] + b"\xff" * 40 + whole[middle // 2 + 40 :],
        "one array": (folder / "one.npy").read_bytes(),
    }


@pytest.mark.parametrize("what", ["text", "nothing", "a zip that is cut", "a zip with other bytes", "one array"])
def test_a_file_that_holds_no_weights_is_named(tmp_path, what):
    (tmp_path / "weights.npz").write_bytes(damaged(tmp_path)[what])
    with pytest.raises(ValueError, match=r"weights\.npz holds no weights: it "):
        tiny().read(str(tmp_path / "weights.npz"))
