"""The selfcheck passes an adapter that only rounds differently, and catches each mutant."""

import functools

import numpy
import pytest

from tests.small_networks import residual
from workers import chaos, traces
from workers.batches import Batches
from workers.bounds import bounds
from workers.frameworks.numpy_ref.adapter import Adapter
from workers.jobs import selfcheck
from workers.net import NetBuilder
from workers.phases import Phases
from workers.protocol import BadJob

SIZE, CLASSES = 12, 7


def small():
    net = NetBuilder((3, SIZE, SIZE))
    x = net.relu(net.batchnorm(net.conv(net.input, 6, 3, 2, 1, bias=False)))
    x = net.maxpool(net.relu(net.conv(x, 8, 3)))
    net.dense(net.flatten(x), CLASSES)
    return net.net()


NET = small()
TRAINING = selfcheck.TRAINING
PICTURES, LABELS = selfcheck.lopsided((3, SIZE, SIZE), CLASSES, 650)


class Rounded(Adapter):
    """The oracle in float32: as far from it as a framework is."""

    dtype = numpy.float32


class OtherPadding(Rounded):
    def __init__(self, net, *rest):
        Rounded.__init__(self, net.changed("conv1", padding=(0, 2, 1, 1)), *rest)


class NoRelu(Rounded):
    def __init__(self, *arguments):
        Rounded.__init__(self, *arguments)
        self._layers["relu2"] = Through()


class Through(object):
    gradients = {}

    def forward(self, x, training):
        return x

    def backward(self, gradient):
        return (gradient,)


class Transposed(Rounded):
    def place(self, x, y):
        return Rounded.place(self, x.transpose(0, 1, 3, 2), y)


class SwappedChannels(Rounded):
    def place(self, x, y):
        return Rounded.place(self, x[:, ::-1], y)


class Decayed(Rounded):
    def step(self, batch):
        self._rate *= 0.98
        return Rounded.step(self, batch)


class DecayedByEpoch(Rounded):
    steps = 0

    def step(self, batch):
        self.steps += 1
        if self.steps == 11:
            self._rate *= 0.9
        return Rounded.step(self, batch)


class OtherMomentum(Rounded):
    def __init__(self, net, *rest):
        Rounded.__init__(self, net.changed("batchnorm1", kept=0.99), *rest)


class SummedLoss(Rounded):
    def gradients(self, batch):
        loss, gradients = Rounded.gradients(self, batch)
        return loss * len(batch[1]), {name: value * len(batch[1]) for name, value in gradients.items()}


class SummedGradient(Rounded):
    """Trains on the sum but tells the mean."""

    def gradients(self, batch):
        loss, gradients = Rounded.gradients(self, batch)
        return loss, {name: value * len(batch[1]) for name, value in gradients.items()}


class Unshuffled(Batches):
    def shuffled(self, seed, epoch):
        return [numbers for numbers in self.in_order() if len(numbers) == self.size]


class ShuffledOnce(Batches):
    def shuffled(self, seed, epoch):
        return Batches.shuffled(self, seed, 0)


class Longer(Batches):
    """Trains on the incomplete batch too."""

    def shuffled(self, seed, epoch):
        order = numpy.random.RandomState([seed, epoch]).permutation(len(self))
        return [order[at : at + self.size] for at in range(0, len(self), self.size)]


@functools.lru_cache(maxsize=None)
def oracle():
    regimes = selfcheck.REGIMES.items()
    return {name: selfcheck.trace_oracle(NET, TRAINING, regime, PICTURES, LABELS) for name, regime in regimes}


def figures(adapter_class, make_batches=Batches):
    build = selfcheck.build_with(adapter_class, NET, "cpu", TRAINING)
    seen = {
        name: selfcheck.trace_adapter(build, TRAINING, regime, PICTURES, LABELS, make_batches)
        for name, regime in selfcheck.REGIMES.items()
    }
    found = selfcheck.compare(NET, TRAINING, seen, oracle())
    return dict(
        found,
        **selfcheck.compare_odd_batches(
            build, NET, TRAINING, selfcheck.REGIMES["first"], PICTURES, LABELS, oracle()["first"]
        ),
    )


def broken(adapter_class, make_batches=Batches):
    """Figures beyond their bounds; not-a-number is beyond every bound."""
    seen = figures(adapter_class, make_batches)
    return {name for name, bound in bounds("selfcheck").items() if not seen[name] <= bound}


def test_float32_rounding_passes():
    assert broken(Rounded) == set()


@pytest.mark.parametrize("mutant", [OtherPadding, NoRelu, Transposed, SwappedChannels])
def test_another_picture_or_network_shows_in_the_first_logits(mutant):
    assert "logits" in broken(mutant)


@pytest.mark.parametrize("mutant", [Decayed, DecayedByEpoch])
def test_a_decayed_rate_shows_in_the_loss_but_not_at_once(mutant):
    seen = broken(mutant)
    assert "clean_loss_step_20" in seen
    assert "clean_loss_step_1" not in seen


@pytest.mark.parametrize("batch_size", [1, 2, 7, 8, 10, 11, 64, 512])
def test_the_first_step_is_one_step_in_every_batch(batch_size):
    regimes, _ = selfcheck.regimes_and_bounds(NET, "first", batch_size)
    trace = selfcheck.trace_oracle(NET, TRAINING, regimes["first"], PICTURES, LABELS)
    assert len(trace.losses) == 1
    assert len(trace.start_logits) >= selfcheck.PARTIAL


def test_another_bn_momentum_shows_in_the_running_averages():
    assert {"update_step_1", "averages_step_20"} <= broken(OtherMomentum)


@pytest.mark.parametrize("mutant", [SummedLoss, SummedGradient])
def test_a_summed_loss_shows_in_the_first_update(mutant):
    assert "update_step_1" in broken(mutant)


@pytest.mark.parametrize("mutant", [Unshuffled, ShuffledOnce])
def test_an_unshuffled_epoch_shows_in_the_loss(mutant):
    assert "clean_loss_step_20" in broken(Rounded, mutant)


def test_an_extra_batch_shows_in_the_loss():
    assert {"clean_loss_step_1", "study_loss_step_5"} <= broken(Rounded, Longer)


@pytest.mark.parametrize(("blocks", "rate"), [(1, 0.001), (3, 0.001), (5, 0.0001)])
def test_a_deep_network_is_compared_at_a_calmer_rate(blocks, rate):
    regimes, _ = selfcheck.regimes_and_bounds(residual((3, 32, 32), 43, blocks))
    assert regimes["clean"].learning_rate == rate


@pytest.mark.parametrize(("size", "batch"), [(32, 64), (64, 64), (128, 16), (224, 8)])
def test_a_network_that_costs_much_is_trained_in_small_batches(size, batch):
    net = residual((3, size, size), 43, 5)
    regimes, _ = selfcheck.regimes_and_bounds(net)
    assert [regimes[name].batch for name in ("first", "clean", "study", "long")] == [64, batch, batch, 8]
    assert [regimes[name].pictures // batch for name in ("clean", "study")] == [10, 5]


class Rounding:
    """What chaos.measure is given: a nudge moves the loss by so much at each rate, and by 0.1 in the other regimes."""

    def __init__(self, by_rate):
        self.by_rate, self.rates = by_rate, []

    def train(self, name, regime, nudge):
        self.rates += [] if nudge else [regime.learning_rate]
        return self.by_rate[regime.learning_rate] if name == "clean" and nudge else 0.1

    def compare(self, name, seen, wanted):
        figure = {"clean": "clean_loss_step_20", "study": "study_loss_step_5", "long": "update_step_45"}[name]
        return {figure: seen}

    def measure(self):
        allowed = {"clean_loss_step_20": 1e-3, "study_loss_step_5": 1e-3, "update_step_45": 10.0}
        wanted = dict.fromkeys(selfcheck.REGIMES, 0.0)
        return chaos.measure(selfcheck.REGIMES, allowed, wanted, self.train, self.compare)[0]


@pytest.mark.parametrize(
    ("by_rate", "rates", "rate", "own"),
    [
        ({0.001: 4e-4}, [], 0.001, {}),
        ({0.001: 6e-4, 0.0001: 9e-5}, [0.0001], 0.0001, {"study_loss_step_5": 1.0}),
        ({0.001: 6e-3, 0.0001: 1e-3, 0.00001: 1e-4}, [0.0001, 0.00001], 0.00001, {"study_loss_step_5": 1.0}),
        ({0.001: 6e-2, 0.00001: 1e-4}, [0.00001], 0.00001, {"study_loss_step_5": 1.0}),
        (
            {0.001: 6e-4, 0.0001: 6e-3},
            [0.0001],
            0.001,
            {"clean_loss_step_20": 6e-3, "study_loss_step_5": 1.0},
        ),
        (
            {0.001: float("nan"), 0.00001: 5e-4},
            [0.00001],
            0.00001,
            {"clean_loss_step_20": 5e-3, "study_loss_step_5": 1.0},
        ),
    ],
    ids=["calm", "a calmer rate", "the last rate", "far off", "calmest at its rate", "not finite"],
)
def test_the_rate_is_the_largest_that_is_calm_or_the_calmest(by_rate, rates, rate, own):
    rounding = Rounding(by_rate)
    calm = rounding.measure()
    assert (rounding.rates, calm.rate) == (rates, rate)
    assert calm.bounds == pytest.approx(own)


def measured(allowed):
    """(Calm, trace of 'clean') of NET where these are the bounds."""
    phases = Phases(lambda kind, **fields: None, lambda: 0.0, [("before", 1)])
    phases.enter("before")
    return selfcheck.measure(NET, TRAINING, selfcheck.REGIMES, allowed, oracle(), PICTURES, LABELS, phases)


def test_a_calm_network_keeps_its_rate_and_its_bounds():
    calm, clean = measured(dict(bounds("selfcheck")))
    assert calm == chaos.Calm(selfcheck.REGIMES["clean"].learning_rate, {})
    assert clean is oracle()["clean"]


def test_where_no_rate_is_calm_rounding_makes_the_bounds(tmp_path):
    calm, clean = measured(dict.fromkeys(bounds("selfcheck"), 0.0))
    assert calm.rate in (selfcheck.REGIMES["clean"].learning_rate, *chaos.CALMER_RATES)
    assert len(calm.bounds) >= 5
    assert set(calm.bounds) <= set(chaos.CHAOTIC)
    assert all(0 < bound < 0.1 for bound in calm.bounds.values())
    path = str(tmp_path / "reference.npz")
    traces.save(path, dict(oracle(), clean=clean), calm)
    assert traces.load(path, NET, selfcheck.REGIMES)[1] == calm
    regimes, allowed = selfcheck.calmed(selfcheck.REGIMES, bounds("selfcheck"), calm)
    assert regimes["clean"].learning_rate == calm.rate
    assert {name: allowed[name] for name in calm.bounds} == calm.bounds


def test_a_reference_without_measurement_says_so(tmp_path):
    path = str(tmp_path / "reference.npz")
    traces.save(path, oracle())
    assert traces.load(path, NET, selfcheck.REGIMES)[1] is None


def clipped(depth):
    """Convolutions without bias, each normalised and cut to 0 and 6: of black pictures every value is 0."""
    net = NetBuilder((3, 8, 8))
    x = net.input
    for _ in range(depth):
        x = net.op("clip", net.batchnorm(net.conv(x, 4, 3, padding=1, bias=False)), low=0, high=6)
    net.dense(net.globalpool(x), 6)
    return net.net()


@pytest.mark.parametrize(("depth", "explodes"), [(1, False), (12, True)])
def test_gradients_that_explode_on_black_pictures_are_known(depth, explodes):
    black = numpy.zeros((8, 3, 8, 8), numpy.float32)
    first = selfcheck.REGIMES["first"]._replace(batch=8)
    assert selfcheck._explodes(clipped(depth), first, black, numpy.arange(8) % 6) == explodes


def test_pictures_are_not_their_own_transpose_nor_is_red_blue():
    centred = PICTURES - PICTURES.mean((0, 1, 2, 3))
    for other in (centred.transpose(0, 1, 3, 2), centred[:, ::-1]):
        assert abs(numpy.corrcoef(centred.ravel(), other.ravel())[0, 1]) < 0.9


def test_a_reference_is_read_back_as_it_was(tmp_path):
    path = str(tmp_path / "reference.npz")
    traces.save(path, oracle())
    kept, _ = traces.load(path, NET, selfcheck.REGIMES)
    zeros = selfcheck.compare(NET, TRAINING, kept, oracle())
    assert set(zeros.values()) == {0.0}


def test_a_reference_of_another_network_is_refused(tmp_path):
    path = str(tmp_path / "reference.npz")
    traces.save(path, oracle())
    deeper = NetBuilder((3, SIZE, SIZE))
    deeper.dense(deeper.flatten(deeper.conv(deeper.conv(deeper.conv(deeper.input, 2, 3), 2, 3), 2, 3)), CLASSES)
    with pytest.raises(BadJob, match="does not hold the oracle's traces of this network"):
        traces.load(path, deeper.net(), selfcheck.REGIMES)


def test_one_array_that_is_no_number_fails_the_first_step():
    wanted = oracle()
    last = [weight.name for weight in NET.weights][-1]
    broken = dict(wanted["first"].weights, **{last: numpy.full_like(wanted["first"].weights[last], numpy.nan)})
    figures = selfcheck.compare(NET, TRAINING, {"first": wanted["first"]._replace(weights=broken)}, wanted)
    assert not figures["update_step_1"] <= bounds("selfcheck")["update_step_1"]


class DecayedWeights(Rounded):
    def step(self, batch):
        loss = Rounded.step(self, batch)
        for value in self._weights.values():
            value *= 0.999
        return loss


@pytest.mark.parametrize(("adapter", "is_within"), [(Rounded, True), (DecayedWeights, False)])
def test_a_network_of_dense_layers_alone_is_checked(adapter, is_within):
    net = NetBuilder((3, SIZE, SIZE))
    net.dense(net.flatten(net.input), CLASSES)
    net = net.net()
    first = selfcheck.REGIMES["first"]
    wanted = selfcheck.trace_oracle(net, TRAINING, first, PICTURES, LABELS)
    build = selfcheck.build_with(adapter, net, "cpu", TRAINING)
    found = selfcheck.compare_odd_batches(build, net, TRAINING, first, PICTURES, LABELS, wanted)
    assert (found["black_decay"] <= bounds("selfcheck")["black_decay"]) == is_within
