"""Writes a trained network as the files of a runtime, and shows that these files give the oracle's logits."""

import numpy

from workers.batches import TO_UNIT
from workers.frameworks import inference_settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.jobs.infer import off as difference
from workers.protocol import NotEqual, Unsupported
from workers.session import clock

PAYLOAD = ("weights_sha256",)
BOUNDS = {"logits": 1e-5}
PICTURES = 8


def work(trial):
    """Build, write, run what was written. trial: Session; start.npz in its folder holds the weights."""
    job = trial.job
    adapter_class = trial.import_adapter()
    if not hasattr(adapter_class, "export"):
        raise Unsupported("export", f"{job['framework']} has no files of its own to write")
    began = clock()
    net = trial.build_net()
    weights = trial.trained_weights(net, job["payload"]["weights_sha256"])
    names, logits = adapter_class.export(net, weights, trial.folder)
    trial.say_built(net, {"files": ", ".join(names)}, clock() - began)

    size = trial.network.input_size
    x = numpy.random.RandomState(0).randint(0, 256, (PICTURES, 3, size, size)).astype(numpy.float32)
    x *= TO_UNIT
    off = difference(logits(x), Oracle(net, weights, "cpu", inference_settings(PICTURES), {}).exact_logits(x))
    trial.emit("check", figures={"logits": off}, bounds=BOUNDS, passed=off <= BOUNDS["logits"])
    if not off <= BOUNDS["logits"]:
        raise NotEqual(f"the files that were written give logits that are off by {off:.2g} (bound 1e-05).")
    trial.emit("done", weights_sha256=job["payload"]["weights_sha256"], total_seconds=clock())
