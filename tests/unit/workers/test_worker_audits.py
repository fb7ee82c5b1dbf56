"""Audited steps: which are drawn, what is kept of them, what the clocks see of it, and which wrong steps are found."""

import tracemalloc

import numpy
import pytest

from tests.small_networks import residual
from workers import audits, loop
from workers.batches import Batches
from workers.bounds import BFLOAT16, FLOAT32, bounds, is_within, worst
from workers.frameworks import Settings
from workers.frameworks.numpy_ref.adapter import Adapter
from workers.jobs import audit
from workers.optimisers import rule_of
from workers.protocol import Measure, Schedule, Training

RATE = 0.01
TRAINING = Training("sgd", "he_normal", RATE, 0.9, 8, 2)
NET = residual((3, 8, 8), 5)


def test_no_first_step_of_an_epoch_is_drawn_and_none_twice():
    for _ in range(50):
        steps = audits.drawn(6, epochs=3, steps=5)
        assert len(set(steps)) == 6
        assert all(0 <= epoch < 3 and 1 <= step < 5 for epoch, step in steps)


def test_one_step_at_least_comes_after_those_of_the_selfcheck():
    for _ in range(50):
        assert any(epoch * 12 + step > 20 for epoch, step in audits.drawn(2, epochs=4, steps=12))


def test_two_trainings_are_audited_in_other_steps():
    assert len({tuple(audits.drawn(3, epochs=9, steps=100)) for _ in range(5)}) > 1


@pytest.mark.parametrize(("count", "epochs", "steps", "drawn"), [(0, 3, 9, 0), (5, 1, 3, 2), (5, 2, 1, 0)])
def test_no_more_steps_are_drawn_than_there_are(count, epochs, steps, drawn):
    assert len(audits.drawn(count, epochs, steps)) == drawn


def test_a_long_training_needs_no_list_of_its_steps():
    tracemalloc.start()
    try:
        assert len(audits.drawn(2, epochs=1000, steps=3000)) == 2
        assert tracemalloc.get_traced_memory()[1] < 100_000  # bytes; a list of these steps has hundreds of millions
    finally:
        tracemalloc.stop()


class Slow(object):
    """An adapter whose copies of the weights take a second each, and each of whose steps takes 10 ms."""

    def __init__(self, drain=0.0):
        self.now, self.drain, self.copies = 0.0, drain, 0

    def clock(self):
        return self.now

    def place(self, x, y):
        return x

    def step(self, batch):
        self.now += 0.01

    def sync(self):
        pass

    def loss_value(self, handle):
        self.now += self.drain + 0.001
        self.drain = 0.0
        return 0.5

    def weights(self):
        self.now += 1.0
        self.copies += 1
        return {"a": numpy.zeros(2, numpy.float32)}

    def train(self, sync, count):
        said = []
        batches = Batches(numpy.zeros((40, 3, 2, 2), numpy.uint8), numpy.zeros(40, int), 2)
        measure = Measure(sync, "host", 0, 0, 0.0, "end", "none", count)
        asked = loop.Asked(0, 1, measure, rule_of(TRAINING))
        kept = loop.train(self, batches, None, asked, lambda kind, **fields: said.append((kind, fields)), self.clock)
        return kept.audits, next(fields for kind, fields in said if kind == "epoch")


@pytest.mark.parametrize("sync", ["step", "block"])
def test_copies_are_in_no_clock(sync):
    slow = Slow()
    kept, epoch = slow.train(sync, 3)
    assert 5 <= slow.copies <= 9  # neighbours share some
    assert kept.seconds == pytest.approx(slow.copies)
    assert epoch["epoch_seconds"] == pytest.approx(0.2)
    times = epoch["step_seconds"] if sync == "step" else epoch["block_seconds"]
    assert sum(times) == pytest.approx(0.2)


def test_without_audits_no_weights_are_copied():
    slow = Slow()
    slow.train("step", 0)
    assert slow.copies == 0


def test_what_a_device_still_had_to_do_is_timed():
    assert Slow().train("step", 0)[1]["drain_seconds"] == pytest.approx(0.0)
    assert Slow(drain=5.0).train("step", 0)[1]["drain_seconds"] == pytest.approx(5.0)


class Decaying(Adapter):
    """An oracle with a weight decay that nobody asked for."""

    def gradients(self, batch):
        loss, gradients = Adapter.gradients(self, batch)
        return loss, {name: value + 1e-4 * self._weights[name] for name, value in gradients.items()}


class Halved(Adapter):
    """One whose loss is divided by twice the batch."""

    def gradients(self, batch):
        loss, gradients = Adapter.gradients(self, batch)
        return loss, {name: value / 2 for name, value in gradients.items()}


class Tired(Adapter):
    """One that stops training after 20 steps."""

    taken = 0

    def step(self, batch):
        self.taken += 1
        if self.taken > 20:
            return self.gradients(batch)[0]
        return Adapter.step(self, batch)


class Boasting(Adapter):
    """One that reports half of its loss."""

    def loss_value(self, handle):
        return Adapter.loss_value(self, handle) / 2


class Biased(Adapter):
    """One whose running averages stand still."""

    def weights(self):
        start = NET.start(0)
        trained = {weight.name for weight in NET.weights if weight.is_trainable}
        return {name: value if name in trained else start[name] for name, value in Adapter.weights(self).items()}


class Narrow(Adapter):
    """One that computes in bfloat16, with sums in float32."""

    dtype = numpy.float32

    def __init__(self, net, weights, device, settings, options):
        Adapter.__init__(self, net, weights, device, settings._replace(precision=BFLOAT16), options)


class NarrowUntilTheSelfcheckIsOver(Narrow):
    """One that computes in float32 after 20 steps."""

    taken = 0

    def step(self, batch):
        self.taken += 1
        if self.taken == 21:
            self._layers = {name: layer.layer for name, layer in self._layers.items()}
            for layer in self._layers.values():
                layer.weights = self._weights
        return Narrow.step(self, batch)


def figures_of(adapter_class, folder, training=TRAINING, precision=FLOAT32):
    """The largest figures of four audited steps of a training of 24 steps."""
    rng = numpy.random.RandomState(0)
    batches = Batches(rng.randint(0, 255, (100, 3, 8, 8)).astype(numpy.uint8), rng.randint(0, 5, 100), 8)
    adapter = adapter_class(NET, NET.start(0), "cpu", Settings(training, 1, 0), {})
    losses, rule = [], rule_of(training, 12)

    def listen(kind, **fields):
        losses.extend([fields["loss"]] if kind == "epoch" else [])

    measure = Measure("step", "host", 0, 0, 0.0, "end", "none", 4)
    kept = loop.train(adapter, batches, None, loop.Asked(0, 2, measure, rule), listen, lambda: 0.0)
    kept.audits.save(str(folder))
    largest = dict.fromkeys(bounds("audit", precision), 0.0)
    for (epoch, step), (copies, states) in audit.load(str(folder / audits.FILE), NET, rule).items():
        batch = batches.cut(batches.shuffled(0, epoch)[step])
        one = audit.Audited(epoch, step, copies, batch, losses[epoch][step], states, 12 * epoch + step)
        found = audit.compare(NET, rule, one, precision)
        largest.update({name: worst([largest[name], value]) for name, value in found.items()})
    return largest


class OfTheBatch(Adapter):
    """One that keeps the variance of the batch (n in place of n - 1), as MXNet and Neon do."""

    def step(self, batch):
        before = {name: value.copy() for name, value in self._weights.items()}
        loss = Adapter.step(self, batch)
        for op in NET.ops:
            if op.kind == "batchnorm":
                _, height, width = NET.shapes[op.name]
                count = len(batch[1]) * height * width
                var, kept = self._weights[op.name + ".var"], op.params["kept"] * before[op.name + ".var"]
                var[:] = kept + (var - kept) * (count - 1) / count
        return loss


def test_the_variance_of_the_batch_itself_passes(tmp_path):
    figures = figures_of(OfTheBatch, tmp_path)
    assert all(figures[name] < bound / 10 for name, bound in bounds("audit").items()), figures


def test_an_audit_in_bfloat16_passes_what_rounds_as_it_says(tmp_path):
    figures = figures_of(Narrow, tmp_path, precision=BFLOAT16)
    assert is_within(figures, bounds("audit", BFLOAT16)), figures


@pytest.mark.parametrize("adapter_class", [Adapter, NarrowUntilTheSelfcheckIsOver])
def test_an_audit_in_bfloat16_finds_a_step_in_float32(tmp_path, adapter_class):
    figures = figures_of(adapter_class, tmp_path, precision=BFLOAT16)
    assert figures["rounding"] > bounds("audit", BFLOAT16)["rounding"], figures


def test_an_audit_in_float32_finds_a_step_in_bfloat16(tmp_path):
    figures = figures_of(Narrow, tmp_path)
    assert not is_within(figures, bounds("audit")), figures


def test_the_oracle_passes_its_own_audit(tmp_path):
    figures = figures_of(Adapter, tmp_path)
    assert all(figures[name] < bound / 10 for name, bound in bounds("audit").items()), figures


@pytest.mark.parametrize(
    ("adapter_class", "figure"),
    [(Decaying, "decay"), (Halved, "update"), (Tired, "update"), (Boasting, "loss"), (Biased, "averages")],
)
def test_a_wrong_step_is_found_by_its_figure(tmp_path, adapter_class, figure):
    figures = figures_of(adapter_class, tmp_path)
    assert figures[figure] > bounds("audit")[figure], figures


RULES_ASKED = {
    "nesterov": TRAINING._replace(optimiser="nesterov"),
    "adam": TRAINING._replace(optimiser="adam", beta2=0.999, epsilon=1e-8, learning_rate=1e-3, weight_decay=0.01),
    "adamw": TRAINING._replace(optimiser="adamw", beta2=0.999, epsilon=1e-8, learning_rate=1e-3, weight_decay=0.01),
    "rmsprop": TRAINING._replace(optimiser="rmsprop", momentum=0.0, beta2=0.9, epsilon=1e-8, learning_rate=1e-4),
    "lion": TRAINING._replace(optimiser="lion", beta2=0.99, learning_rate=1e-4, clip_norm=0.5),
    "decay apart": TRAINING._replace(weight_decay=0.1, decay="apart", label_smoothing=0.1),
    "one-cycle": TRAINING._replace(schedule=Schedule("one-cycle"), weight_decay=0.1),
}


@pytest.mark.parametrize("name", RULES_ASKED)
def test_the_oracle_passes_its_own_audit_of_each_rule(tmp_path, name):
    figures, allowed = figures_of(Adapter, tmp_path, RULES_ASKED[name]), bounds("audit")
    assert all(figures[figure] < bound / 10 for figure, bound in allowed.items()), figures


def test_no_adapter_is_asked_for_a_state_that_shows_itself(tmp_path):
    class Silent(Adapter):
        state = None

    assert figures_of(Silent, tmp_path)["state"] == 0.0


class OtherRule(Adapter):
    """An oracle that trains by another rule than it was asked for; `change` makes it of the Training."""

    def __init__(self, net, weights, device, settings, options):
        Adapter.__init__(
            self, net, weights, device, settings._replace(training=self.change(settings.training)), options
        )


@pytest.mark.parametrize(
    ("asked", "change", "figure"),
    [
        ("adam", {"optimiser": "adamw"}, "update"),
        ("adamw", {"optimiser": "adam"}, "state"),
        ("adam", {"beta2": 0.9}, "state"),
        ("adam", {"epsilon": 1e-2}, "update"),
        ("nesterov", {"optimiser": "sgd"}, "update"),
        ("rmsprop", {"beta2": 0.99}, "state"),
        ("lion", {"clip_norm": None}, "state"),
        ("lion", {"weight_decay": 10.0}, "decay"),
        ("decay apart", {"decay": "coupled"}, "update"),
        ("decay apart", {"label_smoothing": 0.0}, "loss"),
    ],
)
def test_another_rule_than_the_one_asked_for_is_found(tmp_path, asked, change, figure):
    kind = type("Changed", (OtherRule,), {"change": lambda self, training: training._replace(**change)})
    figures = figures_of(kind, tmp_path, RULES_ASKED[asked])
    assert figures[figure] > bounds("audit")[figure], figures


def test_a_state_that_nobody_shows_is_no_audit(tmp_path):
    numpy.savez(
        str(tmp_path / audits.FILE),
        **{f"0/1/{copy}/{name}": value for copy in audits.COPIES for name, value in NET.start(0).items()},
    )
    rule = rule_of(RULES_ASKED["adam"], 12)
    ((copies, states),) = audit.load(str(tmp_path / audits.FILE), NET, rule).values()
    batch = numpy.zeros((8, 3, 8, 8), numpy.float32), numpy.zeros(8, int)
    with pytest.raises(audit.BadJob, match="the state of the optimiser 'adam' is not known"):
        audit.compare(NET, rule, audit.Audited(0, 1, copies, batch, 1.0, states))


def test_copies_of_another_network_are_refused(tmp_path):
    numpy.savez(str(tmp_path / audits.FILE), **{"0/1/front/a": numpy.zeros(1)})
    with pytest.raises(audit.BadJob, match="does not hold the audited steps of this network"):
        audit.load(str(tmp_path / audits.FILE), NET, rule_of(TRAINING))


class Lost(Adapter):
    """One that loses a running average, which no loss shows."""

    def weights(self):
        weights = Adapter.weights(self)
        name = next(weight.name for weight in NET.weights if not weight.is_trainable)
        return dict(weights, **{name: numpy.full_like(weights[name], numpy.nan)})


def test_an_average_that_is_no_number_fails_its_audit(tmp_path):
    assert numpy.isnan(figures_of(Lost, tmp_path)["averages"])
