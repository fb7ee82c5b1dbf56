"""The folders of a run. They are the record; store and report can be made again from them.

A job folder holds record.json (the trial or check and its environment), job.json (what the worker may see),
events.jsonl, telemetry.jsonl (samples of the machine during the job), exit.json and outcome.json.
"""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field, ValidationError, model_validator

from orchestrator import files
from orchestrator.dataset import STUDY_FILTERS, Dataset
from orchestrator.environment import Device, Environment, EnvironmentKey, Frozen, Name, RunId, Tag, Token, UnixSeconds
from orchestrator.errors import StoreError
from orchestrator.networks import InputSize, Model, Network, families, label_at
from orchestrator.networks.features import input_of
from orchestrator.networks.recorded import RecordedSpec
from orchestrator.records.event import Event, Tail
from orchestrator.records.host_facts import RecordedHost
from orchestrator.records.job import CLASSES_BEFORE, AuditRequest, CheckRequest
from orchestrator.records.limit import Limit
from orchestrator.records.sample import Sample, read_samples
from orchestrator.trial import Cell, Exit, League, Outcome, Study, SubjectPair, Trial

RUN = "run.json"
RECORD, JOB, EVENTS, EXIT, OUTCOME = "record.json", "job.json", "events.jsonl", "exit.json", "outcome.json"
TELEMETRY = "telemetry.jsonl"
LOG = "log.txt"
KEPT = (RECORD, JOB, EVENTS, EXIT, OUTCOME, TELEMETRY, LOG)
AUDITS = "audits.npz"
WEIGHTS, START = "weights.npz", "start.npz"

BEFORE, REFUSED = ".before-", ".refused-"
"""Begin the names of earlier attempts of a job, and of folders that a worker closed or took away."""

SET_ASIDE = (f"{BEFORE}*", f"{REFUSED}*")

_JOB_NAME = re.compile(r"\d{4,6}-")


class DataFacts(Frozen):
    """Which prepared pictures a trial read.

    sha256:      over the arrays and the split; part of the trial's id.
    recognised:  'official', 'sample', 'synthetic' or 'unknown', by checksum of the archives; 'own': the user's.
    split_note:  what a reader must know about the split ('frames of one sign are in both ...').
    classes:     how many the data set has.
    largest_class_share: of the test pictures, what always naming the most frequent class gets; None in records of
                 before 0.4.
    filter_ms:   what each filter took for a picture as it was prepared, milliseconds of one processor.
    """

    sha256: str
    recognised: Literal["official", "sample", "synthetic", "unknown", "own"]
    train_pictures: Annotated[int, Field(ge=0, le=10**9)]
    valid_pictures: Annotated[int, Field(ge=0, le=10**9)]
    test_pictures: Annotated[int, Field(ge=0, le=10**9)]
    split_note: str
    classes: Annotated[int, Field(ge=1, le=10**6)] = CLASSES_BEFORE
    largest_class_share: Annotated[float, Field(ge=0, le=1)] | None = None
    filter_ms: dict[Name, Annotated[float, Field(ge=0, le=1e6)]] = {}


class Record(Frozen):
    """record.json: everything that was decided before the worker started.

    attempt: a trial that failed because of the machine is tried again; this counts.
    audit:   of a job that repeats the audited steps of a trial.
    processor: its model; '' in records of before 0.3.
    network_sha256: of the ops of a trial's network; '' in records of before 0.6, whose worker held the families.
    """

    run_id: RunId
    ordinal: Annotated[int, Field(ge=0, le=999_999)]
    id: Token
    worker_sha256: Token
    environment: Environment
    trial: Trial | None = None
    data: DataFacts | None = None
    check: CheckRequest | None = None
    audit: AuditRequest | None = None
    processor: Annotated[str, Field(max_length=300)] = ""
    network_sha256: Token = ""
    is_unverified: bool = False
    attempt: Annotated[int, Field(ge=1, le=99)] = 1

    @property
    def folder_name(self) -> str:
        """'0003-pytorch-2.13-resnet-20-32-cpu-s0-r0'."""
        if self.trial is not None:
            text = f"{self.trial.subject}-{self.trial.cell.title}-s{self.trial.seed}-r{self.trial.repeat}"
        elif self.check is not None:
            text = f"check-{self.check.key.subject}-{self.check.model.label}-{self.check.input_size}"
        elif self.audit is not None:
            text = f"audit-of-{self.audit.ordinal}-{self.audit.trial.subject}-{self.audit.trial.cell.title}"
        else:
            text = "job"
        return f"{self.ordinal:04d}-{text.lower().replace(' ', '-').replace(':', '-').replace('@', '-')}"


class Skip(Frozen):
    """A cell that the spec asks for and this sweep does not run, with the reason."""

    framework: str
    variant: str
    cell: Cell
    reason: str

    @model_validator(mode="before")
    @classmethod
    def _current(cls, fields: Any) -> Any:
        """Until 0.1 a cell was recorded as its label, beside the device."""
        if not isinstance(fields, dict) or not isinstance(fields.get("cell"), str):
            return fields
        cell = _cell_of(fields["cell"], fields.get("device"))
        return {**{key: value for key, value in fields.items() if key not in ("label", "device")}, "cell": cell}

    @property
    def key(self) -> EnvironmentKey:
        """Which environment it would have needed."""
        return EnvironmentKey(self.framework, self.variant, self.cell.device)

    @property
    def label(self) -> str:
        """'pytorch:2.13 ResNet-20@32 cpu'."""
        return f"{self.key.subject} {self.cell.title}"


_CELL_LABEL = re.compile(
    r"(?P<model>.+?)(-(?P<depth>\d+))?@(?P<size>\d+)(?P<plain> without CLAHE)?( (?P<workers>\d+) loader workers)?"
)


def _cell_of(label: str, device: Any) -> Cell:
    """'ResNet-20@32 without CLAHE' -> that cell. Raises ValueError for a label of no cell."""
    match = _CELL_LABEL.fullmatch(label)
    if match is None:
        raise ValueError(f"'{label}' is the label of no cell")
    names = {families.label(name): name for name in families.names()}
    depth, workers = match["depth"], match["workers"]
    return Cell(
        model=Model(name=names.get(match["model"]) or match["model"], depth=int(depth) if depth else None),
        input_size=InputSize.square(int(match["size"])),
        device=device,
        filters=() if match["plain"] else STUDY_FILTERS,
        loader_workers=int(workers) if workers else None,
    )


class Until(Frozen):
    """When an `invoke compare` has pairs enough: a verdict, the precision, the budget; or for `invoke gate` its margin.

    A scout has turns enough of a cell when its precision is reached.

    precision: half the width of the interval, as a share of 1. budget_seconds: of the timed part, None for no limit.
    margin: how much slower a candidate may be, as a share of 1; then only that is decided.
    """

    precision: Annotated[float, Field(gt=0, lt=1)] = 0.03
    budget_seconds: Annotated[float, Field(gt=0, le=1e7)] | None = None
    margin: Annotated[float, Field(ge=0, lt=1)] | None = None


class TrainedWeights(Frozen):
    """Weights that a trial left, for networks that are run and not trained.

    sha256: of the arrays (workers/session.py). run_id, folder: of the trial. accuracy: its own, on the test pictures.
    """

    model: Model
    input_size: InputSize
    dataset: Dataset
    sha256: Token
    run_id: RunId
    folder: Annotated[str, Field(pattern=r"^\d{4,6}-[a-z0-9._-]+$", max_length=300)]
    subject: Token
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None

    @property
    def network(self) -> str:
        """'ResNet-20@32'."""
        return label_at(self.model, self.input_size)

    def network_of(self, classes: int) -> Network:
        """The network itself. Raises ValueError, a sentence for the user, for one that cannot be."""
        return Network.of(self.model, input_of(self.dataset.filters, self.input_size), classes)


MOST_SHARDS = 1000


class Shard(Frozen):
    """One of several parts of a plan, each a run on a machine of its own.

    number: from 1 to `count`. spec_sha256: of what is asked; shards of one plan have the same.
    submission: by which `invoke submit` sent it; '' for one that was started by hand.
    machine: the feature or node of the spec that it was sent to; '' where the spec names none.
    """

    number: Annotated[int, Field(ge=1, le=MOST_SHARDS)]
    count: Annotated[int, Field(ge=1, le=MOST_SHARDS)]
    spec_sha256: Token
    submission: RunId | Literal[""] = ""
    machine: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,60}$")] = ""

    @property
    def label(self) -> str:
        """'shard 2 of 4', 'shard 2 of 4 on zen4'."""
        return f"shard {self.number} of {self.count}{f' on {self.machine}' if self.machine else ''}"


class RunFacts(Frozen):
    """run.json: the spec and options of a sweep or check, its machine, and the cells that it skips.

    compared: the two subjects of an `invoke compare`; twice the same for an A/A control. Called `arms` until 0.1.
    study:    the study of the spec, which gets its own section in the report.
    pairs:    (baseline, candidate), subjects whose speeds the report compares; all of them are one family.
    until:    when a comparison that adds pairs stops, or a scout; None for a number that was fixed beforehand.
    order_seed: the order of the trials is drawn with it; None in runs of before 0.3.
    is_scout: it timed a few steps of each cell, on drawn signs, for what the whole training would take.
    league:   whether its variants are as shipped or tuned.
    limit:    what the machine can do at best, if it was measured before.
    best:     what `best` stood for, by framework and device, if the spec asks for it.
    weights:  of an inference: those that its subjects run.
    class_names: of each of its data sets; {} in records of before 0.8.
    labels:   the usual name of each family of its networks; {} in records of before 0.4.
    planned:  how many trials it has at most; None in records of before 0.4, and of a check.
    is_stopped: the user stopped it before its end.
    shard:    which part of its plan it ran; None for all of it.
    control_of: the submission whose nodes it compares: each ran the same few trials; '' for any other run.
    """

    run_id: RunId
    kind: Literal["sweep", "check"] = "sweep"
    started_unix: UnixSeconds
    waymark_version: Token
    argv: tuple[str, ...]
    engine: Annotated[str, Field(max_length=4096)]
    spec: RecordedSpec
    host: RecordedHost
    skips: Annotated[tuple[Skip, ...], Field(max_length=20_000)] = ()
    compared: Annotated[SubjectPair | None, Field(validation_alias=AliasChoices("compared", "arms"))] = None
    study: Study | None = None
    pairs: tuple[SubjectPair, ...] = ()
    until: Until | None = None
    order_seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    league: League | None = None
    is_scout: bool = False
    limit: Limit | None = None
    best: dict[Name, dict[Device, Tag]] = {}
    weights: tuple[TrainedWeights, ...] = ()
    labels: dict[Name, Annotated[str, Field(max_length=100)]] = {}
    class_names: dict[Name, Annotated[tuple[Annotated[str, Field(max_length=300)], ...], Field(max_length=10**6)]] = {}
    planned: Annotated[int, Field(ge=0, le=10**7)] | None = None
    is_stopped: bool = False
    shard: Shard | None = None
    control_of: RunId | Literal[""] = ""

    @property
    def state(self) -> Literal["ended", "stopped", "going on, or killed"]:
        """How it ended, if it did: the load of its machine at its end is written then."""
        if self.is_stopped:
            return "stopped"
        return "ended" if self.host.load_after is not None else "going on, or killed"

    @property
    def league_words(self) -> str:
        """' (tuned)' to stand behind a title; '' where the spec says nothing."""
        return f" ({self.league})" if self.league else ""


class JobFolder:
    """A job's folder. Its JSON files are written atomically; events.jsonl grows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, value: BaseModel) -> None:
        """Write one of the JSON files, atomically."""
        files.write_atomically(self.path / name, value.model_dump_json(indent=1) + "\n")

    def record(self) -> Record:
        """record.json. Raises ValueError or OSError if it cannot be read."""
        return Record.model_validate_json(files.read_bytes(self.path / RECORD))

    def events(self) -> list[Event]:
        """Events so far; empty if the worker wrote none. Raises UnsafeFileError if they cannot be read safely."""
        return list(Tail(self.path / EVENTS).read())

    def samples(self) -> tuple[Sample, ...]:
        """Samples of the machine during the job; () if none were taken, or the worker put something else there."""
        try:
            content = self._read(TELEMETRY)
        except files.UnsafeFileError:
            return ()
        return () if content is None else read_samples(content.decode("utf-8", "replace"))

    def exit(self) -> Exit | None:
        """How the worker ended; None if the orchestrator ended before it could write this."""
        content = self._read(EXIT)
        return None if content is None else Exit.model_validate_json(content)

    def outcome(self) -> Outcome | None:
        """The outcome; None if the orchestrator ended before it could write this."""
        content = self._read(OUTCOME)
        return None if content is None else Outcome.model_validate_json(content)

    def events_sha256(self) -> str | None:
        """Hash of events.jsonl; None if there is none."""
        try:
            with files.opened(self.path / EVENTS) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None

    def _read(self, name: str) -> bytes | None:
        try:
            return files.read_bytes(self.path / name)
        except FileNotFoundError:
            return None


class RunFolder:
    """The folder of a run: run.json, and a folder for each job, which begins with the job's number."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def facts(self) -> RunFacts:
        """run.json. Raises StoreError, in a sentence, if it cannot be read or belongs to another run."""
        path = self.path / RUN
        try:
            facts = RunFacts.model_validate_json(files.read_bytes(path))
        except (OSError, ValueError) as error:
            raise StoreError(damage(path, error)) from None
        if facts.run_id != self.path.name:
            raise StoreError(
                f"{path} is that of run '{facts.run_id}': a copy or a renamed folder. Give the folder that name, or "
                "move it away."
            )
        return facts

    def numbers(self) -> list[int]:
        """The numbers of the folders of jobs that are there now, damaged ones too."""
        return [int(path.name.partition("-")[0]) for path in self.path.glob("*") if _JOB_NAME.match(path.name)]

    def jobs(self) -> tuple[dict[int, tuple[JobFolder, Record]], list[str]]:
        """The jobs by number, and a sentence for each folder that is left out because it is damaged or a copy."""
        named: dict[int, list[tuple[JobFolder, Record]]] = {}
        refused = []
        for path in sorted(path for path in self.path.iterdir() if _JOB_NAME.match(path.name)):
            folder = JobFolder(path)
            try:
                if path.is_symlink() or not path.is_dir():
                    raise ValueError("it is a link or no folder")
                record = folder.record()
                if record.run_id != self.path.name:
                    raise ValueError(f"its record says that it belongs to run '{record.run_id}'")
                if record.ordinal != int(path.name.partition("-")[0]):
                    raise ValueError(f"its record says that it is job {record.ordinal}")
            except (OSError, ValueError) as error:
                refused.append(damage(path, error))
            else:
                named.setdefault(record.ordinal, []).append((folder, record))
        jobs = {}
        for ordinal, claims in named.items():
            rightful = [claim for claim in claims if len(claims) == 1 or claim[0].path.name == claim[1].folder_name]
            if rightful:
                jobs[ordinal] = rightful[0]
            refused += [
                f"{folder.path} has the number of another job's folder: a copy, which is left out. Move it away."
                for folder, _ in claims
                if folder not in [claim[0] for claim in rightful]
            ]
        return jobs, refused


def damage(path: Path, error: Exception) -> str:
    """One sentence about a file or folder that was left out."""
    if isinstance(error, OSError):
        return f"{error.filename or path} cannot be read ({error.strerror})."
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "its text"
        return f"{path} does not read: {where}: {first['msg'].lower()}."
    return f"{path} does not read: {' '.join(str(error).split())[:200]}."
