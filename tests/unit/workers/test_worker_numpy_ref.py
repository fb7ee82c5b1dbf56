"""The oracle: hand-worked numbers for each op, and its reference_check."""

import numpy
import pytest

from tests.contract.adapter_facts import every_window, further_ops
from tests.small_networks import residual
from workers import reference_check
from workers.bounds import bounds
from workers.frameworks import Settings
from workers.frameworks.numpy_ref.adapter import Adapter, softmax_cross_entropy
from workers.net import NetBuilder
from workers.protocol import BadJob, Training, Unsupported

SETTINGS = Settings(Training("sgd", "he_normal", 0.5, 0.9, batch_size=1, epochs=1), threads=1, seed=0)
RAMP = numpy.arange(9, dtype=numpy.float32).reshape(1, 1, 3, 3)


def logits(write, weights=(), x=RAMP):
    """What a network of one channel gives for `x`; weights: name -> list, the others as they start."""
    builder = NetBuilder(x.shape[1:])
    write(builder)
    net = builder.net()
    start = net.start(0)
    for name, value in dict(weights).items():
        start[name] = numpy.array(value, numpy.float32).reshape(start[name].shape)
    adapter = Adapter(net, start, "cpu", SETTINGS, {})
    return adapter.predict(adapter.place(x, numpy.zeros(len(x), int))).ravel().tolist()


def test_a_convolution_is_a_sum_of_products_and_a_bias():
    seen = logits(lambda n: n.conv(n.input, 1, 2), {"conv1.weight": [1, 2, 3, 4], "conv1.bias": [0.5]})
    # 0 1 / 3 4: 0*1 + 1*2 + 3*3 + 4*4 = 27; every step to the right adds 10, every row adds 30.
    assert seen == [27.5, 37.5, 57.5, 67.5]


def test_padding_on_one_side_shifts_the_picture():
    seen = logits(lambda n: n.conv(n.input, 1, 1, 2, (1, 0, 0, 1), bias=False), {"conv1.weight": [1]})
    assert seen == [0, 0, 3, 5]  # rows -1 and 1, columns 0 and 2 of 0 1 2 / 3 4 5 / 6 7 8


def test_a_stride_of_two_takes_every_other_pixel():
    assert logits(lambda n: n.conv(n.input, 1, 1, 2, bias=False), {"conv1.weight": [1]}) == [0, 2, 6, 8]


def test_pools_leave_out_the_row_that_does_not_fill_a_window():
    assert logits(lambda n: n.maxpool(n.input)) == [4]
    assert logits(lambda n: n.avgpool(n.input)) == [2]


def test_overlapping_windows():
    assert logits(lambda n: n.maxpool(n.input, 2, 1)) == [4, 5, 7, 8]


def test_globalpool_is_the_mean():
    assert logits(lambda n: n.globalpool(n.input)) == [4]


def test_inference_normalises_with_the_running_averages():
    weights = {name: [value] for name, value in zip(["gamma", "beta", "mean", "var"], [2, 1, 4, 3])}
    seen = logits(lambda n: n.batchnorm(n.input, 1.0), {"batchnorm1." + end: v for end, v in weights.items()})
    assert seen == [2 * (v - 4) / 2 + 1 for v in range(9)]  # sqrt(3 + 1) = 2


def test_dropout_does_nothing_at_inference():
    assert logits(lambda n: n.dropout(n.input, 0.5)) == list(range(9))


def test_dropout_keeps_the_expected_value_in_training():
    builder = NetBuilder((1, 100, 100))
    builder.flatten(builder.dropout(builder.input, 0.25))
    adapter = Adapter(builder.net(), {}, "cpu", SETTINGS, {})
    kept = adapter._forward(numpy.ones((1, 1, 100, 100)), training=True)
    assert set(numpy.unique(kept)) == {0, 1 / 0.75}
    assert abs(kept.mean() - 1) < 0.03  # 10,000 draws: five standard errors


def test_cross_entropy_of_equal_logits_is_the_log_of_the_count():
    loss, gradient = softmax_cross_entropy(numpy.zeros((2, 4)), numpy.array([0, 3]))
    assert loss == pytest.approx(numpy.log(4))
    assert (gradient * 2).tolist() == [[-0.75, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, -0.75]]


def test_two_updates_of_sgd_with_momentum():
    builder = NetBuilder((1, 1, 1))
    builder.dense(builder.flatten(builder.input), 2, bias=False)
    adapter = Adapter(builder.net(), {"dense1.weight": numpy.zeros((2, 1), numpy.float32)}, "cpu", SETTINGS, {})
    batch = adapter.place(numpy.ones((1, 1, 1, 1), numpy.float32), numpy.array([0]))
    adapter.step(batch)
    # Probabilities 1/2: gradient (-1/2, 1/2), rate 0.5.
    assert adapter.weights()["dense1.weight"].ravel().tolist() == [0.25, -0.25]
    adapter.step(batch)
    gradient = -1 / (1 + numpy.exp(0.5))
    expected = 0.25 - 0.5 * (0.9 * -0.5 + gradient)
    assert adapter.weights()["dense1.weight"][0, 0] == pytest.approx(expected, rel=1e-6)


def test_running_averages_keep_0_9_and_use_unbiased_variance():
    builder = NetBuilder((1, 3, 3))
    builder.flatten(builder.batchnorm(builder.input))
    net = builder.net()
    adapter = Adapter(net, net.start(0), "cpu", SETTINGS, {})
    adapter.step(adapter.place(RAMP, numpy.array([0])))
    weights = adapter.weights()
    assert weights["batchnorm1.mean"][0] == pytest.approx(0.4)  # mean of 0..8 is 4
    assert weights["batchnorm1.var"][0] == pytest.approx(0.9 + 0.1 * 60 / 8)  # squares sum to 60


def every_op():
    """A network with every op that two computations can agree on, odd maps, lopsided padding, overlapping pools."""
    net = NetBuilder((3, 11, 9))
    x = net.relu(net.batchnorm(net.conv(net.input, 5, 3, 2, (0, 1, 2, 1), bias=False)))
    side = net.conv(x, 5, 1)
    x = net.add(net.batchnorm(net.conv(x, 5, 3, 1, 1)), side)
    x = net.avgpool(net.maxpool(net.relu(x), 2, 1), 2, 2)
    x = net.relu(net.dense(net.flatten(x), 7))
    net.dense(net.add(x, net.dense(net.globalpool(side), 7, bias=False)), 6)
    return net.net()


@pytest.mark.parametrize("net", [every_op(), every_window(), residual((3, 8, 8), 6), residual((1, 8, 12), 6)])
def test_the_witness_agrees_with_the_oracle(net):
    rng = numpy.random.RandomState(1)
    x = rng.standard_normal((3,) + net.shapes["input"])
    figures = reference_check.compare(net, net.start(2), x, rng.randint(0, net.classes, 3))
    assert {name: value for name, value in figures.items() if value > bounds("reference")[name]} == {}


@pytest.mark.parametrize("name", sorted(further_ops()))
def test_the_witness_agrees_on_each_further_op(name):
    net, rng = further_ops()[name], numpy.random.RandomState(1)
    x = 2 * rng.standard_normal((3,) + net.input)
    figures = reference_check.compare(net, net.start(2), x, rng.randint(0, net.classes, 3))
    assert {name: value for name, value in figures.items() if not value <= bounds("reference")[name]} == {}


class WrongPoolGradient(Adapter):
    """Sends the gradient of a maximum to every pixel of its window."""

    def __init__(self, *arguments):
        Adapter.__init__(self, *arguments)
        self._layers["maxpool1"].backward = self._everywhere

    def _everywhere(self, gradient):
        self._layers["maxpool1"].winner[:] = 0
        return type(self._layers["maxpool1"]).backward(self._layers["maxpool1"], gradient)


class KeepsMore(Adapter):
    """Keeps 0.99 of the running averages."""

    def __init__(self, net, *rest):
        Adapter.__init__(self, net.changed("batchnorm1", kept=0.99), *rest)


class Nesterov(Adapter):
    """Another update rule."""

    def step(self, batch):
        loss = Adapter.step(self, batch)
        for name, state in self._state.items():
            self._weights[name] -= self._rate * 0.9 * state["velocity"]
        return loss


class ShiftedPadding(Adapter):
    """Pads at the top what it should at the bottom."""

    def __init__(self, net, *rest):
        Adapter.__init__(self, net.changed("conv1", padding=(1, 0, 2, 1)), *rest)


@pytest.mark.parametrize(
    ("wrong", "figure"),
    [
        (WrongPoolGradient, "reference_gradients"),
        (KeepsMore, "reference_averages"),
        (Nesterov, "reference_weights"),
        (ShiftedPadding, "reference_logits"),
        (ShiftedPadding, "reference_loss"),
    ],
)
def test_the_reference_check_catches_a_wrong_oracle(monkeypatch, wrong, figure):
    monkeypatch.setattr(reference_check, "Oracle", wrong)
    net = every_op()
    rng = numpy.random.RandomState(1)
    x = rng.standard_normal((3,) + net.shapes["input"])
    assert reference_check.compare(net, net.start(2), x, rng.randint(0, 6, 3))[figure] > bounds("reference")[figure]


def test_the_oracle_has_no_gpu():
    net = residual((3, 8, 8), 6)
    with pytest.raises(Unsupported, match="device"):
        Adapter(net, net.start(0), "gpu", SETTINGS, {})


def test_an_unknown_option_is_a_bad_job():
    net = residual((3, 8, 8), 6)
    with pytest.raises(BadJob, match=r"options\.tf32 is not known"):
        Adapter(net, net.start(0), "cpu", SETTINGS, {"tf32": True})
