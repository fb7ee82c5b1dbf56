"""The selfcheck: compares this environment with numpy_ref, with the optimiser and initialiser of its trials.

It is of all regimes at one input size, or of the first step alone at another size or batch of the trials.

What the rule of the trials has besides (workers/optimisers.py: TRAITS) is checked with settings that make a mistake in
it large; see LOUD. So one check vouches for all of its values, and the audits of a trial for its own.

The adapter trains through the same loop and batches as a timed trial. The oracle does not: its order of batches, its
epochs and its rate are written a second time here, so that a loop that does not shuffle is found. Pictures are
asymmetric (not equal to their transpose, red unlike blue), so that a transposed picture or swapped channels change the
logits.

Figures are relative differences. The exit code is 0 also if the check fails: that is a result.
"""

import contextlib
import functools
import math
import os
from typing import NamedTuple

import numpy

from workers import chaos, loop, mixed, native, protocol, reference_check, traces
from workers.averages import over_n
from workers.batches import Batches
from workers.bounds import FLOAT32, bounds, is_within, worst
from workers.frameworks import Settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.net import weights_sha256
from workers.ops import PRODUCTS, size_of
from workers.optimisers import RULES, rule_of
from workers.phases import Phases
from workers.process import clock
from workers.protocol import BadJob, Measure, Schedule, Training
from workers.traces import Trace

PAYLOAD = ("optimiser", "initialiser", "traits", "batch_size", "steps")

SEED = 0
BATCH = 64
MOMENTUM = 0.9


class Regime(NamedTuple):
    """One short training. pictures: how many; no multiple of `batch`, since an incomplete batch is dropped."""

    pictures: int
    epochs: int
    learning_rate: float
    centre: float
    sync: str
    feed: str
    batch: int = BATCH

    @property
    def probed(self):
        """How many pictures the logits are compared of: those of a small batch at least, trained on or not."""
        return min(100, max(self.pictures, PARTIAL))


SMALL_BATCH = 8

# 1, 20 and 5 updates. Training at 0.01 on pictures in [0, 1] is chaotic in float32: rounding grows from 1e-7 to 1e-2 in
# 20 updates, in every framework. So the tight bounds are set where it is not, and the study's regime up to 5 updates.
# 45 more, small and slow ones, find a rate that changes later on, or steps that are left out now and then.
REGIMES = {
    "first": Regime(BATCH + 10, 1, 0.001, 0.5, "step", "host"),
    "clean": Regime(10 * BATCH + 10, 2, 0.001, 0.5, "step", "host"),
    "study": Regime(5 * BATCH + 10, 1, 0.01, 0.0, "block", "resident"),
    "long": Regime(15 * SMALL_BATCH + 3, 3, 0.00001, 0.5, "block", "host", SMALL_BATCH),
}

PARTIAL = 7  # pictures in a small batch
ODD_BATCHES = "a small batch and black pictures"
BLACK_STEPS, BLACK_RATE = 2, 0.1  # fast, so that a decay is no rounding
EXPLODED = 1e6
FAINT = 1e-12

# The payload's `steps` -> the regimes that are trained. 'first' has the batch of the trials, the others their own.
STEPS = {"all": tuple(REGIMES), "first": ("first",)}

# Compared with itself, the oracle shows only that the loop is right, and the short regimes show that (each step of it
# takes about a second); reference_check tests its arithmetic.
ORACLE_REGIMES = ("first", "study")

# Beyond some 20 layers training is chaotic at 0.001 too: in ResNet-32 at 32 x 32 rounding alone makes 5e-3 after 20
# updates (and 6e-3 after 5 of the study). At 0.0001 it is stable again (1e-4), so the other bounds stay unchanged, but
# for 45 steps of 8, which are off by 3e-2 even at 0.00001: there a step that is left out is not told from rounding.
CALM_LAYERS = 24
DEEP_RATE = 0.0001


# ResNet-32 at 64 x 64 pixels, the study's most expensive network, costs 0.71e9 by this count, and a picture takes the
# oracle 0.08 s. A network that costs more is trained in smaller batches, so that its selfcheck takes about as long.
MOST_COST = 0.75e9
VALUE_COST = 100
"""Multiply-adds that take the oracle as long as all that it does with one value."""


class Centred(object):
    """An adapter whose pictures are reduced by a constant."""

    def __init__(self, adapter, centre):
        self._adapter, self._centre = adapter, numpy.float32(centre)

    def __getattr__(self, name):
        return getattr(self._adapter, name)

    def place(self, x, y):
        """The batch, centred, on the device."""
        return self._adapter.place(x - self._centre, y)


# A picture takes the oracle, which computes in float64 with one thread, about so many times as long as an adapter: only
# the time left on the screen is made of it.
ORACLE_TIMES = 4


def regimes_and_bounds(net, steps="all", batch_size=BATCH, optimiser="sgd"):
    """(regime by name, bound by figure) for `net`, by how many convolutions and dense layers it has.

    steps: a key of STEPS. batch_size: of the trials, in which the first step is taken. optimiser: of them.
    """
    regimes, allowed = dict(REGIMES), bounds("selfcheck")
    batch = batch_of(net)
    for name, size in (("first", batch_size), ("clean", batch), ("study", batch)):
        count = REGIMES[name].pictures // BATCH
        regimes[name] = REGIMES[name]._replace(pictures=count * size + min(10, size - 1), batch=size)
    if sum(op.kind in PRODUCTS for op in net.ops) > CALM_LAYERS:
        regimes["clean"], allowed = regimes["clean"]._replace(learning_rate=DEEP_RATE), bounds("selfcheck_deep")
    allowed = dict(allowed, **(bounds("selfcheck_sign") if RULES[optimiser].takes_sign else {}))
    return {name: regimes[name] for name in STEPS[steps]}, allowed


def batch_of(net):
    """Pictures of a step in the regimes 'clean' and 'study': BATCH, or fewer where that costs more than MOST_COST."""
    cost, batch = net.multiply_adds + VALUE_COST * sum(map(size_of, net.shapes.values())), BATCH
    while cost * batch > MOST_COST * BATCH and batch > SMALL_BATCH:
        batch //= 2
    return batch


def lopsided(shape, classes, count):
    """(uint8 (count,) + shape, int64 (count,)): noise on an asymmetric gradient, with a pattern per class.

    shape: (channels, height, width); of the channels no two are alike.
    """
    channels, height, width = shape
    rng = numpy.random.RandomState(SEED)
    labels = rng.randint(0, classes, count).astype(numpy.int64)
    across = numpy.linspace(0, 70, width)[None, None, :] * numpy.array(SHARES[:channels])[:, None, None]
    down = numpy.linspace(40, 0, height)[None, :, None]
    cells = rng.randint(0, 80, (classes, channels, 4, 4)).repeat(-(-height // 4), 2).repeat(-(-width // 4), 3)
    noise = rng.randint(0, 60, (count, channels, height, width))
    return (across + down + cells[labels][:, :, :height, :width] + noise).astype(numpy.uint8), labels


SHARES = (0.3, 0.6, 1.0, 0.8)
"""Of the gradient across a picture, by channel."""


def trace_adapter(build, training, regime, pictures, labels, make_batches=Batches, tell=lambda share: None):
    """Trace of an adapter, trained by workers/loop.py.

    build: build(regime) -> adapter with the first weights. training: of the trials; see in_regime.
    make_batches: makes and orders the batches. tell: tell(share of the steps that are done).
    """
    adapter = Centred(build(regime), regime.centre)
    batches = make_batches(pictures[: regime.pictures], labels[: regime.pictures], regime.batch)
    probe = make_batches(pictures, labels, regime.batch).cut(numpy.arange(regime.probed))
    start_logits = adapter.predict(adapter.place(*probe))
    losses = []

    def listen(kind, **fields):
        losses.extend(fields["loss"] if kind == "epoch" else ())
        if kind == "progress":
            tell((fields["epoch"] + fields["step"] / float(fields["steps"])) / regime.epochs)

    measure = Measure(regime.sync, regime.feed, 0, 0, 0.0, "end", "none", 0)
    with contextlib.suppress(protocol.NotFinite):  # the losses are not finite, so the bounds fail
        rule = rule_of(in_regime(training, regime), regime.pictures // regime.batch)
        asked = loop.Asked(SEED, regime.epochs, measure, rule)
        loop.train(adapter, batches, None, asked, listen, clock)
    end_logits = adapter.predict(adapter.place(*probe))
    return Trace(start_logits, numpy.array(losses), adapter.weights(), end_logits, regime.batch)


def measure(net, training, regimes, allowed, reference, pictures, labels, phases):
    """What workers/chaos.py measures of a network, each training of it as a part of `phases`."""

    def train(name, regime, nudge):
        part = f"the oracle's '{name}' at {regime.learning_rate:g}{', nudged' if nudge else ''}"
        phases.insert([(part, ORACLE_TIMES * regime.pictures * regime.epochs)])
        phases.enter(part)
        nudged = mixed.Variation(nudge=nudge)
        return trace_oracle(net, training, regime, pictures, labels, phases.tell, nudged)

    def compare_one(name, seen, wanted):
        return _compare_trace(net, training, name, seen, wanted)

    return chaos.measure(regimes, allowed, reference, train, compare_one)


def calmed(regimes, allowed, calm):
    """(regimes, bounds) with what was measured of the network."""
    clean = regimes["clean"]._replace(learning_rate=calm.rate)
    return dict(regimes, clean=clean), dict(allowed, **calm.bounds)


def trace_oracle(net, training, regime, pictures, labels, tell=lambda share: None, variation=mixed.PLAIN):
    """Trace of numpy_ref, with its own order of batches and its own loop.

    tell: tell(share of the steps done).
    """
    oracle = build_with(Oracle, net, "cpu", training, variation=variation)(regime)

    def place(numbers):
        unit = pictures[numbers].astype(numpy.float32) * numpy.float32(1 / 255.0)
        return oracle.place(unit - numpy.float32(regime.centre), labels[numbers])

    probe = place(numpy.arange(regime.probed))
    start_logits = oracle.predict(probe)
    losses = []
    rule = rule_of(in_regime(training, regime), regime.pictures // regime.batch)
    for epoch in range(regime.epochs):
        order = numpy.random.RandomState([SEED, epoch]).permutation(regime.pictures)
        size = regime.batch
        starts = range(0, regime.pictures - size + 1, size)
        for at, start in enumerate(starts):
            oracle.set_rate(rule.rate_at(epoch, at))
            losses.append(oracle.step(place(order[start : start + size])))
            tell((epoch + (at + 1.0) / len(starts)) / regime.epochs)
    return Trace(start_logits, numpy.array(losses), oracle.weights(), oracle.predict(probe), regime.batch)


def compare_odd_batches(build, net, training, first, pictures, labels, wanted):
    """Figures of what no short training shows: a small batch, and black pictures.

    first: the regime of the first step. wanted: its trace.
    """
    adapter = build(first._replace(learning_rate=BLACK_RATE))
    x, y = Batches(pictures, labels, first.batch).cut(numpy.arange(PARTIAL))
    logits = adapter.predict(adapter.place(x - numpy.float32(first.centre), y))
    figures = {"partial_logits": _of_largest(logits, wanted.start_logits[:PARTIAL])}
    # Of the first layer: black pictures give it no gradient, so only a decay moves it.
    if training.weight_decay:  # asked for: the other figures hold it
        return figures
    name = next(op.name + ".weight" for op in net.ops if op.kind in PRODUCTS)
    before = adapter.weights()[name]
    black = numpy.zeros_like(pictures[: first.batch], numpy.float32)
    for _ in range(BLACK_STEPS):
        adapter.step(adapter.place(black, labels[: first.batch]))
    adapter.sync()
    moved = float(numpy.linalg.norm(adapter.weights()[name] - before))
    if numpy.isfinite(moved) or not _explodes(net, first, black, labels):
        figures["black_decay"] = moved / (BLACK_RATE * BLACK_STEPS * float(numpy.linalg.norm(before)))
    return figures


def _explodes(net, first, black, labels):
    """Whether the oracle's own gradients of all but black pictures are too large for float32 to go on.

    Each normalisation of channels that are all 0 makes them 1 / sqrt(epsilon) times as large. At exactly 0 a clip
    stops them or lets them through, by framework (MXNet does), and so the pictures here are not exactly black.
    Such a network has no figure `black_decay`; its audits find a decay.
    """
    near = black + FAINT * numpy.random.RandomState(SEED).random_sample(black.shape)
    _, gradients = build_with(Oracle, net, "cpu", TRAINING)(first).gradients((near, labels[: len(black)]))
    return max(float(numpy.abs(gradient).max()) for gradient in gradients.values()) > EXPLODED


def parts_of(regimes, wanted, is_oracle, missing):
    """The parts of a selfcheck, for Phases.

    wanted: the regimes that the adapter trains. missing: of mixed.variations, what is not there already.
    """
    times = ORACLE_TIMES if is_oracle else 1
    parts = [(f"regime '{name}'", times * regimes[name].pictures * regimes[name].epochs) for name in wanted]
    for name, (of, _) in missing.items():
        regime = regimes[of]
        parts.append((f"the oracle's '{name}'", ORACLE_TIMES * regime.pictures * regime.epochs))
    return [*parts, (ODD_BATCHES, times * (PARTIAL + BLACK_STEPS * regimes["first"].batch))]


TRAINING = Training("sgd", "he_normal", 0.001, MOMENTUM, BATCH, 1)
"""With the optimiser and the initialiser of the study."""

LOUD = {
    "coupled decay": {"weight_decay": 0.1, "decay": "coupled"},
    "decay apart": {"weight_decay": 10.0, "decay": "apart"},
    "clipping": {"clip_norm": 1.0},
    "smoothing": {"label_smoothing": 0.3},
    "schedule": {"schedule": Schedule("one-cycle")},
    "no momentum": {"momentum": 0.0},
}
"""Trait -> settings of the training of a selfcheck that has it."""

RATES = {"adam": 0.1, "adamw": 0.1, "rmsprop": 0.03, "lion": 0.03}
"""Optimiser -> times the rate of a regime: an update of these is as large as the rate, whatever the gradient is."""

LOUD_EPSILON = 1e-3
"""In place of 1e-8: a misplaced one is seen, and gradients that are rounding do not become whole updates."""


def training_of(optimiser, initialiser, traits=()):
    """The training of a selfcheck. Raises BadJob for an unknown optimiser or trait."""
    for name, known in [(optimiser, RULES)] + [(trait, LOUD) for trait in traits]:
        if name not in known:
            raise BadJob(f"job.json: payload: {name!r} is not known; known: {', '.join(sorted(known))}.")
    settings = dict(RULES[optimiser].SETTINGS, momentum=MOMENTUM)
    if "epsilon" in settings:
        settings["epsilon"] = LOUD_EPSILON
    for trait in traits:
        settings.update(LOUD[trait])
    return TRAINING._replace(optimiser=optimiser, initialiser=initialiser, **settings)


def in_regime(training, regime):
    """`training` at the rate, the batch and the epochs of a regime."""
    rate = regime.learning_rate * RATES.get(training.optimiser, 1.0)
    return training._replace(learning_rate=rate, batch_size=regime.batch, epochs=regime.epochs)


def build_with(adapter_class, net, device, training, threads=1, options=None, variation=mixed.PLAIN):
    """build(regime) -> an adapter of `net` with the weights of SEED.

    options: the row's own.
    """

    def build(regime):
        weights = net.start(SEED, training.initialiser)
        if variation.nudge:
            signs = numpy.random.RandomState(SEED + 1 + variation.seed)
            weights = {
                name: value.astype(numpy.float64) * (1 + variation.nudge * signs.choice([-1.0, 1.0], value.shape))
                for name, value in weights.items()
            }
        settings = Settings(in_regime(training, regime), threads, SEED, variation.precision)
        return adapter_class(net, weights, device, settings, dict(options or {}))

    return build


def compare(net, training, seen, wanted):
    """Figures of traces by regime name against the oracle's; of those regimes alone that were seen."""
    figures = {}
    for regime, trace in seen.items():
        own = _compare_trace(net, training, regime, trace, wanted[regime])
        figures.update(own, logits=worst([own["logits"], figures.get("logits", 0.0)]))
    return figures


def _compare_trace(net, training, regime, seen, wanted):
    start = net.start(SEED, training.initialiser)
    trained = trained_names(net)
    averages = [weight.name for weight in net.weights if not weight.is_trainable]
    figures = {"logits": _of_largest(seen.start_logits, wanted.start_logits)}
    due = wanted.weights
    moved = _moved(due, start)
    of_batch = over_n(net, start, due, wanted.batch, len(wanted.losses))
    moved_over_n = dict(moved, **_moved({name: of_batch[name] for name in averages}, start))

    def off_averages(names):
        return min(_off(names, seen.weights, due, moved), _off(names, seen.weights, of_batch, moved_over_n))

    if regime == "first":
        off = [_off([name], seen.weights, due, moved) for name in trained] + [off_averages([name]) for name in averages]
        figures.update(update_step_1=worst(off))
    elif regime == "study":
        figures.update(study_loss_step_5=_losses(seen, wanted, 5))
    elif regime == "long":
        figures.update(update_step_45=_off(trained, seen.weights, due, moved))
    else:
        figures.update(
            clean_loss_step_1=_losses(seen, wanted, 1),
            clean_loss_step_20=_losses(seen, wanted, 20),
            update_step_20=_off(trained, seen.weights, due, moved),
            averages_step_20=off_averages(averages),
            logits_step_20=_of_largest(seen.end_logits, wanted.end_logits),
        )
    return figures


def _of_largest(seen, wanted):
    return float(numpy.abs(seen - wanted).max() / numpy.abs(wanted).max())


def _losses(seen, wanted, steps):
    """Largest relative difference up to `steps`; infinite if the two did not take the same number of steps."""
    if len(seen.losses) != len(wanted.losses):
        return float("inf")
    return float(numpy.max(numpy.abs(seen.losses[:steps] / wanted.losses[:steps] - 1)))


def _moved(weights, start):
    """How far each array is from the first one (Euclidean)."""
    return {name: float(numpy.linalg.norm(weights[name] - start[name])) for name in weights}


def _off(names, seen, due, moved):
    """Distance of the named arrays from the oracle's, as a share of how far the oracle moved them (both Euclidean).

    For arrays that hardly move, the share is of 1e-3 of the largest movement instead, to ignore rounding.
    """
    off = math.sqrt(sum(float(numpy.linalg.norm(seen[name] - due[name])) ** 2 for name in names))
    return off / max(math.sqrt(sum(moved[name] ** 2 for name in names)), 1e-3 * max(moved.values()))


def narrow_bounds(net, training, reference, regimes, allowed):
    """Figure -> bound in a narrow number format. allowed: those of float32, for what no rounding moves."""
    compare_one = functools.partial(compare, net, training)
    own = mixed.measured_bounds(reference, regimes, compare_one, trained_names(net))
    return dict(own, partial_logits=own["logits"], black_decay=allowed["black_decay"])


def trained_names(net):
    """Of the weights that have a gradient."""
    return [weight.name for weight in net.weights if weight.is_trainable]


def work(job):
    """Emit the differences between this environment and the oracle. job: Job."""
    adapter_class = job.import_trainer()
    began = clock()
    net, payload = job.net, job.payload
    training = training_of(payload["optimiser"], payload["initialiser"], payload["traits"])
    regimes, allowed = regimes_and_bounds(net, payload["steps"], payload["batch_size"], training.optimiser)
    is_narrow = job.precision != FLOAT32
    if is_narrow:
        regimes = {name: regimes[name] for name in mixed.REGIMES if name in regimes}
    count = max(max(regime.pictures, regime.probed) for regime in regimes.values())
    pictures, labels = lopsided(net.input, net.classes, count)
    job.say_built(adapter_class.describe(), clock() - began)
    variation = mixed.Variation(job.precision)
    build = build_with(adapter_class, net, job.device, training, job.threads, job.options, variation)
    variations = mixed.variations(job.precision, regimes)
    is_oracle = job.framework == "numpy_ref"
    wanted = [name for name in regimes if not is_oracle or name in ORACLE_REGIMES]
    path = os.path.join(job.folder, "reference.npz")
    is_known = os.path.exists(path)
    reference, calm = traces.load(path, net, tuple(variations)) if is_known else (None, None)
    if calm is not None:
        regimes, allowed = calmed(regimes, allowed, calm)
    phases = Phases(job.emit, clock, parts_of(regimes, wanted, is_oracle, {} if is_known else variations))
    seen = {}
    for name in wanted:
        phases.enter(f"regime '{name}'")
        seen[name] = trace_adapter(build, training, regimes[name], pictures, labels, tell=phases.tell)
    job.require_settings(adapter_class.describe())

    if not is_known:
        with native.one_blas_thread():
            reference = {}
            for name, (regime, one) in variations.items():
                phases.enter(f"the oracle's '{name}'")
                reference[name] = trace_oracle(net, training, regimes[regime], pictures, labels, phases.tell, one)
        traces.save(path, reference)
    figures = compare(net, training, seen, reference)
    if is_narrow:
        allowed = narrow_bounds(net, training, reference, regimes, allowed)
        figures.update(mixed.rounding(seen["first"], reference, trained_names(net)))
    elif calm is None and any(not figures[name] <= allowed[name] for name in chaos.CHAOTIC if name in figures):
        with native.one_blas_thread():
            calm, clean = measure(net, training, regimes, allowed, reference, pictures, labels, phases)
        is_calmer = calm.rate < regimes["clean"].learning_rate
        regimes, allowed = calmed(regimes, allowed, calm)
        reference = dict(reference, clean=clean)
        traces.save(path, reference, calm)
        if is_calmer:
            phases.insert([("regime 'clean' again", regimes["clean"].pictures * regimes["clean"].epochs)])
            phases.enter("regime 'clean' again")
            seen["clean"] = trace_adapter(build, training, regimes["clean"], pictures, labels, tell=phases.tell)
        figures = compare(net, training, seen, reference)
    phases.enter(ODD_BATCHES)
    figures.update(compare_odd_batches(build, net, training, regimes["first"], pictures, labels, reference["first"]))
    phases.leave()
    allowed = {name: allowed[name] for name in figures}
    if is_oracle and payload["steps"] == "all":
        x, y = pictures[:4] * numpy.float64(1 / 255.0) - 0.5, labels[:4]
        figures.update(reference_check.compare(net, net.start(SEED, training.initialiser), x, y, training))
        allowed.update(bounds("reference"))
    passed = is_within(figures, allowed)
    batch = regimes["clean"].batch if "clean" in regimes else None
    job.emit("check", figures=figures, bounds=allowed, passed=passed, seconds=phases.seconds, batch=batch)
    job.emit("done", weights_sha256=weights_sha256(seen["first"].weights), total_seconds=clock())
