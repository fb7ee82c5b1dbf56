"""The kinds of job: one file each, found by listing, with the names of JOB_KINDS in orchestrator/records/job.py.

A file defines `work(job)`, which emits the events of its kind (workers/protocol.py), and PAYLOAD, the fields of the
job's payload that it reads. job: Job of workers/process.py.
"""

import importlib
import pkgutil

from workers.protocol import BadJob


def names():
    """Sorted names of the kinds."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def module(kind):
    """The module of that kind. Raises BadJob for an unknown one."""
    if kind not in names():
        raise BadJob(f"job.json: kind is {kind!r}; known: {', '.join(names())}.")
    return importlib.import_module(f"{__name__}.{kind}")
