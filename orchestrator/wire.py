"""What crosses to a worker and back: the job, its events, and the folder that is the record of both.

A job folder holds record.json (what was asked of whom; ours), job.json (what the worker may see), events.jsonl,
telemetry.jsonl (what the machine did meanwhile), exit.json and outcome.json; the store is an index over such folders
and can be made again from them.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.trial import CLASSES, Environment, Exit, Frozen, Model, Outcome, Study, Trial
from workers import protocol

RUN = "run.json"
RECORD, JOB, EVENTS, EXIT, OUTCOME = "record.json", "job.json", "events.jsonl", "exit.json", "outcome.json"
TELEMETRY = "telemetry.jsonl"


class Job(Frozen):
    """job.json: the part of a trial that a worker may see. See workers/protocol.py for the rest of its folder."""

    v: int = protocol.VERSION
    kind: Literal["train", "selfcheck", "probe"]
    framework: str
    device: Literal["cpu", "gpu"]
    model: str
    model_params: dict[str, int]
    input_size: int
    classes: int = CLASSES
    seed: int
    learning_rate: float
    momentum: float
    batch_size: int
    epochs: int
    sync: Literal["step", "block"] = "step"
    feed: Literal["host", "resident", "native"] = "host"
    loader_workers: int = 0
    warmup_steps: int = 20
    warmup_seconds: float = 3.0
    evaluate: Literal["epoch", "end"] = "epoch"
    fingerprint: Literal["none", "epoch"] = "none"
    threads: int
    options: dict[str, Any] = {}
    expects: dict[str, Any] = {}


def train_job(trial: Trial, environment: Environment) -> Job:
    """The job of a timed trial."""
    return Job(
        kind="train",
        framework=trial.framework,
        device=trial.device,
        model=trial.model.name,
        model_params=trial.model.params,
        input_size=trial.input_size,
        seed=trial.seed,
        learning_rate=trial.training.learning_rate,
        momentum=trial.training.momentum,
        batch_size=trial.training.batch_size,
        epochs=trial.training.epochs,
        sync=trial.measure.sync,
        feed=trial.measure.feed,
        loader_workers=trial.measure.loader_workers,
        warmup_steps=trial.measure.warmup_steps,
        warmup_seconds=trial.measure.warmup_seconds,
        evaluate=trial.measure.evaluate,
        fingerprint=trial.measure.fingerprint,
        threads=trial.threads,
        options=environment.options,
        expects=environment.expects,
    )


def probe_job(environment: Environment) -> Job:
    """The job that tries an environment: one training step of a small network on a few pictures."""
    return Job(
        kind="probe",
        framework=environment.framework,
        device=environment.device,
        model="resnet",
        model_params={"depth": 8},
        input_size=32,
        seed=0,
        learning_rate=0.01,
        momentum=0.9,
        batch_size=8,
        epochs=1,
        threads=1,
        options=environment.options,
    )


class CheckRequest(Frozen):
    """A selfcheck: does this environment compute `model` as numpy_ref does?"""

    framework: str
    variant: str
    model: Model
    input_size: int
    device: Literal["cpu", "gpu"]
    threads: int

    @property
    def label(self) -> str:
        """'pytorch:2.13 selfcheck ResNet-20@32'."""
        return f"{self.framework}:{self.variant} selfcheck {self.model.label}@{self.input_size}"


def check_job(request: CheckRequest, environment: Environment) -> Job:
    """The job of a selfcheck; the worker sets both regimes itself, so rate, momentum and epochs are not read."""
    return Job(
        kind="selfcheck",
        framework=request.framework,
        device=request.device,
        model=request.model.name,
        model_params=request.model.params,
        input_size=request.input_size,
        seed=0,
        learning_rate=0.001,
        momentum=0.9,
        batch_size=64,
        epochs=1,
        threads=request.threads,
        options=environment.options,
        expects=environment.expects,
    )


class Event(BaseModel):
    """One line of events.jsonl. Fields that a kind has beyond these are in `fields`, unknown ones among them."""

    model_config = ConfigDict(frozen=True, extra="allow")

    v: Annotated[int, Field(ge=1, le=protocol.VERSION)]
    seq: Annotated[int, Field(ge=0)]
    t: Annotated[float, Field(ge=0)]
    kind: str

    @property
    def fields(self) -> dict[str, Any]:
        """What this kind of event carries."""
        return dict(self.model_extra or {})


def parse(line: str) -> Event | None:
    """The event of one line, or None for a line that is not one (a torn last line, another version, stray text)."""
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        return None


class Tail:
    """Reads a growing events.jsonl: each call of `read` gives the events whose lines were completed since the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._torn = b""

    def read(self) -> Iterator[Event]:
        """Events not given before, in order; nothing while the file is not there."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                grown = file.read()
        except FileNotFoundError:
            return
        self._offset += len(grown)
        *lines, self._torn = (self._torn + grown).split(b"\n")
        for line in lines:
            event = parse(line.decode("utf-8", "replace"))
            if event is not None:
                yield event


class CardSample(Frozen):
    """What a card did at one moment; None where it does not tell.

    throttled: what held its clock down, in NVML's words. joules: taken since its driver was loaded.
    """

    busy_percent: int | None = None
    memory_bytes: int | None = None
    clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    watts: float | None = None
    celsius: int | None = None
    throttled: tuple[str, ...] = ()
    joules: float | None = None


class Sample(Frozen):
    """One line of telemetry.jsonl: what the machine did at one moment of a trial.

    unix:          seconds since 1970.
    cpu_percent:   of the time of the trial's processors since the sample before, spent on anything; None in the first.
    steal_percent: likewise, taken by other guests of the same machine.
    memory_bytes:  of the whole machine, not to be had without swapping.
    cpu_joules:    taken by all processor packages since the first sample; None where the kernel does not tell.
    card:          that of the trial, if it has one.
    """

    unix: float
    cpu_percent: float | None = None
    steal_percent: float | None = None
    memory_bytes: int
    cpu_joules: float | None = None
    card: CardSample | None = None


def read_samples(text: str) -> tuple[Sample, ...]:
    """The samples of a telemetry.jsonl; a line that is none (torn, of another version) is left out."""
    samples = []
    for line in text.splitlines():
        with suppress(ValidationError):
            samples.append(Sample.model_validate_json(line))
    return tuple(samples)


class DataFacts(Frozen):
    """Which prepared pictures a trial read.

    sha256:      over the arrays and the split; part of the trial's id.
    recognised:  'official', 'sample', 'synthetic' or 'unknown', by checksum of the archives.
    split_note:  what a reader must know of the split ('frames of one sign are in both ...').
    """

    sha256: str
    recognised: Literal["official", "sample", "synthetic", "unknown"]
    train_pictures: int
    valid_pictures: int
    test_pictures: int
    split_note: str


class Record(Frozen):
    """record.json: everything that was decided before the worker started."""

    run_id: str
    ordinal: int
    id: str
    worker_sha256: str
    environment: Environment
    trial: Trial | None = None
    data: DataFacts | None = None
    check: CheckRequest | None = None
    is_unverified: bool = False


class Skip(Frozen):
    """A cell that the spec asks for and this sweep does not run, with the reason."""

    label: str
    framework: str
    variant: str
    cell: str
    device: str
    reason: str


class RunFacts(Frozen):
    """run.json: one sweep or check as it was asked for, on which machine, and what it leaves out.

    arms:  the two subjects that a sweep was made to compare; twice the same for an A/A control.
    study: the question that the spec asks, which has a section of its own in the report.
    pairs: (baseline, candidate), subjects whose speeds the report compares; all of them are one family.
    """

    run_id: str
    kind: Literal["sweep", "check"] = "sweep"
    started_unix: float
    waymark_version: str
    argv: tuple[str, ...]
    engine: str
    spec: dict[str, Any]
    host: dict[str, Any]
    skips: tuple[Skip, ...] = ()
    arms: tuple[str, str] | None = None
    study: Study | None = None
    pairs: tuple[tuple[str, str], ...] = ()


class JobFolder:
    """A job's folder, read or written file by file; every file but events.jsonl appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, value: BaseModel) -> None:
        """Write one of the JSON files, atomically."""
        write_atomically(self.path / name, value.model_dump_json(indent=1) + "\n")

    def record(self) -> Record:
        """Raises ValidationError or OSError if record.json is not one of ours."""
        return Record.model_validate_json((self.path / RECORD).read_text())

    def events(self) -> list[Event]:
        """Events so far; empty if the worker never wrote."""
        return list(Tail(self.path / EVENTS).read())

    def samples(self) -> tuple[Sample, ...]:
        """What the machine did meanwhile; () if nobody watched."""
        path = self.path / TELEMETRY
        return read_samples(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else ()

    def exit(self) -> Exit | None:
        """How the worker ended; None if the orchestrator died before it could write that down."""
        path = self.path / EXIT
        return Exit.model_validate_json(path.read_text()) if path.exists() else None

    def outcome(self) -> Outcome | None:
        """What was decided; None if the orchestrator died first."""
        path = self.path / OUTCOME
        return Outcome.model_validate_json(path.read_text()) if path.exists() else None


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` in one rename, so that a reader sees the old file or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
