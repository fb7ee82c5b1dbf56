"""A worker that answers pictures as they come, while this process goes on: of `invoke watch`."""

import errno
import os
import select
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.engines.engine import Engine, Launch
from orchestrator.engines.source import snapshot
from orchestrator.environment import Environment
from orchestrator.errors import EngineError
from orchestrator.execution.outcome import decide
from orchestrator.files import copy
from orchestrator.home import Home
from orchestrator.host import GIB
from orchestrator.records.event import Event, Tail
from orchestrator.records.job import Job
from orchestrator.records.run_folder import EVENTS, JOB, START, JobFolder
from orchestrator.scratch import scratch_folder
from orchestrator.trial import Exit
from workers.protocol import ANSWERS, COUNT, QUESTIONS, SECONDS

READY = "check"
"""The last event before the first question."""

START_SECONDS = 300.0
ANSWER_SECONDS = 60.0
MEMORY_BYTES = 8 * GIB
_WEIGHTS_LIMIT_BYTES = 2**33


class Served:
    """A worker that is ready. describe: what it said about itself after it was built."""

    def __init__(self, pipes: "_Pipes", classes: int, describe: Mapping[str, Any]) -> None:
        self._pipes, self._classes, self.describe = pipes, classes, describe

    def ask(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """(logits (n, classes), seconds of placing and inferring) of uint8 pictures (n, channels, height, width).

        Raises EngineError if the worker ends before it has answered, or takes over a minute.
        """
        count = len(pictures)
        self._pipes.write(COUNT.pack(count) + np.ascontiguousarray(pictures).tobytes())
        content = self._pipes.read(SECONDS.size + 4 * count * self._classes)
        logits = np.frombuffer(content[SECONDS.size :], "<f4").reshape(count, self._classes)
        return logits, float(SECONDS.unpack(content[: SECONDS.size])[0])


@contextmanager
def serving(
    environment: Environment,
    engine: Engine,
    home: Home,
    job: Job,
    start: Path,
    cpus: tuple[int, ...],
    scale: Path | None = None,
) -> Iterator[Served]:
    """A worker with the weights of `start`, ready to answer; it ends with the block.

    scale: what its network gets of bytes (scale.npy of the prepared pictures); None for shares of 255.

    Raises EngineError if it cannot be started, or does not give the oracle's logits.
    """
    with scratch_folder(home.root) as scratch:
        folder = JobFolder(scratch / "job")
        folder.path.mkdir()
        folder.write(JOB, job)
        copy(start, folder.path / START, _WEIGHTS_LIMIT_BYTES)
        if scale is not None:
            copy(scale, folder.path / scale.name, _WEIGHTS_LIMIT_BYTES)
        for pipe in (QUESTIONS, ANSWERS):
            os.mkfifo(folder.path / pipe, 0o600)
        launch = Launch(
            environment=environment,
            module="workers.run",
            source=snapshot(home).path,
            job_dir=folder.path,
            data_dir=None,
            cpus=cpus,
            memory_bytes=MEMORY_BYTES,
            timeout_seconds=30 * 86400.0,
            labels={"run": job.kind, "job": f"{environment.framework}-{environment.variant}"},
        )
        worker = _Worker(engine, launch)
        worker.start()
        try:
            described = worker.wait_until_ready(job)
            with _Pipes.opened(folder.path, worker.is_alive) as pipes:
                yield Served(pipes, job.network.net.classes, described)
        finally:
            worker.end()


class _StoppedError(Exception):
    pass


class _Worker(threading.Thread):
    """Runs the launch in a thread of its own, because an engine returns only when its worker has ended."""

    def __init__(self, engine: Engine, launch: Launch) -> None:
        super().__init__(daemon=True)
        self._engine, self._launch = engine, launch
        self._must_end = threading.Event()
        self.exit: Exit | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.exit = self._engine.run(self._launch, self._tick)
        except _StoppedError:
            pass
        except Exception as error:  # noqa: BLE001 - told by wait_until_ready
            self.error = error

    def _tick(self) -> None:
        if self._must_end.is_set():
            raise _StoppedError

    def wait_until_ready(self, job: Job) -> Mapping[str, Any]:
        """What it says about itself once built. Raises EngineError if it ends before it is ready."""
        tail, events = Tail(self._launch.job_dir / EVENTS), list[Event]()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            is_alive = self.is_alive()
            try:
                events += tail.read()
            except OSError as error:
                raise EngineError(f"{EVENTS}: {error.strerror}") from None
            if any(event.kind == "fail" for event in events) or not is_alive:
                break
            if any(event.kind == READY for event in events):
                built = next((event.fields for event in events if event.kind == "built"), {})
                described: Mapping[str, Any] = built.get("describe", {})
                return described
            time.sleep(0.02)
        self.join(timeout=10)
        if self.error is not None:
            raise EngineError(str(self.error))
        outcome = decide(job, events, self.exit)
        raise EngineError(f"the worker was not ready: {outcome.status}: {outcome.reason}")

    def end(self) -> None:
        """Stop the worker, if it has not ended by itself."""
        self.join(timeout=2)
        self._must_end.set()
        self.join(timeout=30)


class _Pipes:
    """Both pipes. The worker owns the folder that they are in: what is there now may be a link, or no pipe."""

    def __init__(self, questions: int, answers: int) -> None:
        self._questions, self._answers = questions, answers
        self._readable = select.poll()
        self._readable.register(answers, select.POLLIN)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, is_alive: Callable[[], bool]) -> Iterator["_Pipes"]:
        """Raises EngineError if the worker does not open its ends, or has put something else there."""
        with ExitStack() as held:
            answers = _pipe(folder / ANSWERS, os.O_RDONLY, held, is_alive)
            questions = _pipe(folder / QUESTIONS, os.O_WRONLY, held, is_alive)
            os.set_blocking(questions, True)
            pipes = cls(questions, answers)
            yield pipes
            with suppress(EngineError):
                pipes.write(COUNT.pack(0))

    def write(self, content: bytes) -> None:
        """Raises EngineError if nobody reads it any more."""
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._questions, view) :]
        except OSError as error:
            raise EngineError(f"the worker does not answer any more: {error.strerror}.") from None

    def read(self, count: int) -> bytes:
        """So many bytes. Raises EngineError if the worker ends before, or takes over ANSWER_SECONDS for a part."""
        parts = bytearray()
        while len(parts) < count:
            if not self._readable.poll(ANSWER_SECONDS * 1000):
                raise EngineError(f"the worker has not answered for {ANSWER_SECONDS:.0f} s.")
            part = os.read(self._answers, count - len(parts))
            if not part:
                raise EngineError("the worker ended before it had answered.")
            parts += part
        return bytes(parts)


def _pipe(path: Path, mode: int, held: ExitStack, is_alive: Callable[[], bool]) -> int:
    """The descriptor of a pipe, opened as soon as the worker has opened it to read, and closed with `held`."""
    end = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            descriptor = os.open(path, mode | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:  # ENXIO: nobody reads it yet
            if error.errno != errno.ENXIO or time.monotonic() > end or not is_alive():
                raise EngineError(f"{path.name}: {error.strerror}; the worker does not take questions.") from None
            time.sleep(0.005)
            continue
        held.callback(os.close, descriptor)
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise EngineError(f"the worker has put something else in the place of {path.name}.")
        return descriptor
