"""job.json for tests of the worker: a small one, of any kind, with what a test changes put in its place."""

import json

from tests.small_networks import as_json, residual
from workers.protocol import VERSION, Measure, Training

TRAINING = Training("sgd", "he_normal", 0.01, 0.9, batch_size=8, epochs=2)
MEASURE = Measure("step", "host", 0, 1, 0.0, "epoch", "none", 0)
SHAPE, CLASSES = (3, 8, 8), 5


def kind_of(launch):
    """The kind of job that an engine was asked to run; None for a look at what is installed."""
    path = launch.job_dir / "job.json"
    return json.loads(path.read_text(encoding="utf-8"))["kind"] if path.exists() else None


def job_json(kind="train", **changes):
    """The text of a job.json. changes: fields of Training, Measure or of the job itself; or the shape of a picture."""
    parts = {}
    network = as_json(residual(changes.pop("shape", SHAPE), changes.pop("classes", CLASSES)))
    for name, record in (("training", TRAINING), ("measure", MEASURE)):
        own = {key: changes.pop(key) for key in record._fields if key in changes}
        defaults = getattr(record, "_field_defaults", {})
        told = {key: value for key, value in record._asdict().items() if defaults.get(key, ...) != value}
        parts[name] = dict(told, **own)
    payloads = {
        "train": {"training": parts["training"], "measure": parts["measure"]},
        "selfcheck": {
            "optimiser": parts["training"]["optimiser"],
            "initialiser": parts["training"]["initialiser"],
            "traits": [],
            "batch_size": 64,
            "steps": "all",
        },
        "probe": {},
    }
    job = {"v": VERSION, "kind": kind, "framework": "numpy_ref", "device": "cpu"}
    job.update({"network": network, "precision": "float32", "seed": 0, "threads": 1})
    job.update({"options": {}, "expects": {}, "payload": payloads.get(kind, {})})
    return json.dumps(dict(job, **changes))


def said_in(folder):
    """The events that a worker left in its folder, as JSON objects."""
    return [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
