"""The frameworks: one folder each, found by listing; a folder's adapter.py defines VERSION and `class Adapter`.

An adapter holds no loop and reads no clock. Its interface, with net of workers/net.py:

Adapter(net, weights, device, settings, options)
               device is 'cpu' or 'gpu'; it must not fall back to the other. weights: name -> float32 array, copied.
               settings: Settings below. options: the variant's own (see own_options).
               Raises Unsupported for an op, a device, an optimiser (see own_optimiser) or a number format (see
               own_precision) that it lacks, BadJob for an unknown option.
place(x, y)    the batch on the device; x float32 (n, channels, height, width), y int64 (n,), as numpy arrays or as its
               own loader gives them. May transpose.
load(batches, order, workers)
               an iterable over the (x, y) of each batch of `order`, in that order, bit for bit what batches.cut gives,
               made by the framework's own loader with `workers` workers (0: in the training process).
               batches: as in workers/batches.py: pictures, labels, scale, and batches[number] for one picture.
               Called before the clock of an epoch starts and iterated once, inside it. Raises Unsupported("feed", why)
               if its loader cannot.
step(batch)    one update of the rule (settings.training) on the mean softmax cross-entropy; a lazy handle of the loss
               before it.
optimiser      an Optimiser below: whose update `step` takes.
set_rate(rate) the rate of the steps from now on; the first is settings.training.learning_rate. Called between two
               steps, outside every clock, and only where the rate changes. Raises Unsupported("rate", why) if its
               update would then not be the rule's.
state()        weight name -> {name of workers/optimisers.py: float32 array in the layout of that weight}: what the
               optimiser keeps, as its rule defines it. An adapter that cannot show it lacks this method; then no timed
               step is audited whose rule does not show its state in what it does to the weights, as sgd's does.
loss_value(h)  that loss as a float.
predict(batch) logits in inference mode, numpy float32 (n, classes), for any n.
sync()         returns when the device is idle.
weights()      name -> float32 array in the network's own names, layouts and order.
describe()     static: features and current settings of the build; a flat dict of JSON values.

Three more run a trained network as fast as the framework can; one that lacks them runs it through place and predict:

prepare(x)     what infer takes, for x float32 (n, channels, height, width): another layout, for example. Not timed.
infer(x)       a lazy handle of the logits of prepared pictures, in inference mode; copying them to a device included.
               n is settings.training.batch_size.
logits(handle) waits for them: numpy float32 (n, classes).

calibrate(x)   of what computes in int8, before the first infer: x float32 (n, channels, height, width), training
               pictures.

A runtime only runs networks: it has __init__, prepare, infer, logits and describe, and trains nothing. `describe` is
then asked of the adapter that was built, and says in `precision` what is in force: 'float32', 'bfloat16', 'float16' or
'int8'. What says nothing computes in float32.
"""

import os
from typing import NamedTuple

import numpy

from workers.bounds import FLOAT32
from workers.protocol import BadJob, Training, Unsupported

FOLDER = os.path.dirname(os.path.abspath(__file__))


class Settings(NamedTuple):
    """How to train, how many threads to start, the seed of the framework's own random numbers, the number format."""

    training: Training
    threads: int
    seed: int
    precision: str = FLOAT32


OWN, ALIGNED, OURS = "own", "aligned", "ours"
"""Whose update it is: the framework's own; its own, with an argument or an op around it that makes it the rule's; or
waymark's, written in the framework's ops."""

EXTRAS = ("weight_decay", "clip_norm", "label_smoothing")
"""What a Training may ask for beside an optimiser."""


class Optimiser(NamedTuple):
    """One entry of an adapter's OPTIMISERS. source: OWN, ALIGNED or OURS. what: the framework's own name for it, and
    what is aligned. make: whatever the adapter makes its update with.
    """

    source: str
    what: str
    make: object


def update_of(adapter):
    """Whose update an adapter takes: {"source", "what"} of its Optimiser, without what it is made with."""
    return {"source": adapter.optimiser.source, "what": adapter.optimiser.what}


def inference_settings(batch_size, threads=1, seed=0, precision=FLOAT32):
    """Settings of an adapter that runs a network in batches of that size, and does not train it."""
    return Settings(Training("sgd", "he_normal", 0.01, 0.9, batch_size, 1), threads, seed, precision)


def names():
    """Sorted names of the frameworks."""
    return sorted(name for name in os.listdir(FOLDER) if os.path.isfile(os.path.join(FOLDER, name, "adapter.py")))


def trains(adapter_class):
    """Whether it is a framework that trains networks, and no runtime."""
    return hasattr(adapter_class, "step")


def runner(adapter):
    """The adapter, if it has infer; else one that has it, through place and predict."""
    return adapter if hasattr(adapter, "infer") else _ThroughPredict(adapter)


class _ThroughPredict(object):
    def __init__(self, adapter):
        self._adapter = adapter

    def prepare(self, x):
        return x

    def infer(self, x):
        return self._adapter.predict(self._adapter.place(x, numpy.zeros(len(x), numpy.int64)))

    def logits(self, handle):
        return handle


def own_options(options, **allowed):
    """The variant's own options; one that is not given has the first of its allowed values.

    options: of the row. allowed: option name -> tuple of values, the default first.
    Raises BadJob, with the known ones, for an unknown option or value.
    """
    for name in sorted(set(options) - set(allowed)):
        raise BadJob(f"options.{name} is not known to this framework; known: {', '.join(sorted(allowed)) or 'none'}.")
    chosen = {}
    for name, values in allowed.items():
        chosen[name] = options.get(name, values[0])
        if chosen[name] not in values:
            raise BadJob(f"options.{name} is {chosen[name]!r}; it must be one of {', '.join(map(repr, values))}.")
    return chosen


def own_optimiser(training, known, extras=()):
    """The adapter's entry for the optimiser of `training`. known: optimiser name -> entry.

    extras: those of EXTRAS that the adapter has, with every optimiser.
    Raises Unsupported for what the adapter lacks.
    """
    if training.optimiser not in known:
        raise Unsupported("optimiser", f"this adapter has no {training.optimiser!r}; it has {', '.join(sorted(known))}")
    for name in EXTRAS:
        if getattr(training, name) and name not in extras:
            raise Unsupported("optimiser", f"this adapter has no {name.replace('_', ' ')}")
    return known[training.optimiser]


def own_precision(settings, known):
    """The adapter's entry for the number format that is asked for. known: precision -> entry.

    Raises Unsupported for one that the adapter lacks.
    """
    if settings.precision not in known:
        raise Unsupported("precision", f"this adapter has no {settings.precision}; it has {', '.join(sorted(known))}")
    return known[settings.precision]
