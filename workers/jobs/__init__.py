"""The kinds of job: one file each, found by listing; what orchestrator/records/job.py calls them by.

A file defines `work(session)`, which emits what workers/protocol.py says of its kind, and PAYLOAD, the fields of the
job's payload that it reads.
"""

import importlib
import pkgutil

from workers.protocol import BadJob


def names():
    """Sorted names of the kinds."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


def module(kind):
    """The module of that kind. Raises BadJob for an unknown one."""
    if kind not in names():
        raise BadJob(f"job.json: kind is {kind!r}; known: {', '.join(names())}.")
    return importlib.import_module(f"{__name__}.{kind}")
