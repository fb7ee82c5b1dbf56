"""Run one job: write its folder, launch it, follow its events, decide its outcome, store it.

`decide` is pure: the same events and exit give the same outcome, live or from a record.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator import wire
from orchestrator.data import Split
from orchestrator.engines.engine import Engine, Launch
from orchestrator.host import Telemetry
from orchestrator.store import Store
from orchestrator.trial import Exit, Fault, Outcome
from orchestrator.wire import Event, Job, JobFolder, Record
from workers import models, protocol

REFERENCE = "reference.npz"

_NO_KERNEL = re.compile(
    r"^.*(no kernel image is available|CUDA_ERROR_NO_BINARY_FOR_GPU|invalid device function).*$",
    re.IGNORECASE | re.MULTILINE,
)
"""How CUDA says that a build holds no code for a card: since 11, of a kernel that it loads by itself, before."""

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Bench:
    """What all jobs of a sweep share.

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
class Pictures:
    """Prepared pictures and the split that a trial reads."""

    folder: Path
    split: Split


def collect(bench: Bench, record: Record, job: Job, pictures: Pictures | None, on_event: OnEvent) -> Outcome:
    """Run `job` to its end and store how it ended; the folder is the record, the row an index entry.

    Raises EngineError if nothing could be started. When Ctrl-C arrives the worker is stopped, the job is stored as
    cancelled, and KeyboardInterrupt goes on.
    """
    folder = _open_folder(bench, record)
    folder.write(wire.RECORD, record)
    folder.write(wire.JOB, job)
    if pictures is not None:
        np.save(folder.path / "train.npy", pictures.split.train)
        np.save(folder.path / "valid.npy", pictures.split.valid)
    reference = _reference(bench, job) if job.kind == "selfcheck" else None
    if reference is not None and reference.exists():
        shutil.copyfile(reference, folder.path / REFERENCE)
    tail = wire.Tail(folder.path / wire.EVENTS)
    launch = Launch(
        environment=record.environment,
        module="workers.run" if job.kind == "train" else "workers.selfcheck",
        source=bench.source,
        job_dir=folder.path,
        data_dir=pictures.folder if pictures else None,
        cpus=bench.cpus,
        memory_bytes=bench.memory_bytes,
        timeout_seconds=bench.timeout_seconds,
        labels={"run": record.run_id, "job": f"{record.ordinal:04d}"},
    )
    try:
        with _watching(bench, folder, record) as watch:

            def follow() -> None:
                for event in tail.read():
                    on_event(event)
                watch()

            exit_ = bench.engine.run(launch, follow)
    except KeyboardInterrupt:
        _finish(bench, folder, record, None, Outcome(status="cancelled", fault="none", reason="stopped by the user"))
        raise
    for event in tail.read():
        on_event(event)
    outcome = decide(job, folder.events(), exit_)
    if reference is not None:
        _keep_reference(folder.path / REFERENCE, reference, outcome)
    _finish(bench, folder, record, exit_, outcome)
    return outcome


@contextmanager
def _watching(bench: Bench, folder: JobFolder, record: Record) -> Iterator[Callable[[], None]]:
    """What to call again and again while the worker runs, so that a timed trial leaves its telemetry."""
    if record.trial is None or not bench.engine.is_here:
        yield lambda: None
        return
    with Telemetry(folder.path / wire.TELEMETRY, bench.cpus, record.environment.card) as telemetry:
        yield telemetry.tick


def refuse(bench: Bench, record: Record, outcome: Outcome) -> Outcome:
    """Store a job that was never started."""
    folder = _open_folder(bench, record)
    folder.write(wire.RECORD, record)
    _finish(bench, folder, record, None, outcome)
    return outcome


def decide(job: Job, events: Sequence[Event], exit_: Exit | None) -> Outcome:
    """What a job's events and exit amount to. An `ok` has every event that its job promises, in order."""
    kinds = [event.kind for event in events]
    fail = next((event.fields for event in events if event.kind == "fail"), None)
    if exit_ is None:
        return Outcome(status="lost", fault="unknown", reason="waymark ended before this job did")
    if exit_.is_cancelled:
        return Outcome(status="cancelled", fault="none", reason="stopped by the user")
    if exit_.is_out_of_memory:
        return Outcome(status="out_of_memory", fault="subject", reason="the kernel ended it at its memory limit")
    if exit_.is_timeout:
        return Outcome(status="timeout", fault="subject", reason=f"still running after {exit_.wall_seconds:.0f} s")
    if job.device == "gpu" and (exit_.code != 0 or fail is not None):
        lacking = _NO_KERNEL.search(f"{(fail or {}).get('reason', '')}\n{exit_.log_tail}")
        if lacking:
            reason = f"built without code for this card: {lacking[0].strip()}"
            return Outcome(status="unsupported", fault="subject", reason=reason)
    if fail is not None:
        return _failed(fail)
    if not kinds:
        last = exit_.log_tail.strip().splitlines()[-1:] or ["its log is empty"]
        return Outcome(status="no_protocol", fault="environment", reason=f"wrote no event; {_ending(exit_)}: {last[0]}")
    if "done" not in kinds or exit_.code != 0:
        after = "after its last event" if "done" in kinds else f"after '{kinds[-1]}'"
        return Outcome(status="crashed", fault=_crash_fault(exit_), reason=f"{_ending(exit_)} {after}")
    gap = _gap(job, events)
    if gap:
        return Outcome(status="no_protocol", fault="environment", reason=gap)
    return Outcome(status="ok", fault="none")


def _open_folder(bench: Bench, record: Record) -> JobFolder:
    """An empty folder for a job. What an earlier attempt left is moved aside: not lost, and not counted."""
    folder = JobFolder(bench.run_dir / f"{record.ordinal:04d}-{slug(record)}")
    if folder.path.exists():
        folder.path.rename(tempfile.mkdtemp(prefix=f".before-{folder.path.name}-", dir=bench.run_dir))
    folder.path.mkdir(parents=True)
    return folder


def slug(record: Record) -> str:
    """'pytorch-2.13-resnet-20-32-cpu-s0-r0': a folder name that says what is in it."""
    if record.trial is not None:
        trial = record.trial
        text = f"{trial.subject}-{trial.cell}-{trial.device}-s{trial.seed}-r{trial.repeat}".replace(" ", "-")
    elif record.check is not None:
        check = record.check
        text = f"check-{check.framework}-{check.variant}-{check.model.label}-{check.input_size}"
    else:
        text = "job"
    return text.lower().replace(":", "-").replace("@", "-")


def _reference(bench: Bench, job: Job) -> Path:
    """Where the oracle's traces of a network are kept, beside the worker code that made them."""
    name = "-".join([job.model, *(str(value) for value in job.model_params.values()), str(job.input_size)])
    return bench.source / "references" / f"{name}.npz"


def _keep_reference(found: Path, kept: Path, outcome: Outcome) -> None:
    """Save the next environment the oracle's minutes; a job folder does not keep the traces, they are large."""
    if outcome.status == "ok" and found.exists() and not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        draft = kept.with_suffix(".draft")
        shutil.copyfile(found, draft)
        draft.replace(kept)
    found.unlink(missing_ok=True)


def _finish(bench: Bench, folder: JobFolder, record: Record, exit_: Exit | None, outcome: Outcome) -> None:
    if exit_ is not None:
        folder.write(wire.EXIT, exit_)
    folder.write(wire.OUTCOME, outcome)
    bench.store.add(record, exit_, outcome, folder.events(), folder.samples())


def _failed(fail: dict[str, object]) -> Outcome:
    code, reason = fail.get("code"), str(fail.get("reason", ""))
    if code == protocol.UNSUPPORTED:
        return Outcome(status="unsupported", fault="subject", reason=reason)
    if code == protocol.NOT_FINITE:
        return Outcome(status="diverged", fault="subject", reason=reason)
    if code == protocol.NOT_AS_DECLARED:
        return Outcome(status="environment", fault="environment", reason=reason)
    if code in (protocol.BAD_JOB, protocol.NO_FRAMEWORK):
        return Outcome(status="crashed", fault="environment", reason=reason)
    return Outcome(status="crashed", fault="unknown", reason=reason)


def _gap(job: Job, events: Sequence[Event]) -> str:
    """What an apparently finished job left out, or ''."""
    if [event.seq for event in events] != list(range(len(events))):
        return "its events have gaps: lines of events.jsonl are missing or damaged"
    if job.kind == "probe":
        return ""
    if job.kind == "selfcheck":
        return "" if any(event.kind == "check" for event in events) else "it ended without the result of its check"
    built = next((event.fields for event in events if event.kind == "built"), {})
    net = models.build(job.model, job.classes, job.input_size, **job.model_params)
    if built.get("weights") != net.weight_count:
        return f"it built {built.get('weights')} weights; {job.model}@{job.input_size} has {net.weight_count}"
    epochs = [event.fields.get("epoch") for event in events if event.kind == "epoch"]
    if epochs != list(range(job.epochs)):
        return f"it reported {len(epochs)} epochs of {job.epochs}"
    if not any(event.kind == "score" and event.fields.get("split") == "test" for event in events):
        return "it ended without a test accuracy"
    fingerprints = sum(event.kind == "fingerprint" for event in events)
    if job.fingerprint == "epoch" and fingerprints != job.epochs + 1:
        return f"it left {fingerprints} fingerprints of {job.epochs + 1}"
    return ""


def _ending(exit_: Exit) -> str:
    return f"ended by signal {exit_.signal}" if exit_.signal else f"ended with exit code {exit_.code}"


def _crash_fault(exit_: Exit) -> Fault:
    """A segmentation fault or abort is the framework's own; a kill from outside may be anybody's."""
    return "subject" if exit_.signal in (4, 6, 7, 8, 11) or exit_.code in (132, 134, 135, 136, 139) else "unknown"
