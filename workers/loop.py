"""THE training and inference loop and THE clock; the adapters have neither.

What the clocks read, in seconds:
input  cutting a batch out of the pictures
step   place + forward + backward + update, the device idle at the end (sync=step)
block  wall time of the steps since the last wait for the device, cutting included: on a device that works by itself
       the two overlap, so they cannot be told apart (sync=block)
epoch  from before the first batch to after the last step
With feed=resident the batches of an epoch are cut and placed before its clock starts, so `input` is next to nothing.
With feed=native the framework's own loader cuts them, and `input` is the wait for it; it starts inside the epoch's
clock, as in a script of its own, so the first batch of an epoch waits for its workers too.
Nothing else happens inside a step: losses stay handles until the epoch is over, the garbage collector sleeps, and
progress is told between two steps, at most once a second.
"""

import gc
import hashlib
import math
from typing import NamedTuple

import numpy

from workers.protocol import NotFinite

BLOCK_SECONDS = 0.2
PROGRESS_SECONDS = 1.0
PLACINGS = 20


class Asked(NamedTuple):
    """What the loop is to do. measure: Measure of workers/protocol.py."""

    seed: int
    epochs: int
    measure: NamedTuple


class Laps(object):
    """What the clocks read in one epoch. `starts` are clock readings, all others seconds or counts."""

    def __init__(self):
        self.starts = []
        self.input_seconds = []
        self.step_seconds = []
        self.block_steps = []
        self.block_seconds = []

    def clocks(self, sync):
        """The fields of an `epoch` event."""
        if sync == "block":
            return {
                "block_steps": self.block_steps,
                "block_seconds": self.block_seconds,
                "input_seconds": self.input_seconds,
            }
        return {"step_seconds": self.step_seconds, "input_seconds": self.input_seconds}


def train(adapter, training, validation, asked, emit, clock):
    """Train for `asked.epochs` epochs, telling `emit` of each.

    training, validation: Batches; validation may be None: then nothing is scored.
    emit: emit(kind, **fields). clock: function without arguments, monotonic seconds.
    Raises NotFinite after the epoch in which a loss was infinite or not a number.
    """
    measure = asked.measure
    run_epoch = {"step": _run_steps, "block": _run_blocks}[measure.sync]
    open_feed = {"host": HostFeed, "resident": ResidentFeed, "native": NativeFeed}[measure.feed]
    gc.collect()
    if hasattr(gc, "freeze"):  # CPython 3.7+: what was built stays, so later collections need not look at it
        gc.freeze()  # novermin
    gc.disable()
    try:
        for epoch in range(asked.epochs):
            feed = open_feed(adapter, training, training.shuffled(asked.seed, epoch), measure.loader_workers)
            if epoch == 0:
                emit("training")
            laps = Laps()
            began = clock()
            handles = run_epoch(adapter, feed, laps, Progress(emit, clock, epoch, feed.steps), clock)
            epoch_seconds = clock() - began
            losses = [adapter.loss_value(handle) for handle in handles]
            warmup_steps = _warmup_steps(laps, measure) if epoch == 0 else 0
            clocks = laps.clocks(measure.sync)
            emit("epoch", epoch=epoch, loss=losses, epoch_seconds=epoch_seconds, warmup_steps=warmup_steps, **clocks)
            _require_finite(losses, epoch)
            if validation is not None and (measure.evaluate == "epoch" or epoch == asked.epochs - 1):
                emit("score", split="valid", epoch=epoch, **score(adapter, validation, clock))
            if measure.fingerprint == "epoch" and validation is not None:
                emit("fingerprint", epoch=epoch, **fingerprint(adapter, validation))
            feed.close()
            del feed, handles
            gc.collect()
    finally:
        gc.enable()


def score(adapter, batches, clock):
    """The fields of a `score` event for all pictures of `batches`, each exactly once, in inference mode."""
    began = clock()
    right, total_loss = 0, 0.0
    for numbers in batches.in_order():
        x, y = batches.cut(numbers)
        logits = adapter.predict(adapter.place(x, y)).astype(numpy.float64)
        right += int((logits.argmax(1) == y).sum())
        shifted = logits - logits.max(1, keepdims=True)
        total_loss += float((numpy.log(numpy.exp(shifted).sum(1)) - shifted[numpy.arange(len(y)), y]).sum())
    count = len(batches)
    return {
        "accuracy": right / float(count),
        "loss": total_loss / count,
        "pictures": count,
        "evaluate_seconds": clock() - began,
    }


def fingerprint(adapter, validation):
    """The fields of a `fingerprint` event but for its epoch: what two trainings that are bit for bit one agree in."""
    weights = adapter.weights()
    hashes = {name: hashlib.sha256(value.astype("<f4").tobytes()).hexdigest() for name, value in weights.items()}
    return {"weights": hashes, "predictions": {"valid": predicted(adapter, validation)}}


def predicted(adapter, batches):
    """sha256 over the class (int64) that each picture of `batches` is taken for."""
    total = hashlib.sha256()
    for numbers in batches.in_order():
        logits = adapter.predict(adapter.place(*batches.cut(numbers)))
        total.update(numpy.argmax(logits, 1).astype("<i8").tobytes())
    return total.hexdigest()


def place_alone(adapter, batches, seed, clock):
    """Seconds of placing each of a few training batches: what of a step is the way to the device.

    Within a step it cannot be told apart without one more wait for the device; so it is taken after the training, when
    no step is timed any more and nothing is trained.
    """
    seconds = []
    for numbers in batches.shuffled(seed, 0)[:PLACINGS]:
        cut = batches.cut(numbers)
        adapter.sync()
        began = clock()
        adapter.place(*cut)
        adapter.sync()
        seconds.append(clock() - began)
    return seconds


class HostFeed(object):
    """Batches that are cut, and placed inside the step, when their turn comes."""

    def __init__(self, adapter, batches, order, loader_workers):
        self._adapter, self._batches, self._order = adapter, batches, order
        self.steps = len(order)

    def cut(self, step):
        """What the host has ready for `step`."""
        return self._batches.cut(self._order[step])

    def place(self, cut):
        """That, where the framework wants it."""
        return self._adapter.place(*cut)

    def close(self):
        """Nothing is held."""


class ResidentFeed(object):
    """Batches that were all cut and placed beforehand."""

    def __init__(self, adapter, batches, order, loader_workers):
        self._placed = [adapter.place(*batches.cut(numbers)) for numbers in order]
        self.steps = len(order)
        adapter.sync()

    def cut(self, step):
        """The placed batch of `step`."""
        return self._placed[step]

    def place(self, cut):
        """Nothing is left to do."""
        return cut

    def close(self):
        """Nothing is held."""


class NativeFeed(object):
    """Batches that the framework's own loader cuts, and that are placed inside the step.

    Raises Unsupported, from the adapter, for a framework whose loader does not take our order or so many workers.
    """

    def __init__(self, adapter, batches, order, loader_workers):
        self._adapter = adapter
        self._loader = adapter.load(batches, order, loader_workers)
        self._running = None
        self.steps = len(order)

    def cut(self, step):
        """What the loader has next; it is asked for the steps in order, and starts at the first."""
        if self._running is None:
            self._running = iter(self._loader)
        return next(self._running)

    def place(self, cut):
        """That, where the framework wants it."""
        return self._adapter.place(*cut)

    def close(self):
        """Ask for one batch more, whereupon a loader lets its workers go. Raises ValueError if there is one."""
        if self._running is not None and next(self._running, None) is not None:
            raise ValueError("the framework's loader gives more batches than it was asked for")
        self._running = self._loader = None


class Progress(object):
    """Tells of an epoch's progress at most once a second; called between two steps."""

    def __init__(self, emit, clock, epoch, steps):
        self._emit, self._epoch, self._steps = emit, epoch, steps
        self._said = clock()

    def tell(self, step, now):
        """`step` steps are done at the clock reading `now`."""
        if now - self._said >= PROGRESS_SECONDS:
            self._said = now
            self._emit("progress", epoch=self._epoch, step=step, steps=self._steps)


def _run_steps(adapter, feed, laps, progress, clock):
    handles = []
    for step in range(feed.steps):
        start = clock()
        cut = feed.cut(step)
        ready = clock()
        handles.append(adapter.step(feed.place(cut)))
        adapter.sync()
        end = clock()
        laps.starts.append(start)
        laps.input_seconds.append(ready - start)
        laps.step_seconds.append(end - ready)
        progress.tell(step + 1, end)
    return handles


def _run_blocks(adapter, feed, laps, progress, clock):
    handles = []
    block_start, block_steps = clock(), 0
    for step in range(feed.steps):
        start = clock()
        cut = feed.cut(step)
        ready = clock()
        handles.append(adapter.step(feed.place(cut)))
        block_steps += 1
        laps.starts.append(start)
        laps.input_seconds.append(ready - start)
        if clock() - block_start >= BLOCK_SECONDS or step == feed.steps - 1:
            adapter.sync()
            end = clock()
            laps.block_steps.append(block_steps)
            laps.block_seconds.append(end - block_start)
            progress.tell(step + 1, end)
            block_start, block_steps = clock(), 0
    return handles


def _warmup_steps(laps, measure):
    """How many steps of the first epoch are warm-up: those up to the later of `warmup_steps` and `warmup_seconds`.

    It never outlasts the first epoch, and with sync=block ends with a block.
    """
    late = sum(1 for start in laps.starts if start - laps.starts[0] < measure.warmup_seconds)
    count = min(max(late, measure.warmup_steps), len(laps.starts))
    ends = numpy.cumsum(laps.block_steps, dtype=int)
    return int(ends[ends >= count][0]) if len(ends) and count else count


def _require_finite(losses, epoch):
    for step, loss in enumerate(losses):
        if not math.isfinite(loss):
            raise NotFinite(f"the training loss became {loss} at step {step} of epoch {epoch}.")
