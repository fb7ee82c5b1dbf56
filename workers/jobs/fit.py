"""Tries whether trainings in batches of one size fit into the memory that this process may use.

A few training steps and one inference of drawn pictures: after them a framework holds what it holds later on.
"""

import numpy

from workers import native, protocol
from workers.process import clock

PAYLOAD = ("training",)
STEPS = 3


def work(job):
    """Import, build, take the steps, predict. job: Job."""
    training = protocol.training_of(job.payload)
    adapter_class = job.import_trainer()
    began = clock()
    net = job.net
    adapter = adapter_class(
        net, net.start(job.seed, training.initialiser), job.device, job.settings(training), job.options
    )
    job.say_built(adapter.describe(), clock() - began)
    rng = numpy.random.RandomState(job.seed)
    for step in range(STEPS):
        x = rng.random_sample((training.batch_size,) + net.input).astype(numpy.float32)
        y = rng.randint(0, net.classes, training.batch_size).astype(numpy.int64)
        adapter.loss_value(adapter.step(adapter.place(x, y)))
        adapter.sync()
        job.emit("progress", epoch=0, step=step + 1, steps=STEPS)
    adapter.predict(adapter.place(x, y))
    job.emit("done", weights_sha256=None, total_seconds=clock(), peak_rss_bytes=native.peak_rss_bytes())
