"""Run one job: write its folder, launch it, follow its events, decide its outcome, store it."""

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator import files
from orchestrator.data import Split
from orchestrator.engines.engine import Engine, Launch
from orchestrator.engines.source import WorkerSource
from orchestrator.environment import FLOAT32
from orchestrator.execution.outcome import decide, judge_load
from orchestrator.host import Telemetry
from orchestrator.records import run_folder
from orchestrator.records.event import Event, Tail
from orchestrator.records.job import Job
from orchestrator.records.run_folder import DataFacts, JobFolder, Record
from orchestrator.records.store import Store
from orchestrator.records.stored import has_passed
from orchestrator.records.timeline import read_timeline
from orchestrator.trial import Exit, Outcome

REFERENCE = "reference.npz"

_REFERENCE_LIMIT_BYTES = 2**30
_WEIGHTS_LIMIT_BYTES = 2**33
_AUDITS_LIMIT_BYTES = 2**33

_MOST_BYTES, _ALWAYS_BYTES = 2**34, 2**28
"""Of a job's folder on disk, and no more than half of what was free as it began; but so much on any disk."""

_MOST_ENTRIES = 100_000
_LOOK_SECONDS = 1.0

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class JobContext:
    """Shared by all jobs of a run.

    source:       the worker snapshot.
    references:   folder of the oracle's traces, which selfchecks of that snapshot share.
    processor:    its model.
    cpus, memory_bytes, timeout_seconds, silent_seconds, foreign_percent: limits of one job.
    hold_on:      called before each job; raises LockedError if the machine is another run's now.
    """

    engine: Engine
    store: Store
    run_dir: Path
    source: WorkerSource
    references: Path
    cpus: tuple[int, ...]
    memory_bytes: int
    timeout_seconds: float
    processor: str = ""
    silent_seconds: float = 1800.0
    foreign_percent: float = 100.0
    hold_on: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class TrialData:
    """Prepared pictures, the split that a trial reads, and the facts about both for its record.

    audits: the copies that a trial left of its audited steps, for the job that repeats them.
    start:  trained weights, for a job that runs them. classes: the names of the classes.
    """

    folder: Path
    split: Split
    facts: DataFacts
    audits: Path | None = None
    start: Path | None = None
    classes: tuple[str, ...] = ()


def run_job(context: JobContext, record: Record, job: Job, data: TrialData | None, on_event: OnEvent) -> Outcome:
    """Run `job` to its end and store its outcome; its folder is the record, the store's row an index entry.

    Raises EngineError if nothing could be started, or the worker snapshot is not what it was. On Ctrl-C the worker is
    stopped, the job is stored as cancelled, and KeyboardInterrupt is raised again.
    """
    context.hold_on()
    context.source.verify()
    folder = _filled_folder(context, record, job, data)
    reference = _reference(context, job, record)
    if reference is not None and reference.exists():
        files.copy(reference, folder.path / REFERENCE, _REFERENCE_LIMIT_BYTES)
    try:
        exit_, events = _follow_to_end(context, folder, record, job, data, on_event)
    except KeyboardInterrupt:
        _finish(context, folder, record, None, Outcome(status="cancelled", fault="none", reason="stopped by the user"))
        raise
    except _EndedByUsError as ended:
        _finish(context, folder, record, None, ended.outcome)
        return ended.outcome
    exit_ = exit_.model_copy(update={"events_sha256": folder.events_sha256()})
    outcome = decide(job, events, exit_)
    if record.audit is not None:
        files.remove(folder.path / run_folder.AUDITS)  # the trial's own copy is kept until it is known
    if outcome.status == "ok":
        outcome = judge_load(events, folder.samples(), context.foreign_percent)
    if reference is not None:
        if has_passed(outcome, read_timeline(events)) or (record.trial and outcome.status == "ok"):
            _keep_reference(folder.path / REFERENCE, reference)
        files.remove(folder.path / REFERENCE)  # it is large
    _finish(context, folder, record, exit_, outcome)
    return outcome


def _filled_folder(context: JobContext, record: Record, job: Job, data: TrialData | None) -> JobFolder:
    """The job's folder with all that its worker reads."""
    folder = _open_folder(context, record)
    folder.write(run_folder.RECORD, record)
    folder.write(run_folder.JOB, job)
    if data is not None:
        np.save(folder.path / "train.npy", data.split.train)
        np.save(folder.path / "valid.npy", data.split.valid)
        if data.audits is not None:
            files.copy(data.audits, folder.path / run_folder.AUDITS, _AUDITS_LIMIT_BYTES)
        if data.start is not None:
            files.copy(data.start, folder.path / run_folder.START, _WEIGHTS_LIMIT_BYTES)
    return folder


def _follow_to_end(
    context: JobContext, folder: JobFolder, record: Record, job: Job, data: TrialData | None, on_event: OnEvent
) -> tuple[Exit, list[Event]]:
    """Launch the worker and follow its events; its exit and all events. Raises _EndedByUsError."""
    tail, disk = Tail(folder.path / run_folder.EVENTS), _DiskWatch(folder.path)
    telemetry, heartbeat = _telemetry(context, folder, record), _Heartbeat(context.silent_seconds)

    def read_events() -> None:
        for event in tail.read():
            heartbeat.hear(event)
            on_event(event)

    def tick() -> None:
        read_events()
        heartbeat.check()
        disk.check()
        if telemetry:
            telemetry.tick()

    launch = Launch(
        environment=record.environment,
        module="workers.run",
        source=context.source.path,
        job_dir=folder.path,
        data_dir=data.folder if data else None,
        cpus=context.cpus,
        memory_bytes=context.memory_bytes,
        timeout_seconds=context.timeout_seconds,
        labels={"run": record.run_id, "job": f"{record.ordinal:04d}"},
        on_start=telemetry.follow if telemetry else None,
    )
    try:
        with telemetry or nullcontext():
            exit_ = context.engine.run(launch, tick)
        disk.look()
        read_events()
        events = folder.events()
    except files.UnsafeFileError as error:
        # Under another name nothing reads it again.
        (folder.path / run_folder.EVENTS).rename(folder.path / f"{run_folder.EVENTS}.refused")
        reason = f"{run_folder.EVENTS}: {error.strerror}"
        raise _EndedByUsError(Outcome(status="no_protocol", fault="subject", reason=reason)) from None
    except OSError as error:
        if error.filename is None or not Path(error.filename).is_relative_to(folder.path):
            raise
        raise _EndedByUsError(Outcome(status="no_protocol", fault="subject", reason=_TAKEN_AWAY)) from None
    finally:  # the folder was the worker's, which may have changed what was asked of it
        is_ours = _take_back(folder, is_too_large=disk.is_over)
        folder.write(run_folder.RECORD, record)
        folder.write(run_folder.JOB, job)
    if not is_ours or (heartbeat.has_heard and not (folder.path / run_folder.EVENTS).exists()):
        raise _EndedByUsError(Outcome(status="no_protocol", fault="subject", reason=_TAKEN_AWAY))
    return exit_, events


_TAKEN_AWAY = "closed its folder, or removed what is in it"


def _take_back(folder: JobFolder, *, is_too_large: bool) -> bool:
    """Make the folder ours again; False if the worker took it away or closed it, so that a new one is in its place.

    is_too_large: only what belongs to the record is kept.
    """
    try:
        files.take_back(folder.path)
        for path in folder.path.iterdir() if is_too_large else ():
            if path.name not in run_folder.KEPT:
                files.remove(path)
    except OSError:
        aside = tempfile.mkdtemp(prefix=f"{run_folder.REFUSED}{folder.path.name}-", dir=folder.path.parent)
        with suppress(FileNotFoundError):
            folder.path.rename(aside)
        folder.path.mkdir(exist_ok=True)
        return False
    return True


class _EndedByUsError(Exception):
    """The worker was ended before its end, with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class _DiskWatch:
    """Once a job's folder holds more than it may, `check` raises _EndedByUsError: the disk is everybody's."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._next, self.is_over = folder, 0.0, False
        self._most_bytes = min(_MOST_BYTES, max(_ALWAYS_BYTES, shutil.disk_usage(folder).free // 2))

    def check(self) -> None:
        """Call repeatedly; it looks once a second."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LOOK_SECONDS
            self.look()

    def look(self) -> None:
        """Look now."""
        size = files.size_bytes(self._folder, _MOST_ENTRIES)
        if size is not None and size <= self._most_bytes:
            return
        what = f"{size / 2**30:.3g} GiB" if size else f"{_MOST_ENTRIES:,} files or more, or folders too deep to count,"
        self.is_over = True
        raise _EndedByUsError(Outcome(status="crashed", fault="subject", reason=f"put {what} into its folder"))


class _Heartbeat:
    """Once no event came for `limit_seconds`, `check` raises _EndedByUsError: the phase after the last event hangs."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._since = time.monotonic()
        self._last = "its start"
        self.has_heard = False

    def hear(self, event: Event) -> None:
        """An event came."""
        self._since, self._last = time.monotonic(), f"'{event.kind}'"
        self.has_heard = True

    def check(self) -> None:
        """Call repeatedly."""
        if time.monotonic() - self._since > self._limit_seconds:
            reason = f"reported nothing for {self._limit_seconds:g} s after {self._last}"
            raise _EndedByUsError(Outcome(status="timeout", fault="subject", reason=reason))


def _telemetry(context: JobContext, folder: JobFolder, record: Record) -> Telemetry | None:
    """For a timed trial on this machine, samples of it; it is opened before the worker can write its folder."""
    if record.trial is None or not context.engine.is_local:
        return None
    return Telemetry(folder.path / run_folder.TELEMETRY, context.cpus, record.environment.card)


def record_unstarted(context: JobContext, record: Record, outcome: Outcome) -> Outcome:
    """Store a job that was never started."""
    folder = _open_folder(context, record)
    folder.write(run_folder.RECORD, record)
    _finish(context, folder, record, None, outcome)
    return outcome


def _open_folder(context: JobContext, record: Record) -> JobFolder:
    """An empty folder for a job. Folders of earlier attempts are renamed; they are kept, but not counted."""
    folder = JobFolder(context.run_dir / record.folder_name)
    for earlier in context.run_dir.glob(f"{record.ordinal:04d}-*"):
        earlier.rename(tempfile.mkdtemp(prefix=f"{run_folder.BEFORE}{earlier.name}-", dir=context.run_dir))
    folder.path.mkdir(parents=True)
    return folder


def _reference(context: JobContext, job: Job, record: Record) -> Path | None:
    """Where the oracle's traces of a selfcheck, or its logits of an inference, are kept; None for another job."""
    if record.check is not None:
        parts = [job.payload[name] for name in ("optimiser", "initialiser", "batch_size", "steps")]
        parts += [] if job.precision == FLOAT32 else [job.precision]
        rule = "-".join(str(part).replace(" ", "_") for part in [*parts, *job.payload["traits"]])
        return context.references / f"{job.network.sha256[:32]}-{rule}.npz"
    if record.trial is not None and record.trial.inference is not None and record.data is not None:
        weights = record.trial.inference.weights_sha256
        return context.references / f"{job.network.sha256[:32]}-{weights[:32]}-{record.data.sha256[:32]}.npz"
    return None


def _keep_reference(made: Path, kept: Path) -> None:
    """Keep the oracle's traces for the next environment, to save minutes; a link or what is too large is not kept."""
    if kept.exists():
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    with suppress(files.UnsafeFileError, FileNotFoundError):
        files.copy(made, kept, _REFERENCE_LIMIT_BYTES)


def store_outcome(context: JobContext, folder: JobFolder, record: Record, outcome: Outcome) -> None:
    """Change the outcome of a job that has ended, in its folder and in the store."""
    folder.write(run_folder.OUTCOME, outcome)
    context.store.add(record, folder.exit(), outcome, folder.events(), folder.samples())


def _finish(context: JobContext, folder: JobFolder, record: Record, exit_: Exit | None, outcome: Outcome) -> None:
    if exit_ is not None:
        folder.write(run_folder.EXIT, exit_)
    folder.write(run_folder.OUTCOME, outcome)
    context.store.add(record, exit_, outcome, folder.events(), folder.samples())
