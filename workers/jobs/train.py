"""A timed trial: trains one network once, scores it, saves its weights."""

import os

import numpy

from workers import loop, native, protocol
from workers.batches import open_batches
from workers.frameworks import update_of
from workers.net import weights_sha256
from workers.optimisers import rule_of
from workers.process import clock
from workers.protocol import BadJob, Measure

PAYLOAD = ("training", "measure")


def work(job):
    """Import, build, train, score the test set once, save the weights. job: Job."""
    training = protocol.training_of(job.payload)
    measure = protocol.record(Measure, job.payload["measure"], "job.json: payload.measure")
    if job.data_folder is None:
        raise BadJob("a training needs pictures: give the folder of the prepared data after that of the job.")
    adapter_class = job.import_trainer()

    began = clock()
    settle_allocator()
    augmentation = protocol.augmentation_of(job.payload)
    batches, validation, test = open_batches(job.folder, job.data_folder, job.net, training.batch_size, augmentation)
    opened = clock()
    weights = first_weights(job, training.initialiser)
    adapter = adapter_class(job.net, weights, job.device, job.settings(training), job.options)
    adapter.sync()
    built = clock()
    describe = adapter.describe()
    job.say_built(describe, built - opened, opened - began, optimiser=update_of(adapter))
    job.require_settings(describe)

    # Nobody can repeat a step that drew random numbers, or one of a rule whose state is not known.
    rule = rule_of(training, len(batches) // batches.size)
    if any(op.kind == "dropout" for op in job.net.ops) or not (rule.shows_itself or hasattr(adapter, "state")):
        measure = measure._replace(audit=0)
    target = training.target and training.target.accuracy
    asked = loop.Asked(job.seed, training.epochs, measure, rule, target)
    throttled = native.throttled_periods()
    trained = loop.train(adapter, batches, validation, asked, job.emit, clock)
    throttled_after = native.throttled_periods()
    last = trained.epochs - 1
    scoring = protocol.Progress(job.emit, clock, last, len(test), "scoring test pictures")
    taken = []
    job.emit("score", split="test", epoch=last, **loop.score(adapter, test, clock, scoring, taken))
    job.emit("confusion", counts=loop.confusion(test.labels, numpy.concatenate(taken)))
    if measure.fingerprint == "epoch":
        seen = {"test": loop.predicted(adapter, test)}
        job.emit("fingerprint", epoch=last, weights={}, predictions=seen)

    job.emit("place", place_seconds=loop.place_alone(adapter, batches, job.seed, clock))

    if trained.audits.steps:
        job.emit("audited", **trained.audits.save(job.folder))
    weights = adapter.weights()
    numpy.savez(os.path.join(job.folder, "weights.npz"), **weights)
    stopped = None if throttled is None or throttled_after is None else throttled_after - throttled
    seen = {"throttled_periods": stopped, "peak_rss_bytes": native.peak_rss_bytes()}
    job.emit("done", total_seconds=clock(), weights_sha256=weights_sha256(weights), **seen)


def first_weights(job, initialiser):
    """The weights of start.npz in the job folder; without one, drawn from the seed.

    Raises BadJob if they are not its net's, or for an unknown initialiser.
    """
    path = os.path.join(job.folder, "start.npz")
    try:
        return job.net.read(path) if os.path.exists(path) else job.net.start(job.seed, initialiser)
    except ValueError as error:
        raise BadJob(str(error)) from error


def settle_allocator():
    """Free one large block, so that glibc's malloc keeps the memory of a step and does not return it to the kernel.

    Its thresholds follow the largest block freed so far (up to 32 MiB). An ordinary script frees one when it drops the
    array that it loaded; here it would depend on the size of the data set.
    Measured: 809,682 page faults in three epochs without this, 106,238 with it, and steps up to 1.2 times as long.
    """
    numpy.empty(31 * 2**20, numpy.uint8)
