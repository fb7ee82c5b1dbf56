"""Finds podman's Docker-compatible socket, or starts one for as long as an engine is open."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.engines import process
from orchestrator.errors import AbsentError, EngineError

_START_SECONDS = 20.0
_WITHOUT_LIMIT = 1e9


class _ClosedError(Exception):
    """The engine was closed."""


@contextmanager
def socket_address() -> Iterator[str]:
    """The address of a podman service, 'unix:///run/podman/podman.sock'.

    That of `$CONTAINER_HOST`, of the user or of root; else one is started, and ended afterwards.
    Raises AbsentError if there is no podman here, EngineError if its service does not start.
    """
    named = os.environ.get("CONTAINER_HOST")
    if named:
        yield named
        return
    known = next((path for path in _places() if path.is_socket()), None)
    if known is not None:
        yield f"unix://{known}"
        return
    program = shutil.which("podman")
    if program is None:
        raise AbsentError("no podman here (Debian: apt install podman catatonit), and no socket of one answers.")
    with tempfile.TemporaryDirectory(prefix="waymark-podman-") as folder, _service(program, Path(folder)) as address:
        yield address


def _places() -> Iterator[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if os.geteuid() == 0:
        yield Path("/run/podman/podman.sock")
    elif runtime:
        yield Path(runtime) / "podman" / "podman.sock"


@contextmanager
def _service(program: str, folder: Path) -> Iterator[str]:
    """A service of our own, in a thread that waits for its end."""
    place, log, is_closed = folder / "podman.sock", folder / "log.txt", threading.Event()
    argv = (program, "system", "service", "--time=0", f"unix://{place}")
    command = process.Command(argv, folder, dict(os.environ), log, _WITHOUT_LIMIT)

    def tick() -> None:
        if is_closed.is_set():
            raise _ClosedError

    def serve() -> None:
        try:
            process.run(command, tick)
        except (_ClosedError, EngineError):
            return

    thread = threading.Thread(target=serve, name="podman")
    thread.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not place.is_socket():
            if not thread.is_alive() or time.monotonic() > deadline:
                raise EngineError(f"podman's service does not start: {process.tail(log, 2) or 'it says nothing'}.")
            time.sleep(0.05)
        yield f"unix://{place}"
    finally:
        is_closed.set()
        thread.join()
