"""Writes a trained network as the files of a runtime, and shows that these files give the oracle's logits."""

import numpy

from workers.batches import TO_UNIT
from workers.bounds import bounds, is_within
from workers.frameworks import inference_settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.jobs.infer import off as difference
from workers.process import clock
from workers.protocol import NotEqual, Unsupported

PAYLOAD = ("weights_sha256",)
PICTURES = 8


def work(job):
    """Build, write, run what was written. job: Job; start.npz in its folder holds the weights."""
    adapter_class = job.import_adapter()
    if not hasattr(adapter_class, "export"):
        raise Unsupported("export", f"{job.framework} has no files of its own to write")
    began = clock()
    weights = job.trained_weights(job.payload["weights_sha256"])
    names, logits = adapter_class.export(job.net, weights, job.folder)
    job.say_built({"files": ", ".join(names)}, clock() - began)

    x = numpy.random.RandomState(0).randint(0, 256, (PICTURES,) + job.net.input).astype(numpy.float32)
    x *= TO_UNIT
    off = difference(logits(x), Oracle(job.net, weights, "cpu", inference_settings(PICTURES), {}).exact_logits(x))
    allowed = bounds("export")
    is_equal = is_within({"logits": off}, allowed)
    job.emit("check", figures={"logits": off}, bounds=dict(allowed), passed=is_equal)
    if not is_equal:
        raise NotEqual(
            f"the files that were written give logits that are off by {off:.2g} (bound {allowed['logits']:g})."
        )
    job.emit("done", weights_sha256=job.payload["weights_sha256"], total_seconds=clock())
