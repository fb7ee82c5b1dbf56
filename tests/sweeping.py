"""A tiny sweep, and how a test runs it in a world: a home, a spec and a folder of reports."""

import io
from dataclasses import replace

from rich.console import Console as Terminal

from orchestrator.commands import sweep
from orchestrator.console.progress import Console
from orchestrator.execution.session import RunOptions

SPEC = {
    "name": "tiny",
    "axes": {
        "frameworks": ["numpy_ref"],
        "models": [{"name": "resnet", "depth": 8, "input_sizes": [8]}],
        "seeds": [0, 1],
    },
    "dataset": {
        "name": "synthetic",
        "split": "by-track",
        "synthetic": {"tracks_per_class": 2, "frames_per_track": 2, "test_tracks_per_class": 1},
    },
    "training": {"epochs": 1, "batch_size": 16},
    "measure": {"warmup_steps": 0, "warmup_seconds": 0.0},
    "limits": {"trial_seconds": 300, "memory_gib": 4, "foreign_percent": 100},
}


def run(world, catalogue, **fields):
    home, spec, reports = world
    said = io.StringIO()
    options = RunOptions(**{key: fields.pop(key) for key in RunOptions.__dataclass_fields__ if key in fields})
    if "resume" not in fields:
        options = replace(options, engine=options.engine or "virtualenv")
    request = sweep.SweepRequest(spec_path=spec, options=options, **fields)
    result = sweep.sweep(request, catalogue, home, reports, Console(Terminal(file=said, width=200)))
    return result, said.getvalue()
