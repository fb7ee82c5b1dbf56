"""What the clocks read, with a clock that the fake adapter moves."""

import gc
import hashlib

import numpy
import pytest

from workers import loop
from workers.batches import Batches
from workers.optimisers import rule_of
from workers.protocol import Measure, NotFinite, Progress, Training

CONSTANT = rule_of(Training("sgd", "he_normal", 0.01, 0.9, 2, 1))
CUT, PLACE, STEP, SYNC, PREDICT = 0.001, 0.002, 0.010, 0.004, 0.050


class World(object):
    """A clock, an adapter whose work moves it, and batches whose cutting does; `said` are the events."""

    def __init__(self, pictures=8, losses=None):
        self.now = 100.0
        self.said = []
        self.calls = []
        self.losses = losses or {}
        self.batches = SlowBatches(self, numpy.zeros((pictures, 3, 2, 2), numpy.uint8), numpy.zeros(pictures, int), 2)

    def clock(self):
        return self.now

    def emit(self, kind, **fields):
        self.calls.append(kind)
        self.said.append((kind, fields))

    def events(self, kind):
        return [fields for said, fields in self.said if said == kind]

    def _pass(self, call, seconds):
        self.calls.append(call)
        self.now += seconds

    def place(self, x, y):
        self._pass("place", PLACE)
        return x

    def step(self, batch):
        self._pass("step", STEP)
        self.is_collecting = gc.isenabled()
        return self.calls.count("step") - 1

    def sync(self):
        self._pass("sync", SYNC)

    def loss_value(self, handle):
        self._pass("loss", 1.0)
        return self.losses.get(handle, 0.5)

    def predict(self, batch):
        self._pass("predict", PREDICT)
        return numpy.array([[2.0, 0.0]] * len(batch), numpy.float32)

    def train(self, **changes):
        measure = Measure("step", "host", 0, 0, 0.0, "end", "none", 0)
        measure = measure._replace(**{name: changes.pop(name) for name in measure._fields if name in changes})
        asked = loop.Asked(0, 1, measure, CONSTANT)._replace(**changes)
        loop.train(self, self.batches, self.batches, asked, self.emit, self.clock)
        return self.events("epoch")[0]


class SlowBatches(Batches):
    """Batches that take CUT seconds to cut."""

    def __init__(self, world, *rest):
        Batches.__init__(self, *rest)
        self._world = world

    def cut(self, numbers):
        self._world.now += CUT
        return Batches.cut(self, numbers)


def near(seconds):
    return pytest.approx(seconds, abs=1e-9)


def test_a_step_is_place_forward_backward_update_and_wait():
    assert World().train()["step_seconds"] == near([PLACE + STEP + SYNC] * 4)


def test_input_is_cutting_the_batch():
    assert World().train()["input_seconds"] == near([CUT] * 4)


def test_step_and_input_sum_to_the_epoch():
    epoch = World().train()
    assert sum(epoch["step_seconds"]) + sum(epoch["input_seconds"]) == near(epoch["epoch_seconds"])


def test_losses_are_read_after_the_clock_of_the_epoch():
    world = World()
    world.train()
    assert world.calls.index("loss") > max(at for at, call in enumerate(world.calls) if call == "step")


def test_resident_batches_are_placed_before_the_clock():
    world = World()
    epoch = world.train(feed="resident")
    assert world.calls[:5] == ["place"] * 4 + ["sync"]
    assert epoch["step_seconds"] == near([STEP + SYNC] * 4)
    assert epoch["epoch_seconds"] == near(4 * (STEP + SYNC))


def test_a_block_waits_for_the_device_once_at_its_end():
    world = World(pictures=80)
    epoch = world.train(sync="block")
    per_step = CUT + PLACE + STEP
    steps = 16  # the first count for which 13 ms a step reach 200 ms
    assert epoch["block_steps"] == [steps, steps, 8]
    assert epoch["block_seconds"] == near([steps * per_step + SYNC] * 2 + [8 * per_step + SYNC])
    assert sum(epoch["block_seconds"]) == near(epoch["epoch_seconds"])


def test_block_has_no_step_times():
    assert "step_seconds" not in World().train(sync="block")


def test_training_is_said_right_before_the_first_step():
    world = World()
    world.train(epochs=2)
    assert world.calls[:3] == ["training", "place", "step"]
    assert len(world.events("training")) == 1


def test_progress_is_told_after_steps_at_most_once_a_second():
    world = World(pictures=400)
    world.train()
    told = [fields["step"] for fields in world.events("progress") if "phase" not in fields]
    assert told == [59, 118, 177]  # 17 ms a step: the first step end at or past each further second
    trained = world.calls[: world.calls.index("epoch")]
    assert {trained[at - 1] for at, call in enumerate(trained) if call == "progress"} == {"sync"}


def test_scoring_tells_how_many_pictures_are_done():
    world = World(pictures=400)
    world.train()
    scoring = [fields for fields in world.events("progress") if "phase" in fields]
    assert {fields["phase"] for fields in scoring} == {"scoring validation pictures"}
    steps = [fields["step"] for fields in scoring]
    assert (steps == sorted(steps), scoring[0]["steps"]) == (True, 400)


def test_the_garbage_collector_is_off_during_steps_only():
    world = World()
    world.train()
    assert (world.is_collecting, gc.isenabled()) == (False, True)


@pytest.mark.parametrize(
    ("steps", "seconds", "flagged"),
    [(0, 0.0, 0), (2, 0.0, 2), (0, 0.02, 2), (3, 0.02, 3), (1, 0.02, 2), (99, 0.0, 4), (0, 99.0, 4)],
)
def test_warm_up_is_the_later_of_steps_and_seconds_in_epoch_one(steps, seconds, flagged):
    assert World().train(warmup_steps=steps, warmup_seconds=seconds)["warmup_steps"] == flagged


def test_no_later_epoch_is_warm_up():
    world = World()
    world.train(epochs=2, warmup_steps=99)
    assert [epoch["warmup_steps"] for epoch in world.events("epoch")] == [4, 0]


def test_warm_up_of_blocks_ends_with_a_block():
    assert World(pictures=80).train(sync="block", warmup_steps=17)["warmup_steps"] == 32


@pytest.mark.parametrize(("evaluate", "epochs"), [("epoch", [0, 1, 2]), ("end", [2])])
def test_validation_is_scored_each_epoch_or_at_the_end(evaluate, epochs):
    world = World()
    world.train(epochs=3, evaluate=evaluate)
    assert [score["epoch"] for score in world.events("score")] == epochs


def test_a_score_reads_every_picture_and_its_own_clock():
    world = World(pictures=5)
    score = loop.score(world, world.batches, world.clock)
    assert score["pictures"] == 5
    assert score["evaluate_seconds"] == near(3 * (CUT + PLACE + PREDICT))


def test_telling_the_progress_of_a_score_is_outside_its_clock():
    world = World(pictures=400)

    def slow_emit(kind, **fields):
        world.now += 50.0

    progress = Progress(slow_emit, world.clock, 0, 400, "scoring")
    score = loop.score(world, world.batches, world.clock, progress)
    assert progress.seconds >= 50.0
    assert score["evaluate_seconds"] == near(200 * (CUT + PLACE + PREDICT))


def test_a_score_is_accuracy_and_mean_cross_entropy():
    world = World(pictures=4)
    world.batches = SlowBatches(world, numpy.zeros((4, 3, 2, 2), numpy.uint8), numpy.array([0, 0, 0, 1]), 3)
    score = loop.score(world, world.batches, world.clock)
    right = numpy.log(1 + numpy.exp(-2))  # logits 2 and 0
    assert score["accuracy"] == 0.75
    assert score["loss"] == near((3 * right + right + 2) / 4)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_training_after_epoch(loss):
    world = World(losses={5: loss})
    with pytest.raises(NotFinite, match="step 1 of epoch 1"):
        world.train(epochs=3)
    assert len(world.events("epoch")) == 2


def test_each_epoch_trains_on_its_own_order():
    world = World()
    seen = []
    world.batches.shuffled = lambda seed, epoch: seen.append((seed, epoch)) or Batches.shuffled(world.batches, 0, 0)
    world.train(seed=9, epochs=2)
    assert seen == [(9, 0), (9, 1)]


class NativeWorld(World):
    """A world whose framework has a loader, which takes WAIT seconds for each batch and START for the first."""

    START, WAIT = 0.3, 0.003
    loaded = 0
    is_released = False
    surplus = 0

    def load(self, batches, order, workers):
        self.workers = workers
        self.calls.append("load")

        def run():
            self.now += self.START
            for numbers in list(order) + [order[0]] * self.surplus:
                self.now += self.WAIT
                self.loaded += 1
                yield Batches.cut(batches, numbers)
            self.is_released = True

        return run()


def test_a_native_step_places_a_loaded_batch_and_waits_as_input():
    epoch = NativeWorld().train(feed="native", loader_workers=4)
    assert epoch["step_seconds"] == near([PLACE + STEP + SYNC] * 4)
    wait, start = NativeWorld.WAIT, NativeWorld.START
    assert epoch["input_seconds"] == near([start + wait, wait, wait, wait])


def test_a_native_loader_is_made_before_it_is_timed():
    world = NativeWorld()
    epoch = world.train(feed="native", loader_workers=4)
    assert world.calls[:2] == ["load", "training"]
    assert epoch["epoch_seconds"] == near(sum(epoch["step_seconds"]) + sum(epoch["input_seconds"]))


def test_a_native_loader_gets_its_workers_and_ends_each_epoch():
    world = NativeWorld()
    world.train(feed="native", loader_workers=16, epochs=2)
    assert (world.workers, world.calls.count("load"), world.loaded, world.is_released) == (16, 2, 8, True)


def test_a_loader_that_gives_more_than_was_asked_for_is_a_bug():
    world = NativeWorld()
    world.surplus = 1
    with pytest.raises(ValueError, match="more batches than it was asked for"):
        world.train(feed="native")


class WeighedWorld(World):
    """A world whose weights move with each step; `place` keeps what it is given in mind for `predict`."""

    def weights(self):
        self._pass("weights", 1.0)
        return {"a": numpy.full(2, self.calls.count("step"), numpy.float32), "b": numpy.zeros(3, numpy.float32)}


def test_a_fingerprint_names_all_weights_and_the_classes_seen():
    world = WeighedWorld()
    world.train(fingerprint="epoch", epochs=2)
    first, second = world.events("fingerprint")
    assert (first["epoch"], second["epoch"]) == (0, 1)
    assert list(first["weights"]) == ["a", "b"]
    assert first["weights"]["b"] == hashlib.sha256(numpy.zeros(3, "<f4").tobytes()).hexdigest()
    assert first["weights"]["a"] != second["weights"]["a"]
    all_class_0 = hashlib.sha256(numpy.zeros(8, "<i8").tobytes()).hexdigest()
    assert first["predictions"] == {"valid": all_class_0}


def test_a_fingerprint_is_outside_every_clock():
    plain, hashed = WeighedWorld(), WeighedWorld()
    plain.train()
    hashed.train(fingerprint="epoch")
    assert hashed.events("epoch") == plain.events("epoch")
    assert hashed.events("score") == plain.events("score")


def test_nothing_is_fingerprinted_that_was_not_asked_for():
    world = World()  # which has no weights to give
    world.train()
    assert world.events("fingerprint") == []


def test_placing_is_timed_with_its_wait_and_trains_nothing():
    world = World(pictures=8)
    assert loop.place_alone(world, world.batches, 0, world.clock) == near([PLACE + SYNC] * 4)
    assert world.calls == ["sync", "place", "sync"] * 4


def test_placing_alone_takes_a_few_batches_of_many():
    world = World(pictures=100)
    assert len(loop.place_alone(world, world.batches, 0, world.clock)) == loop.PLACINGS


class Falling(object):
    """A rule whose rate is halved in each epoch, and changes once more in its second step."""

    learning_rate, shows_itself = 0.1, True

    def rate_at(self, epoch, step):
        return 0.1 / 2**epoch * (0.5 if step >= 1 else 1.0)


@pytest.mark.parametrize("sync", ["step", "block"])
def test_the_adapter_is_told_each_new_rate_before_its_step(sync):
    world = World()
    world.set_rate = lambda rate: world.calls.append(rate)
    world.train(rule=Falling(), epochs=2, sync=sync)
    told = [call for call in world.calls if call == "step" or isinstance(call, float)]
    first, second = ["step", 0.05, "step", "step", "step"], ["step", 0.025, "step", "step", "step"]
    assert told == first + second  # the second epoch begins at the rate that the first ended with


def with_slow_rate():
    world = World()

    def set_rate(rate):
        world.now += 5.0

    world.set_rate = set_rate
    return world


def test_a_rate_is_set_outside_of_every_clock():
    plain, slow = World().train(), with_slow_rate().train(rule=Falling())
    assert slow["step_seconds"] == pytest.approx([PLACE + STEP + SYNC] * 4)
    assert slow["epoch_seconds"] == pytest.approx(plain["epoch_seconds"])


def test_a_rate_is_set_outside_of_a_block():
    plain, slow = World().train(sync="block"), with_slow_rate().train(rule=Falling(), sync="block")
    assert slow["block_seconds"] == pytest.approx(plain["block_seconds"])
    assert slow["epoch_seconds"] == pytest.approx(plain["epoch_seconds"])


def test_a_constant_rate_is_never_told():
    World().train(epochs=2)  # it has no set_rate
