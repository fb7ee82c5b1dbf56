"""The only training and inference loop, and the only clock; adapters have neither.

The clocks, in seconds:
input  making a batch from the pictures
step   place + forward + backward + update, the device idle at the end (sync=step)
block  wall time of the steps since the last wait for the device, with making the batches: on an asynchronous device
       the two overlap, so they cannot be timed separately (sync=block)
epoch  from before the first batch to after the last step
With feed=resident the batches of an epoch are made and placed before its clock starts, so `input` is almost zero.
With feed=native the framework's own loader makes them, and `input` is the wait for it; it starts inside the epoch's
clock, as in an ordinary script, so the first batch of an epoch includes the start of its workers.
drain  after the epoch, how much longer reading its losses takes than reading them again: what a device still had to do
       when the clock stopped
Nothing else happens inside a step: losses stay handles until the end of the epoch, the garbage collector is off, and
progress is reported between two steps, at most once a second. Copies for audits are taken and a new rate is set between
two steps, and their time is taken off that of the block and of the epoch.
"""

import gc
import hashlib
import math
from typing import NamedTuple, Optional

import numpy

from workers.audits import Audits
from workers.protocol import NotFinite, Progress

BLOCK_SECONDS = 0.2
PLACINGS = 20


class Asked(NamedTuple):
    """The arguments of a training.

    measure: Measure of workers/protocol.py. rule: of workers/optimisers.py, which says the rate of each step; the
    adapter was made with its learning rate. target: the accuracy over the validation pictures at which the training
    ends; None: it takes all epochs.
    """

    seed: int
    epochs: int
    measure: NamedTuple
    rule: object
    target: Optional[float] = None


class Trained(NamedTuple):
    """What a training leaves. audits: Audits of its audited steps. epochs: how many it took."""

    audits: Audits
    epochs: int


class Laps(object):
    """The times of one epoch. `starts` are clock readings, all others seconds or counts."""

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
    """Train for `asked.epochs` epochs, or until the target is reached, and emit an event for each.

    training, validation: Batches; validation may be None: then nothing is scored.
    emit: emit(kind, **fields). clock: function without arguments, monotonic seconds.
    Gives a Trained.
    Raises NotFinite after the epoch in which a loss was infinite or not a number.
    """
    measure = asked.measure
    run_epoch = {"step": _run_steps, "block": _run_blocks}[measure.sync]
    open_feed = {"host": HostFeed, "resident": ResidentFeed, "native": NativeFeed}[measure.feed]
    has_state = not asked.rule.shows_itself
    steps = len(training) // training.size
    audits = Audits(adapter, measure.audit, asked.epochs, steps, clock, has_state, asked.target is not None)
    rate = Rate(adapter, asked.rule, clock)
    gc.collect()
    if hasattr(gc, "freeze"):  # CPython 3.7+: later collections then skip all that exists now
        gc.freeze()  # novermin
    gc.disable()
    try:
        for epoch in range(asked.epochs):
            feed = open_feed(adapter, training, training.shuffled(asked.seed, epoch), measure.loader_workers)
            if epoch == 0:
                emit("training")
            laps = Laps()
            watch = Watch(audits, Progress(emit, clock, epoch, feed.steps), epoch, rate)
            began = clock()
            handles = run_epoch(adapter, feed, laps, watch, clock)
            epoch_seconds = clock() - began - watch.paused_seconds
            losses, drain_seconds = _read(adapter, handles, clock)
            warmup_steps = _warmup_steps(laps, measure) if epoch == 0 else 0
            clocks = laps.clocks(measure.sync)
            times = {"epoch_seconds": epoch_seconds, "drain_seconds": drain_seconds, "warmup_steps": warmup_steps}
            emit("epoch", epoch=epoch, loss=losses, **times, **clocks)
            _require_finite(losses, epoch)
            is_reached = False
            if validation is not None and (measure.evaluate == "epoch" or epoch == asked.epochs - 1):
                scoring = Progress(emit, clock, epoch, len(validation), "scoring validation pictures")
                scored = score(adapter, validation, clock, scoring)
                emit("score", split="valid", epoch=epoch, **scored)
                is_reached = asked.target is not None and scored["accuracy"] >= asked.target
            if measure.fingerprint == "epoch" and validation is not None:
                emit("fingerprint", epoch=epoch, **fingerprint(adapter, validation))
            feed.close()
            del feed, handles
            gc.collect()
            if is_reached:
                break
    finally:
        gc.enable()
    return Trained(audits, epoch + 1)


def _read(adapter, handles, clock):
    """(losses, seconds that the device was still busy with them): reading them again takes what reading takes."""
    began = clock()
    losses = [adapter.loss_value(handle) for handle in handles]
    adapter.sync()
    read = clock()
    for handle in handles:
        adapter.loss_value(handle)
    adapter.sync()
    return losses, max(0.0, (read - began) - (clock() - read))


def score(adapter, batches, clock, progress=None, taken=None):
    """The fields of a `score` event for all pictures of `batches`, each exactly once, in inference mode.

    progress: Progress in pictures. taken: a list that gets the predicted classes of each batch.
    """
    began = clock()
    right, total_loss, done = 0, 0.0, 0
    for numbers in batches.in_order():
        x, y = batches.cut(numbers)
        predicted, loss_here = tally(adapter.predict(adapter.place(x, y)), y)
        right, total_loss, done = right + int((predicted == y).sum()), total_loss + loss_here, done + len(y)
        if taken is not None:
            taken.append(predicted)
        if progress is not None:
            progress.tell(done, clock())
    count = len(batches)
    return {
        "accuracy": right / float(count),
        "loss": total_loss / count,
        "pictures": count,
        "evaluate_seconds": clock() - began - (progress.seconds if progress else 0.0),
    }


def confusion(labels, taken):
    """[[class, class it was taken for, pictures], ...] of labels (n,) and predicted classes (n,), without zeros."""
    pairs, counts = numpy.unique(numpy.stack([labels, taken], 1), axis=0, return_counts=True)
    return numpy.column_stack([pairs, counts]).tolist()


def tally(logits, y):
    """(predicted classes (n,), the sum of the cross-entropies of y (n,)) of logits (n, classes), in float64."""
    logits = logits.astype(numpy.float64)
    shifted = logits - logits.max(1, keepdims=True)
    losses = numpy.log(numpy.exp(shifted).sum(1)) - shifted[numpy.arange(len(y)), y]
    return logits.argmax(1), float(losses.sum())


def fingerprint(adapter, validation):
    """The fields of a `fingerprint` event without its epoch: hashes that are equal if two trainings are bit-exact."""
    weights = adapter.weights()
    hashes = {name: hashlib.sha256(value.astype("<f4").tobytes()).hexdigest() for name, value in weights.items()}
    return {"weights": hashes, "predictions": {"valid": predicted(adapter, validation)}}


def predicted(adapter, batches):
    """sha256 over the predicted class (int64) of each picture of `batches`."""
    total = hashlib.sha256()
    for numbers in batches.in_order():
        logits = adapter.predict(adapter.place(*batches.cut(numbers)))
        total.update(numpy.argmax(logits, 1).astype("<i8").tobytes())
    return total.hexdigest()


def place_alone(adapter, batches, seed, clock):
    """Seconds of placing each of a few training batches: the part of a step that copies to the device.

    Within a step it could be timed only with one more wait for the device; so it is timed after the training.
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
    """Batches that are made one by one, and placed inside the step."""

    def __init__(self, adapter, batches, order, loader_workers):
        self._adapter, self._batches, self._order = adapter, batches, order
        self.steps = len(order)

    def cut(self, step):
        """The batch of `step`, on the host."""
        return self._batches.cut(self._order[step])

    def place(self, cut):
        """The batch, on the device."""
        return self._adapter.place(*cut)

    def close(self):
        """Nothing is held."""


class ResidentFeed(object):
    """Batches that are all made and placed before the epoch."""

    def __init__(self, adapter, batches, order, loader_workers):
        self._placed = [adapter.place(*batches.cut(numbers)) for numbers in order]
        self.steps = len(order)
        adapter.sync()

    def cut(self, step):
        """The placed batch of `step`."""
        return self._placed[step]

    def place(self, cut):
        """The batch; it is placed already."""
        return cut

    def close(self):
        """Nothing is held."""


class NativeFeed(object):
    """Batches of the framework's own loader, placed inside the step.

    Raises Unsupported, from the adapter, if the framework's loader does not take our order or so many workers.
    """

    def __init__(self, adapter, batches, order, loader_workers):
        self._adapter = adapter
        self._loader = adapter.load(batches, order, loader_workers)
        self._running = None
        self.steps = len(order)

    def cut(self, step):
        """The loader's next batch; it starts at the first call."""
        if self._running is None:
            self._running = iter(self._loader)
        return next(self._running)

    def place(self, cut):
        """The batch, on the device."""
        return self._adapter.place(*cut)

    def close(self):
        """Ask for one more batch, so that the loader ends its workers. Raises ValueError if there is one."""
        if self._running is not None and next(self._running, None) is not None:
            raise ValueError("the framework's loader gives more batches than it was asked for")
        self._running = self._loader = None


class Rate(object):
    """Tells the adapter the rate of a step where it is another than that of the step before."""

    def __init__(self, adapter, rule, clock):
        self._adapter, self._rate_at, self._clock = adapter, rule.rate_at, clock
        self._current = rule.learning_rate

    def set(self, epoch, step):
        """`step` comes next; gives the seconds that it took to tell the adapter, which are nobody's step."""
        rate = self._rate_at(epoch, step)
        if rate == self._current:
            return 0.0
        began = self._clock()
        self._adapter.set_rate(rate)
        self._current = rate
        return self._clock() - began


class Watch(object):
    """What happens between two steps of an epoch: the rate is set, progress told, and copies for audits are taken."""

    def __init__(self, audits, progress, epoch, rate):
        self._audits, self._epoch, self._rate = audits, epoch, rate
        self.due = audits.due(epoch)
        self.tell = progress.tell
        self.paused_seconds = 0.0

    def begin(self, step):
        """`step` comes next, and the device may be busy with those before it; gives the seconds that count nowhere."""
        seconds = self._rate.set(self._epoch, step)
        self.paused_seconds += seconds
        return seconds

    def pause(self, step):
        """Copy the weights if `step` is due. The device is idle."""
        if step in self.due:
            self.paused_seconds += self._audits.take(self._epoch, step)


def _run_steps(adapter, feed, laps, watch, clock):
    handles = []
    for step in range(feed.steps):
        watch.pause(step)
        watch.begin(step)
        start = clock()
        cut = feed.cut(step)
        ready = clock()
        handles.append(adapter.step(feed.place(cut)))
        adapter.sync()
        end = clock()
        laps.starts.append(start)
        laps.input_seconds.append(ready - start)
        laps.step_seconds.append(end - ready)
        watch.tell(step + 1, end)
    watch.pause(feed.steps)
    return handles


def _run_blocks(adapter, feed, laps, watch, clock):
    handles = []
    watch.pause(0)
    block_start, block_steps = clock(), 0
    for step in range(feed.steps):
        block_start += watch.begin(step)
        start = clock()
        cut = feed.cut(step)
        ready = clock()
        handles.append(adapter.step(feed.place(cut)))
        block_steps += 1
        laps.starts.append(start)
        laps.input_seconds.append(ready - start)
        is_end = step == feed.steps - 1 or step + 1 in watch.due
        if is_end or clock() - block_start >= BLOCK_SECONDS:
            adapter.sync()
            end = clock()
            laps.block_steps.append(block_steps)
            laps.block_seconds.append(end - block_start)
            watch.tell(step + 1, end)
            watch.pause(step + 1)
            block_start, block_steps = clock(), 0
    return handles


def _warmup_steps(laps, measure):
    """How many steps of the first epoch are warm-up: those up to the later of `warmup_steps` and `warmup_seconds`.

    At most the whole first epoch; with sync=block it ends with a block.
    """
    late = sum(1 for start in laps.starts if start - laps.starts[0] < measure.warmup_seconds)
    count = min(max(late, measure.warmup_steps), len(laps.starts))
    ends = numpy.cumsum(laps.block_steps, dtype=int)
    return int(ends[ends >= count][0]) if len(ends) and count else count


def _require_finite(losses, epoch):
    for step, loss in enumerate(losses):
        if not math.isfinite(loss):
            raise NotFinite(f"the training loss became {loss} at step {step} of epoch {epoch}.")
