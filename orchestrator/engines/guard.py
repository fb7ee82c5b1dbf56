"""Ends a worker if this process ends first, however that happens: a guard process waits for the end of a pipe.

A signal handler is not enough: `kill -9` leaves no time for one, and the worker would go on beside the next run.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_READ = """
import os, sys
name = b""
while True:
    part = os.read(0, 4096)
    if not part:
        break
    name += part
"""

GROUP = (
    _READ
    + """
if name:
    os.killpg(int(name), 9)
"""
)
"""For a process group; its name is the number."""

CONTAINER = (
    _READ
    + """
if name:
    import docker
    docker.from_env().containers.get(name.decode()).remove(force=True, v=True)
"""
)
"""For a container; its name is the id."""


class Guard(Protocol):
    """Says what the guard ends."""

    def __call__(self, name: str) -> None:
        """Name what is to be ended; the block must end it itself before it is left."""


@contextmanager
def guarded(program: str) -> Iterator[Guard]:
    """Run a guard during the block. program: GROUP or CONTAINER."""
    guard = subprocess.Popen(  # noqa: S603 - our own interpreter and text
        (sys.executable, "-I", "-c", program),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        bufsize=0,
    )
    assert guard.stdin is not None
    pipe = guard.stdin

    def name_it(name: str) -> None:
        pipe.write(name.encode())

    try:
        yield name_it
    finally:
        guard.kill()
        guard.wait()
        pipe.close()
