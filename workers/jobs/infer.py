"""Runs a trained network: shows first that it gives the oracle's logits, then measures how fast, then asks everything.

Float32 is a promise: what makes it, and gives other logits, fails with NotEqual. What says that it computes in less is
measured, and its `check` event says how far it is off. int8 is judged by its accuracy: it fails where the test pictures
show that it keeps less than KEPT of float32's.
"""

import os

import numpy

from workers import arrays, protocol, scenarios
from workers.batches import draw_training, open_test
from workers.bounds import FLOAT32, INT8, KEPT, bounds, is_within
from workers.frameworks import inference_settings, runner
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.loop import tally
from workers.process import clock
from workers.protocol import BadJob, Inference, NotEqual, Progress

PAYLOAD = ("inference",)

CHECKED = 256  # test pictures, whose logits are compared before anything is timed
SAMPLES = 64  # test pictures that the queries take in turn
REFERENCE = "reference.npz"
ORACLE_BATCH = 64

CALIBRATION = 256
"""Training pictures by which what computes in int8 sets its ranges; test pictures would flatter it."""

Z = 1.96
"""Of an interval that holds in 95 % of cases."""


def work(job):
    """Import, build, compare, measure, answer for every test picture. job: Job."""
    asked = protocol.record(Inference, job.payload["inference"], "job.json: payload.inference")
    if asked.scenario not in scenarios.SCENARIOS:
        raise BadJob(f"job.json: scenario is {asked.scenario!r}; known: {', '.join(scenarios.SCENARIOS)}.")
    if job.data_folder is None:
        raise BadJob("an inference needs pictures: give the folder of the prepared data after that of the job.")
    adapter_class = job.import_adapter()

    began = clock()
    test = open_test(job.data_folder, job.net, asked.batch_size)
    opened = clock()
    weights = job.trained_weights(asked.weights_sha256)
    adapter = adapter_class(job.net, weights, job.device, job.inference_settings(asked.batch_size), job.options)
    if adapter.describe().get("precision") == INT8:
        adapter.calibrate(draw_training(job.folder, job.data_folder, job.net, CALIBRATION, job.seed))
    describe = adapter.describe()
    job.say_built(describe, clock() - opened, opened - began)
    job.require_settings(describe)
    adapter = runner(adapter)

    oracle = oracle_logits(job, weights, test)
    first = min(CHECKED, len(test))
    figures = {"logits": off(logits_of(adapter, test, first), oracle[:first])}
    require_equal(job, figures, describe.get("precision", FLOAT32))

    scenarios.measure(adapter, samples(adapter, test, job.seed), asked, job.seed, job.emit, clock)

    began, progress = clock(), Progress(job.emit, clock, 0, len(test), "scoring test pictures")
    logits = logits_of(adapter, test, len(test), progress)
    job.emit("score", split="test", epoch=0, **score(logits, test.labels, clock() - began - progress.seconds))
    share, low, high = kept_accuracy(logits.argmax(1) == test.labels, oracle.argmax(1) == test.labels)
    job.emit("answers", classes=logits.argmax(1), differing=differing(logits, oracle), kept=[share, low, high])
    if describe.get("precision") == INT8 and high < KEPT:
        raise NotEqual(
            f"in int8 it keeps {share:.1%} of float32's accuracy, [{low:.1%}, {high:.1%}]; {KEPT:.0%} are asked for."
        )
    job.emit("done", weights_sha256=asked.weights_sha256, total_seconds=clock())


def require_equal(job, figures, precision):
    """Emit the `check` of logits that were computed in that number format.

    Only what promises float32 can pass. Raises NotEqual if it promises that and is beyond the bound.
    """
    allowed = bounds("inference")
    is_equal = is_within(figures, allowed)
    job.emit("check", figures=figures, bounds=dict(allowed), passed=is_equal and precision == FLOAT32)
    if not is_equal and precision == FLOAT32:
        seen, bound = figures["logits"], allowed["logits"]
        raise NotEqual(f"it computes in float32, and its logits are off by {seen:.2g} (bound {bound:g}).")


def oracle_logits(job, weights, test):
    """The oracle's logits of all test pictures, float64; of reference.npz, or computed and left there.

    Raises BadJob if the file holds those of another number of pictures.
    """
    path = os.path.join(job.folder, REFERENCE)
    if os.path.exists(path):
        try:
            known = arrays.read(path)["logits"]
        except (ValueError, KeyError) as error:
            raise BadJob(f"{REFERENCE} holds no logits: {error}.") from error
        if known.shape != (len(test), job.net.classes):
            raise BadJob(f"{REFERENCE} holds logits of the shape {known.shape}; there are {len(test)} test pictures.")
        return known
    oracle = Oracle(job.net, weights, "cpu", inference_settings(ORACLE_BATCH), {})
    parts, progress = [], Progress(job.emit, clock, 0, len(test), "the oracle's logits")
    for at in range(0, len(test), ORACLE_BATCH):
        x, _ = test.cut(numpy.arange(at, min(at + ORACLE_BATCH, len(test))))
        parts.append(oracle.exact_logits(x))
        progress.tell(at, clock())
    logits = numpy.concatenate(parts)
    numpy.savez(path, logits=logits)
    return logits


def logits_of(adapter, test, count, progress=None):
    """(count, classes): of the first `count` test pictures, in batches of the size that is timed.

    The last batch is filled up with the first pictures, because some runtimes take batches of one size only.
    progress: Progress in pictures.
    """
    parts = []
    for at in range(0, count, test.size):
        x, _ = test.cut(numpy.arange(at, at + test.size) % len(test))
        parts.append(adapter.logits(adapter.infer(adapter.prepare(x))))
        if progress is not None:
            progress.tell(at, clock())
    return numpy.concatenate(parts)[:count]


def samples(adapter, test, seed):
    """SAMPLES queries of the size that is timed, of test pictures drawn with `seed`, prepared."""
    random = numpy.random.RandomState(seed)
    count = max(1, SAMPLES // test.size)
    drawn = random.randint(0, len(test), (count, test.size))
    return [adapter.prepare(test.cut(numbers)[0]) for numbers in drawn]


def off(logits, oracle):
    """Largest difference, as a share of the oracle's largest logit; infinity where one is not a number."""
    difference = numpy.abs(logits.astype(numpy.float64) - oracle).max()
    return float(difference / numpy.abs(oracle).max()) if numpy.isfinite(difference) else float("inf")


def score(logits, labels, seconds):
    """The fields of a `score` event."""
    predicted, loss = tally(logits, labels)
    count = len(labels)
    return {
        "accuracy": int((predicted == labels).sum()) / float(count),
        "loss": loss / count,
        "pictures": count,
        "evaluate_seconds": seconds,
    }


def differing(logits, oracle):
    """[picture, class, the oracle's class, margin] of each picture of which the predicted class differs.

    margin: by how much the oracle's logit of its own class is larger, as a share of its largest logit. Two classes
    that are nearer than twice the bound may change places.
    """
    seen, wanted = logits.argmax(1), oracle.argmax(1)
    largest = numpy.abs(oracle).max()
    rows = []
    for number in numpy.flatnonzero(seen != wanted):
        margin = (oracle[number, wanted[number]] - oracle[number, seen[number]]) / largest
        rows.append([int(number), int(seen[number]), int(wanted[number]), float(margin)])
    return rows


def kept_accuracy(right, oracle_right):
    """(share of the oracle's accuracy, low, high) of two answers to each picture: booleans (n,).

    The interval is that of a difference of paired shares. Source: Agresti and Min 2005, "Simple improved confidence
    intervals for comparing matched proportions", with half a picture added to each of the four counts.
    """
    count = len(right) + 2.0
    lost, won = (oracle_right & ~right).sum() + 0.5, (right & ~oracle_right).sum() + 0.5
    difference = (won - lost) / count
    error = ((lost + won) - (won - lost) ** 2 / count) ** 0.5 / count
    accuracy = (oracle_right.sum() + 1.0) / count
    seen = float(right.sum()) / max(1, int(oracle_right.sum()))
    return seen, float(1 + (difference - Z * error) / accuracy), float(1 + (difference + Z * error) / accuracy)
