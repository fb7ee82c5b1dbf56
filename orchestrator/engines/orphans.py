"""Workers that run on this machine without an orchestrator that waits for them: found by their command line."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engines import process

_MODULES = (b"workers.run", b"workers.freeze")
_END_SECONDS = 10.0


@dataclass(frozen=True)
class Worker:
    """A worker process of this machine. born: when it began, which with its pid identifies it.

    is_orphan: nobody waits for it any more: the process that started it has ended.
    """

    pid: int
    born: str
    folder: str
    is_orphan: bool = True

    @property
    def warning(self) -> str:
        """Why times beside it are not reliable, a sentence."""
        what = f"Process {self.pid} is a worker of another run, on the job {self.folder}; it takes processor time."
        if not self.is_orphan:
            return f"{what} That run is going on; wait for it to end."
        return f"{what} That run has ended: `invoke reap` ends the worker, with WAYMARK_HOME set to the run's home."

    def end(self) -> None:
        """Kill its process group, unless it has ended; returns when it has."""
        if process.birth(self.pid) != self.born:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(os.getpgid(self.pid), signal.SIGKILL)
        deadline = time.monotonic() + _END_SECONDS
        while process.birth(self.pid) == self.born and time.monotonic() < deadline:
            time.sleep(0.02)


def running_workers(root: Path | None = None) -> list[Worker]:
    """All workers that this user can see; with `root`, those of a home: their job folder is below it."""
    workers = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        pid, folder = int(entry.name), _job_folder(Path(entry.path))
        born = process.birth(pid) if folder else None
        if born is not None and (root is None or Path(folder).is_relative_to(root)):
            workers.append(Worker(pid, born, folder, process.parent(pid) == 1))
    return workers


def _job_folder(entry: Path) -> str:
    """The job folder of a worker, from its command line `python -m workers.run FOLDER [DATA]`, else ''."""
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    for flag, module, folder in zip(words, words[1:], words[2:], strict=False):
        if flag == b"-m" and module in _MODULES:
            return os.fsdecode(folder)
    return ""
