"""A timed trial: trains one network once, scores it, saves its weights."""

import os

import numpy

from workers import loop, native, optimisers, protocol, session
from workers.batches import open_batches
from workers.protocol import BadJob, Measure, Training
from workers.session import clock

PAYLOAD = ("training", "measure")


def work(trial):
    """Import, build, train, score the test set once, save the weights. trial: Session."""
    job, payload = trial.job, trial.job["payload"]
    training = protocol.record(Training, payload["training"], "job.json: payload.training")
    measure = protocol.record(Measure, payload["measure"], "job.json: payload.measure")
    if trial.data_folder is None:
        raise BadJob("a training needs pictures: give the folder of the prepared data after that of the job.")
    adapter_class = trial.import_trainer()

    began = clock()
    settle_allocator()
    batches, validation, test = open_batches(trial.folder, trial.data_folder, trial.network, training.batch_size)
    opened = clock()
    net = trial.build_net()
    weights = first_weights(trial, net, training.initialiser)
    adapter = adapter_class(net, weights, job["device"], trial.settings(training), job["options"])
    adapter.sync()
    built = clock()
    describe = adapter.describe()
    trial.say_built(net, describe, built - opened, opened - began)
    trial.require_settings(describe)

    # Nobody can repeat a step that drew random numbers, or one of an optimiser whose state is not known.
    if any(op.kind == "dropout" for op in net.ops) or training.optimiser not in optimisers.AUDITED:
        measure = measure._replace(audit=0)
    asked = loop.Asked(job["seed"], training.epochs, measure)
    throttled = native.throttled_periods()
    audits = loop.train(adapter, batches, validation, asked, trial.emit, clock)
    throttled_after = native.throttled_periods()
    last = training.epochs - 1
    scoring = protocol.Progress(trial.emit, clock, last, len(test), "scoring test pictures")
    trial.emit("score", split="test", epoch=last, **loop.score(adapter, test, clock, scoring))
    if measure.fingerprint == "epoch":
        seen = {"test": loop.predicted(adapter, test)}
        trial.emit("fingerprint", epoch=last, weights={}, predictions=seen)

    trial.emit("place", place_seconds=loop.place_alone(adapter, batches, job["seed"], clock))

    if audits.steps:
        trial.emit("audited", **audits.save(trial.folder))
    weights = adapter.weights()
    numpy.savez(os.path.join(trial.folder, "weights.npz"), **weights)
    stopped = None if throttled is None or throttled_after is None else throttled_after - throttled
    done = {"weights_sha256": session.weights_sha256(weights), "throttled_periods": stopped}
    trial.emit("done", total_seconds=clock(), **done)


def first_weights(trial, net, initialiser):
    """The weights of start.npz in the job folder; without one, drawn from the seed.

    Raises BadJob if they are not this net's, or for an unknown initialiser.
    """
    path = os.path.join(trial.folder, "start.npz")
    try:
        return net.read(path) if os.path.exists(path) else net.start(trial.job["seed"], initialiser)
    except ValueError as error:
        raise BadJob(str(error)) from error


def settle_allocator():
    """Free one large block, so that glibc's malloc keeps the memory of a step and does not return it to the kernel.

    Its thresholds follow the largest block freed so far (up to 32 MiB). An ordinary script frees one when it drops the
    array that it loaded; here it would depend on the size of the data set.
    Measured: 809,682 page faults in three epochs without this, 106,238 with it, and steps up to 1.2 times as long.
    """
    numpy.empty(31 * 2**20, numpy.uint8)
