"""Run by a framework's own interpreter: which proof catches each wrong version of its adapter, one line of JSON each.

python adapter_mutants.py FRAMEWORK NETWORKS.json REFERENCE.npz [OPTIONS], with PYTHONPATH set to the folder that holds
`workers`. NETWORKS holds two of one model, each {"label", "ops"}, the second larger; OPTIONS is a JSON object of the
row's own options. The last line is an object: mutant -> what catches it.

A mutant is the adapter with one thing changed. It goes through the selfcheck, then through a training with audited
steps, in the order of STAGES, and is caught by the first figure that is beyond its bound.
"""

import collections
import importlib
import json
import os
import random
import sys
import tempfile
from pathlib import Path

import numpy

from workers import audits, loop, traces
from workers.batches import Batches
from workers.bounds import bounds
from workers.frameworks import Settings
from workers.jobs import audit, selfcheck
from workers.net import Net
from workers.optimisers import rule_of
from workers.process import clock, read_net
from workers.protocol import Measure, NotFinite, Unsupported

# XLA compiles for each adapter anew, the same again for most mutants; JAX reads this when it is imported.
COMPILED = tempfile.TemporaryDirectory()
os.environ.update(JAX_COMPILATION_CACHE_DIR=COMPILED.name, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0")

FRAMEWORK, NETWORKS, REFERENCE = sys.argv[1:4]
OPTIONS = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
ADAPTER = importlib.import_module(f"workers.frameworks.{FRAMEWORK}.adapter").Adapter
THREADS = 2
TRAINING = selfcheck.TRAINING
AUDITED = TRAINING._replace(batch_size=8, epochs=3)
AUDITED_STEPS = 40  # an epoch
AUDITS = 8  # more than a trial's 2, because this training is short: what begins after half of it must be seen
DRAIN_SHARE = 0.01  # as in orchestrator/execution/outcome.py


SMALL, LARGE = json.loads(Path(NETWORKS).read_text(encoding="utf-8"))
NET, LARGER = read_net(SMALL), read_net(LARGE)
CLASSES = NET.classes
KINDS = {op.kind for op in NET.ops}
TRAINABLE = [weight.name for weight in NET.weights if weight.is_trainable]
FIRST_CONV = next(op.name + ".weight" for op in NET.ops if op.kind == "conv")


def set_weights(adapter, values):
    """Put arrays (name -> float32, in the network's own layouts) into a real adapter of this framework."""
    if FRAMEWORK == "pytorch":
        import torch

        with torch.no_grad():
            for name, value in values.items():
                adapter._tensors[name].copy_(torch.from_numpy(numpy.ascontiguousarray(value)))
    elif FRAMEWORK == "tensorflow":
        graph = adapter._graph
        for name, value in values.items():
            graph._variables[name].assign(graph._layouts[name].to_tensorflow(value))
    elif FRAMEWORK == "mxnet":
        import mxnet

        for name, value in values.items():
            adapter._parameters[name].set_data(mxnet.nd.array(value))
    elif FRAMEWORK == "cntk":
        for name, value in values.items():
            adapter._graph._nodes[name].value = numpy.ascontiguousarray(value.T if value.ndim == 2 else value)
    elif FRAMEWORK == "jax":
        import jax

        for held in (adapter._trained, adapter._averages):
            held.update({name: jax.device_put(value) for name, value in values.items() if name in held})
    elif FRAMEWORK == "paddle":
        for name, value in values.items():
            adapter._network.tensors[name].set_value(value.T.copy() if value.ndim == 2 else value)
    else:
        adapter._lowering.set(dict(adapter.weights(), **values))


class Mutant:
    """The adapter as it is. A subclass changes one of these methods."""

    def __init__(self, net, weights, device, settings, options):
        settings = settings._replace(training=self.training(settings.training))
        self.real = ADAPTER(self.net(net), self.first(dict(weights)), device, settings, options)
        self.steps = 0

    def __getattr__(self, name):
        return getattr(self.real, name)

    def net(self, net):
        return net

    def first(self, weights):
        return weights

    def training(self, training):
        return training

    def place(self, x, y):
        return self.real.place(x, y)

    def step(self, batch):
        self.steps += 1
        return self.update(batch)

    def update(self, batch):
        return self.real.step(batch)


def mutant(**methods):
    return type("Changed", (Mutant,), methods)


def other_net(change):
    return mutant(net=lambda self, net: change(net))


def other_pictures(change):
    return mutant(place=lambda self, x, y: self.real.place(numpy.ascontiguousarray(change(x), numpy.float32), y))


def other_labels(change):
    return mutant(place=lambda self, x, y: self.real.place(x, change(y)))


def other_training(**factors):
    """Fields of Training times a factor."""

    def training(self, given):
        return given._replace(**{name: getattr(given, name) * factor for name, factor in factors.items()})

    return mutant(training=training)


def after_step(change):
    """change(mutant, weights before, weights after) -> arrays that are put in after each step."""

    def update(self, batch):
        before = self.real.weights()
        loss = self.real.step(batch)
        self.real.sync()
        set_weights(self.real, change(self, before, self.real.weights()))
        return loss

    return mutant(update=update)


def at_rate(factor_of_step):
    """The update of each step times factor_of_step(number of the step, from 1)."""

    def change(self, before, after):
        factor = numpy.float32(factor_of_step(self.steps))
        return {name: before[name] + factor * (after[name] - before[name]) for name in TRAINABLE}

    return after_step(change)


def decay(share):
    def change(self, before, after):
        return {name: after[name] * numpy.float32(1 - share * self.rate) for name in TRAINABLE}

    kind = after_step(change)
    kind.training = lambda self, given: setattr(self, "rate", given.learning_rate) or given
    return kind


def of_kind(net, kind, number=0):
    return [op for op in net.ops if op.kind == kind][number]


def without(net, gone):
    """`net` without the op `gone`, whose readers read its first input."""
    kept = [op for op in net.ops if op is not gone]
    return Net([op._replace(inputs=tuple(gone.inputs[0] if i == gone.name else i for i in op.inputs)) for op in kept])


def shifted_padding(net):
    """`net` with one convolution that pads one row and column elsewhere, at equal map sizes further on."""
    if any(op.kind == "conv" and any(op.params["padding"]) for op in net.ops):
        return net.changed(of_kind(net, "conv", 4).name, padding=(0, 2, 0, 2))
    return net.changed("conv2", padding=(1, 0, 1, 0))  # of IDSIA at 48: 21 x 21, which pools to 10 x 10 like 20 x 20


def average_pool(net):
    """`net` with means where it has maxima."""

    def mean(op):
        return op._replace(kind="avgpool", params=dict(op.params, counts_padding=False))

    return Net([mean(op) if op.kind == "maxpool" else op for op in net.ops])


def fixed_pool(net):
    """`net` whose global pool has the size of the smaller network's map, whatever the map's size is."""
    pool = of_kind(net, "globalpool")
    kernel, stride = (one.shapes[pool.inputs[0]][1:] for one in (NET, net))  # one window, whatever the map
    params = {"kernel": kernel, "stride": stride, "padding": (0, 0, 0, 0), "counts_padding": False}
    window = pool._replace(name="window", kind="avgpool", params=params)
    ops = []
    for op in net.ops:
        ops += [window, pool._replace(kind="flatten", inputs=("window",))] if op is pool else [op]
    return Net(ops)


def every_batchnorm(**params):
    def change(net):
        for op in net.ops:
            net = net.changed(op.name, **params) if op.kind == "batchnorm" else net
        return net

    return other_net(change)


def frozen(names):
    return after_step(lambda self, before, after: {name: before[name] for name in names})


def half_precision(arrays):
    return {name: value.astype(numpy.float16).astype(numpy.float32) for name, value in arrays.items()}


class Skipping(Mutant):
    """Tells the loss of the step before and computes nothing, in the steps that `skips` takes."""

    told = None

    def update(self, batch):
        if self.told is None or not self.skips(self.steps):
            self.told = self.real.step(batch)
        return self.told


def skipping(skips):
    return type("Changed", (Skipping,), {"skips": staticmethod(skips)})


class Twice(Mutant):
    def update(self, batch):
        loss = self.real.step(batch)
        self.real.step(batch)
        return loss


class Late(Mutant):
    """Tells the loss of the step before."""

    told = None

    def update(self, batch):
        loss = self.real.step(batch)
        told, self.told = loss if self.told is None else self.told, loss
        return told


class Again(Mutant):
    """Trains each batch twice, and every other one not at all."""

    kept = None

    def update(self, batch):
        if self.steps % 2:
            self.kept = batch
        return self.real.step(self.kept)


class Queued(Mutant):
    """Takes its steps only when something is read; sync does not wait for them."""

    def __init__(self, *arguments):
        Mutant.__init__(self, *arguments)
        self.due, self.done = [], []

    def update(self, batch):
        self.due.append(batch)
        return len(self.done) + len(self.due) - 1

    def take(self):
        self.done += [self.real.step(batch) for batch in self.due]
        self.due = []

    def loss_value(self, handle):
        self.take()
        return self.real.loss_value(self.done[handle])

    def sync(self):
        pass

    def predict(self, batch):
        self.take()
        return self.real.predict(batch)

    def weights(self):
        self.take()
        return self.real.weights()


class Stale(Mutant):
    """Infers with its first weights."""

    def __init__(self, net, weights, device, settings, options):
        Mutant.__init__(self, net, weights, device, settings, options)
        self.inference = ADAPTER(net, weights, device, settings, options)

    def predict(self, batch):
        return self.inference.predict(batch)


def half_twice(x):
    """The first half of a batch, twice; a batch of one stays."""
    half = x[: len(x) // 2]
    return numpy.concatenate([half, half, x[2 * len(half) :]])


class Unshuffled(Batches):
    def shuffled(self, seed, epoch):
        return [numbers for numbers in self.in_order() if len(numbers) == self.size]


class ShuffledOnce(Batches):
    def shuffled(self, seed, epoch):
        return Batches.shuffled(self, seed, 0)


class OtherSeed(Batches):
    def shuffled(self, seed, epoch):
        return Batches.shuffled(self, seed + 1, epoch)


class WithReplacement(Batches):
    def shuffled(self, seed, epoch):
        chance = numpy.random.RandomState([seed, epoch])
        return [chance.randint(0, len(self), self.size) for _ in range(len(self) // self.size)]


class Reversed(Batches):
    def shuffled(self, seed, epoch):
        return Batches.shuffled(self, seed, epoch)[::-1]


def harmful():
    """name -> (adapter class, class of its batches); those that the network has no op for are left out."""
    biases = [name for name in TRAINABLE if name.endswith((".bias", ".beta"))]
    averages = [weight.name for weight in NET.weights if not weight.is_trainable]
    found = collections.OrderedDict()
    changed = {
        "padding of one convolution shifted": other_net(shifted_padding),
        "a ReLU left out": other_net(lambda net: without(net, of_kind(net, "relu", 2))),
        "first weights of another seed": mutant(first=lambda self, w: NET.start(1, TRAINING.initialiser)),
        "first weights 5 % larger": mutant(
            first=lambda self, w: {name: v * numpy.float32(1.05) for name, v in w.items()}
        ),
        "first weights in half precision": mutant(first=lambda self, w: half_precision(w)),
        "rate 10 % higher": other_training(learning_rate=1.1),
        "rate halved": other_training(learning_rate=0.5),
        "no momentum": other_training(momentum=0.0),
        "momentum 0.81": other_training(momentum=0.9),
        "sum and not mean over the batch": mutant(
            training=lambda self, t: t._replace(learning_rate=t.learning_rate * t.batch_size)
        ),
        "divided by 64 whatever the batch": mutant(
            training=lambda self, t: t._replace(learning_rate=t.learning_rate * t.batch_size / 64)
        ),
        "pictures transposed": other_pictures(lambda x: x.transpose(0, 1, 3, 2)),
        "pictures mirrored": other_pictures(lambda x: x[:, :, :, ::-1]),
        "pictures upside down": other_pictures(lambda x: x[:, :, ::-1]),
        "channels swapped": other_pictures(lambda x: x[:, ::-1]),
        "pictures not divided by 255": other_pictures(lambda x: x * 255),
        "pictures half a grey level brighter": other_pictures(lambda x: x + 0.5 / 255),
        "pictures in half precision": other_pictures(lambda x: x.astype(numpy.float16)),
        "pictures at half the resolution": other_pictures(lambda x: x[:, :, ::2, ::2].repeat(2, 2).repeat(2, 3)),
        "pictures centred batch by batch": other_pictures(lambda x: x - x.mean()),
        "half of each batch, twice": mutant(place=lambda self, x, y: self.real.place(half_twice(x), half_twice(y))),
        "labels one class off": other_labels(lambda y: (y + 1) % CLASSES),
        "last label of each batch wrong": other_labels(lambda y: numpy.append(y[:-1], (y[-1:] + 1) % CLASSES)),
        "each batch twice, every other one never": Again,
        "two updates a step": Twice,
        "every other step skipped": skipping(lambda step: step % 2 == 0),
        "every 25th step skipped": skipping(lambda step: step % 25 == 0),
        "nothing done after step 20": skipping(lambda step: step > 20),
        "nothing done after step 60": skipping(lambda step: step > 60),
        "rate 0 after step 20": at_rate(lambda step: step <= 20),
        "rate 0 after step 60": at_rate(lambda step: step <= 60),
        "rate falls by a tenth after step 10": at_rate(lambda step: 1.0 if step <= 10 else 0.9),
        "rate rises over the first 5 steps": at_rate(lambda step: min(1.0, step / 5)),
        "rate falls by 1 % a step": at_rate(lambda step: 0.99 ** (step - 1)),
        "weight decay 5e-4": decay(5e-4),
        "weight decay 1e-4": decay(1e-4),
        "weight decay 1e-5": decay(1e-5),
        "first convolution does not learn": frozen([FIRST_CONV]),
        "biases do not learn": frozen(biases),
        "weights in half precision": after_step(lambda self, before, after: half_precision(after)),
        "weights clipped at 0.1": after_step(
            lambda self, before, after: {name: after[name].clip(-0.1, 0.1) for name in TRAINABLE}
        ),
        "loss told 1 % lower": mutant(loss_value=lambda self, handle: 0.99 * self.real.loss_value(handle)),
        "loss of the step before told": Late,
        "logits 0.1 % larger": mutant(predict=lambda self, batch: self.real.predict(batch) * numpy.float32(1.001)),
        "inference with the first weights": Stale,
        "steps queued, sync does not wait": Queued,
    }
    if "maxpool" in KINDS:
        changed["mean and not maximum of a pool"] = other_net(average_pool)
    if "add" in KINDS:
        changed["a shortcut left out"] = other_net(lambda net: without(net, of_kind(net, "add")))
    if "globalpool" in KINDS:
        changed["global pool of one size"] = other_net(fixed_pool)
    if "batchnorm" in KINDS:
        changed["batch normalisation keeps 0.99"] = every_batchnorm(kept=0.99)
        changed["batch normalisation adds 1e-3"] = every_batchnorm(epsilon=1e-3)
        changed["running averages stay"] = frozen(averages)
    found.update((name, (kind, Batches)) for name, kind in changed.items())
    orders = {
        "epochs not shuffled": Unshuffled,
        "epochs shuffled alike": ShuffledOnce,
        "another order": OtherSeed,
        "batches in reverse": Reversed,
        "pictures drawn with replacement": WithReplacement,
    }
    found.update((name, (Mutant, batches)) for name, batches in orders.items())
    return found


def harmless():
    """name -> the same; they do what they should, and no proof may stop them."""
    return {
        "the adapter as it is": (Mutant, Batches),
        "weights written back as they are": (after_step(lambda self, before, after: after), Batches),
        "pictures and labels copied once more": (
            mutant(place=lambda self, x, y: self.real.place(x.copy(), y.copy())),
            Batches,
        ),
    }


def by_regime(name):
    """A stage: one training of the selfcheck."""

    def stage(kind, batches):
        build = selfcheck.build_with(kind, NET, "cpu", TRAINING, THREADS, OPTIONS)
        seen = {name: selfcheck.trace_adapter(build, TRAINING, REGIMES[name], PICTURES, LABELS, batches)}
        figures = selfcheck.compare(NET, TRAINING, seen, WANTED)
        if name == "first":
            arguments = build, NET, TRAINING, REGIMES[name], PICTURES, LABELS, WANTED[name]
            figures.update(selfcheck.compare_odd_batches(*arguments))
        return beyond(figures, BOUNDS)

    return stage


def larger(kind, batches):
    """A stage: the first step at another size and batch, as the selfcheck takes it for each of a sweep."""
    asked = "first", selfcheck.BATCH // 2, TRAINING.optimiser
    regimes, allowed = selfcheck.regimes_and_bounds(LARGER, *asked)
    pictures, labels = selfcheck.lopsided(LARGER.input, CLASSES, regimes["first"].pictures)
    if "larger" not in WANTED:
        WANTED["larger"] = selfcheck.trace_oracle(LARGER, TRAINING, regimes["first"], pictures, labels)
    build = selfcheck.build_with(kind, LARGER, "cpu", TRAINING, THREADS, OPTIONS)
    seen = {"first": selfcheck.trace_adapter(build, TRAINING, regimes["first"], pictures, labels, batches)}
    figures = selfcheck.compare(LARGER, TRAINING, seen, {"first": WANTED["larger"]})
    return [f"{name} at {LARGE['label']}" for name in beyond(figures, allowed)]


def audited(kind, batches):
    """A stage: audited steps of a training, and what was still to do when its clock had stopped."""
    random.SystemRandom = lambda: random.Random(0)  # the same steps in each run of this suite
    pictures, labels = selfcheck.lopsided(NET.input, CLASSES, AUDITED.batch_size * AUDITED_STEPS)
    settings = Settings(AUDITED, THREADS, selfcheck.SEED)
    adapter = kind(NET, NET.start(selfcheck.SEED, TRAINING.initialiser), "cpu", settings, dict(OPTIONS))
    rule, steps = rule_of(AUDITED, AUDITED_STEPS), Measure("step", "host", 0, 0, 0.0, "end", "none", AUDITS)
    asked = loop.Asked(selfcheck.SEED, AUDITED.epochs, steps, rule)
    told = []
    data = batches(pictures, labels, AUDITED.batch_size)
    kept = loop.train(adapter, data, None, asked, lambda kind, **fields: told.append((kind, fields)), clock)
    epochs = [fields for kind, fields in told if kind == "epoch"]
    if sum(one["drain_seconds"] for one in epochs) > DRAIN_SHARE * sum(one["epoch_seconds"] for one in epochs):
        return ["undrained"]
    with tempfile.TemporaryDirectory() as folder:
        kept.audits.save(folder)
        copies = audit.load(str(Path(folder) / audits.FILE), NET, rule)
    due = Batches(pictures, labels, AUDITED.batch_size)
    found = set()
    allowed = dict(bounds("audit"), **(bounds("audit_sign") if rule.takes_sign else {}))
    for (epoch, step), (kept_weights, states) in copies.items():
        batch = due.cut(due.shuffled(selfcheck.SEED, epoch)[step])
        count = epoch * AUDITED_STEPS + step
        one = audit.Audited(epoch, step, kept_weights, batch, epochs[epoch]["loss"][step], states, count)
        found.update(f"audited {name}" for name in beyond(audit.compare(NET, rule, one), allowed))
    return sorted(found)


def beyond(figures, bounds):
    """Names of the figures beyond their bounds; not-a-number is beyond every bound."""
    return [name for name, value in figures.items() if not value <= bounds[name]]


STAGES = [by_regime("first"), by_regime("clean"), by_regime("study"), by_regime("long"), larger, audited]
REGIMES, BOUNDS = selfcheck.regimes_and_bounds(NET)
WANTED, _ = traces.load(REFERENCE, NET, selfcheck.REGIMES)
PICTURES, LABELS = selfcheck.lopsided(NET.input, CLASSES, max(regime.pictures for regime in REGIMES.values()))


def caught_by(kind, batches):
    """The figures beyond their bounds in the first stage that has any; empty if the mutant passes."""
    for stage in STAGES:
        try:
            found = stage(kind, batches)
        except NotFinite:
            found = ["a loss is not finite"]
        except Unsupported:
            found = ["the adapter refuses it"]
        if found:
            return found
    return []


def results_of(sorts):
    """{sort: {mutant: figures that catch it}}. sorts: sort -> {mutant: (adapter class, class of its batches)}."""
    results = {sort: {} for sort in sorts}
    for sort, mutants in sorts.items():
        for name, (kind, batches) in mutants.items():
            results[sort][name] = caught_by(kind, batches)
            sys.stderr.write(
                f"{FRAMEWORK} {SMALL['label']} {sort}: {name}: {', '.join(results[sort][name]) or 'passes'}\n"
            )
            sys.stderr.flush()
    return results


if __name__ == "__main__":
    sys.stdout.write(json.dumps(results_of({"harmless": harmless(), "harmful": harmful()})) + "\n")
