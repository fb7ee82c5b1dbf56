"""The interface of all engines: prepare an environment, run one launch, return an Exit."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orchestrator.environment import Environment
from orchestrator.planning.image_row import ImageRow
from orchestrator.trial import Exit

Say = Callable[[str], None]
"""Receives one line of progress."""


@dataclass(frozen=True)
class Launch:
    """One worker process to run.

    module:   'workers.run' or 'workers.freeze'.
    source:   folder that holds the package `workers` (a snapshot; read-only for the worker).
    job_dir:  the only folder the worker may write; holds job.json.
    data_dir: prepared arrays, read-only; None for a job that reads no pictures.
    cpus:     logical processors it may use; empty means no pinning.
    memory_bytes, timeout_seconds: limits; the kernel enforces the first, the engine the second.
    labels:   of a container ('run', 'job').
    on_start: receives, once the worker runs, a function that gives the processor seconds that it and its children
              have used; not called where the engine cannot know.
    """

    environment: Environment
    module: str
    source: Path
    job_dir: Path
    data_dir: Path | None
    cpus: tuple[int, ...]
    memory_bytes: int
    timeout_seconds: float
    labels: dict[str, str] = field(default_factory=dict)
    on_start: Callable[[Callable[[], float | None]], None] | None = None


class Engine(Protocol):
    """Implementations: docker, virtualenv, host, replay. All pass tests/contract/test_engines.py.

    Promises: `run` returns for every way in which a worker can end, and raises EngineError only when nothing could be
    started; it calls `tick` at least five times a second while the worker runs; if `tick` raises (Ctrl-C), the worker
    and its children have ended before the exception leaves `run`; no process outlives `run`, or this process.
    """

    name: str

    is_local: bool
    """Whether its workers run on this machine, so that its telemetry applies to them."""

    def prepare(self, row: ImageRow, say: Say) -> Environment:
        """The environment of `row`, made if it does not exist yet. Raises EngineError, naming the log."""
        ...

    def run(self, launch: Launch, tick: Callable[[], None]) -> Exit:
        """Run one worker to its end."""
        ...

    def close(self) -> None:
        """Release connections and temporary files."""
        ...
