"""Tries whether a framework works here at all.

One training step of a small network on the job's device, and a wait for its end. On a card this finds builds that
import and see the card, but hold no code for it.
"""

import numpy

from workers.session import clock

PAYLOAD = ()
PICTURES = 8


def work(trial):
    """Import, build, take one step. trial: Session."""
    job, size = trial.job, trial.network.input_size
    adapter_class = trial.import_trainer()
    began = clock()
    net = trial.build_net()
    adapter = adapter_class(
        net, net.start(job["seed"]), job["device"], trial.inference_settings(PICTURES), job["options"]
    )
    build_seconds = clock() - began
    x = numpy.random.RandomState(job["seed"]).rand(PICTURES, 3, size, size)
    y = numpy.arange(PICTURES) % trial.network.classes
    loss = adapter.step(adapter.place(x.astype(numpy.float32), y.astype(numpy.int64)))
    adapter.sync()
    trial.say_built(net, adapter.describe(), build_seconds, loss=adapter.loss_value(loss))
    trial.emit("done", weights_sha256=None, total_seconds=clock())
