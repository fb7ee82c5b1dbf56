"""Run one job: write its folder, launch it, follow its events, decide its outcome, store it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.data import Split
from orchestrator.engines.engine import Engine, Launch
from orchestrator.execution.outcome import decide
from orchestrator.host import Telemetry
from orchestrator.records import run_folder
from orchestrator.records.event import Event, Tail
from orchestrator.records.job import Job
from orchestrator.records.run_folder import DataFacts, JobFolder, Record
from orchestrator.records.store import Store
from orchestrator.trial import Exit, Outcome

REFERENCE = "reference.npz"

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class JobContext:
    """Shared by all jobs of a run.

    source:       folder that holds the worker snapshot.
    cpus, memory_bytes, timeout_seconds: limits of one job.
    """

    engine: Engine
    store: Store
    run_dir: Path
    source: Path
    cpus: tuple[int, ...]
    memory_bytes: int
    timeout_seconds: float


@dataclass(frozen=True)
class TrialData:
    """Prepared pictures, the split that a trial reads, and the facts about both for its record."""

    folder: Path
    split: Split
    facts: DataFacts


def run_job(context: JobContext, record: Record, job: Job, data: TrialData | None, on_event: OnEvent) -> Outcome:
    """Run `job` to its end and store its outcome; its folder is the record, the store's row an index entry.

    Raises EngineError if nothing could be started. On Ctrl-C the worker is stopped, the job is stored as cancelled,
    and KeyboardInterrupt is raised again.
    """
    folder = _open_folder(context, record)
    folder.write(run_folder.RECORD, record)
    folder.write(run_folder.JOB, job)
    if data is not None:
        np.save(folder.path / "train.npy", data.split.train)
        np.save(folder.path / "valid.npy", data.split.valid)
    reference = _reference(context, job) if record.check is not None else None
    if reference is not None and reference.exists():
        shutil.copyfile(reference, folder.path / REFERENCE)
    tail = Tail(folder.path / run_folder.EVENTS)
    launch = Launch(
        environment=record.environment,
        module="workers.run",
        source=context.source,
        job_dir=folder.path,
        data_dir=data.folder if data else None,
        cpus=context.cpus,
        memory_bytes=context.memory_bytes,
        timeout_seconds=context.timeout_seconds,
        labels={"run": record.run_id, "job": f"{record.ordinal:04d}"},
    )
    try:
        with _watching(context, folder, record) as watch:

            def follow() -> None:
                for event in tail.read():
                    on_event(event)
                watch()

            exit_ = context.engine.run(launch, follow)
    except KeyboardInterrupt:
        _finish(context, folder, record, None, Outcome(status="cancelled", fault="none", reason="stopped by the user"))
        raise
    for event in tail.read():
        on_event(event)
    outcome = decide(job, folder.events(), exit_)
    if reference is not None:
        _keep_reference(folder.path / REFERENCE, reference, outcome)
    _finish(context, folder, record, exit_, outcome)
    return outcome


@contextmanager
def _watching(context: JobContext, folder: JobFolder, record: Record) -> Iterator[Callable[[], None]]:
    """Gives a function to call repeatedly while the worker runs; for a timed trial it records telemetry."""
    if record.trial is None or not context.engine.is_local:
        yield lambda: None
        return
    with Telemetry(folder.path / run_folder.TELEMETRY, context.cpus, record.environment.card) as telemetry:
        yield telemetry.tick


def record_unstarted(context: JobContext, record: Record, outcome: Outcome) -> Outcome:
    """Store a job that was never started."""
    folder = _open_folder(context, record)
    folder.write(run_folder.RECORD, record)
    _finish(context, folder, record, None, outcome)
    return outcome


def _open_folder(context: JobContext, record: Record) -> JobFolder:
    """An empty folder for a job. The folder of an earlier attempt is renamed; it is kept, but not counted."""
    folder = JobFolder(context.run_dir / f"{record.ordinal:04d}-{slug(record)}")
    if folder.path.exists():
        folder.path.rename(tempfile.mkdtemp(prefix=f".before-{folder.path.name}-", dir=context.run_dir))
    folder.path.mkdir(parents=True)
    return folder


def slug(record: Record) -> str:
    """'pytorch-2.13-resnet-20-32-cpu-s0-r0', for the name of the job's folder."""
    if record.trial is not None:
        trial = record.trial
        text = f"{trial.subject}-{trial.cell.title}-s{trial.seed}-r{trial.repeat}".replace(" ", "-")
    elif record.check is not None:
        check = record.check
        text = f"check-{check.framework}-{check.variant}-{check.model.label}-{check.input_size}"
    else:
        text = "job"
    return text.lower().replace(":", "-").replace("@", "-")


def _reference(context: JobContext, job: Job) -> Path:
    """Where the oracle's traces of a network, optimiser and initialiser are kept, beside the worker code."""
    rule = "-".join(job.payload[name] for name in ("optimiser", "initialiser"))
    return context.source / "references" / f"{job.network.slug}-{rule}.npz"


def _keep_reference(found: Path, kept: Path, outcome: Outcome) -> None:
    """Keep the oracle's traces for the next environment, to save minutes; the job folder loses them, they are large."""
    if outcome.status == "ok" and found.exists() and not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        draft = kept.with_suffix(".draft")
        shutil.copyfile(found, draft)
        draft.replace(kept)
    found.unlink(missing_ok=True)


def _finish(context: JobContext, folder: JobFolder, record: Record, exit_: Exit | None, outcome: Outcome) -> None:
    if exit_ is not None:
        folder.write(run_folder.EXIT, exit_)
    folder.write(run_folder.OUTCOME, outcome)
    context.store.add(record, exit_, outcome, folder.events(), folder.samples())
