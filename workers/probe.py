"""Does this framework compute here at all? python -m workers.probe JOB_FOLDER

One training step of a small network on the job's device, and a wait for its end. On a card this is what tells a build
that imports and finds the card, but holds no code that the card runs.
"""

import sys

import numpy

from workers import protocol, session
from workers.session import clock


def main(arguments):
    """The exit code of one probe. arguments: [job folder]."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m workers.probe JOB_FOLDER\n")
        return protocol.BAD_JOB
    return session.main(arguments[0], probe)


def probe(trial):
    """Import, build, take one step. trial: Session."""
    job = trial.job
    adapter_class = trial.import_adapter()
    net = trial.build_net()
    adapter = adapter_class(net, net.start(job["seed"]), job["device"], trial.options())
    x = numpy.random.RandomState(job["seed"]).rand(job["batch_size"], 3, job["input_size"], job["input_size"])
    y = numpy.arange(job["batch_size"]) % job["classes"]
    loss = adapter.step(adapter.place(x.astype(numpy.float32), y.astype(numpy.int64)))
    adapter.sync()
    trial.emit("built", weights=net.weight_count, describe=adapter.describe(), loss=adapter.loss_value(loss))
    trial.emit("done", weights_sha256=None, total_seconds=clock())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
