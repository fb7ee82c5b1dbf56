"""Tries whether a framework works here at all.

One training step of a small network on the job's device, and a wait for its end. On a card this finds builds that
import and see the card, but hold no code for it.
"""

import numpy

from workers.process import clock

PAYLOAD = ()
PICTURES = 8


def work(job):
    """Import, build, take one step. job: Job."""
    adapter_class = job.import_trainer()
    began = clock()
    net = job.net
    adapter = adapter_class(net, net.start(job.seed), job.device, job.inference_settings(PICTURES), job.options)
    build_seconds = clock() - began
    x = numpy.random.RandomState(job.seed).random_sample((PICTURES,) + net.input)
    y = numpy.arange(PICTURES) % net.classes
    loss = adapter.step(adapter.place(x.astype(numpy.float32), y.astype(numpy.int64)))
    adapter.sync()
    job.say_built(adapter.describe(), build_seconds, loss=adapter.loss_value(loss))
    job.emit("done", weights_sha256=None, total_seconds=clock())
