"""Run one trial: python -m workers.run JOB_FOLDER DATA_FOLDER. See workers/protocol.py."""

import os
import sys

import numpy

from workers import loop, protocol, session
from workers.batches import open_batches
from workers.protocol import BadJob
from workers.session import clock


def main(arguments):
    """The exit code of one trial. arguments: [job folder, data folder]."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m workers.run JOB_FOLDER DATA_FOLDER\n")
        return protocol.BAD_JOB
    job_folder, data_folder = arguments
    return session.main(job_folder, lambda trial: train(trial, data_folder))


def train(trial, data_folder):
    """Import, build, train, score the test set once, save the weights. trial: Session."""
    job = trial.job
    adapter_class = trial.import_adapter()

    began = clock()
    settle_allocator()
    training, validation, test = open_batches(trial.folder, data_folder, job)
    opened = clock()
    net = trial.build_net()
    adapter = adapter_class(net, first_weights(trial, net), job["device"], trial.options())
    adapter.sync()
    built = clock()
    describe = adapter.describe()
    trial.emit(
        "built",
        weights=net.weight_count,
        multiply_adds=net.multiply_adds,
        build_seconds=built - opened,
        data_seconds=opened - began,
        describe=describe,
    )
    trial.insist(describe)

    recipe = loop.Recipe(**{name: job[name] for name in loop.Recipe._fields})
    loop.train(adapter, training, validation, recipe, trial.emit, clock)
    trial.emit("score", split="test", epoch=job["epochs"] - 1, **loop.score(adapter, test, clock))
    if recipe.fingerprint == "epoch":
        seen = {"test": loop.predicted(adapter, test)}
        trial.emit("fingerprint", epoch=job["epochs"] - 1, weights={}, predictions=seen)

    trial.emit("place", place_seconds=loop.place_alone(adapter, training, job["seed"], clock))

    weights = adapter.weights()
    numpy.savez(os.path.join(trial.folder, "weights.npz"), **weights)
    trial.emit("done", weights_sha256=session.weights_sha256(weights), total_seconds=clock())


def first_weights(trial, net):
    """Those of start.npz in the job folder, or else drawn from the seed. Raises BadJob if they are not this net's."""
    path = os.path.join(trial.folder, "start.npz")
    if not os.path.exists(path):
        return net.start(trial.job["seed"])
    try:
        return net.read(path)
    except ValueError as error:
        raise BadJob(str(error)) from error


def settle_allocator():
    """Free one large block, so that glibc's malloc keeps the blocks of a step and does not hand them back each time.

    It learns from the largest block freed so far (up to 32 MiB) which sizes it maps anew and how much it keeps. A plain
    script teaches it by the way, as it drops the array it loaded; here it would depend on the size of the data set.
    Seen: 809,682 page faults in three epochs without this, 106,238 with it, and steps up to 1.2 times as long.
    """
    numpy.empty(31 * 2**20, numpy.uint8)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
