"""The folders of a run. They are the record; store and report can be made again from them.

A job folder holds record.json (the trial or check and its environment), job.json (what the worker may see),
events.jsonl, telemetry.jsonl (samples of the machine during the job), exit.json and outcome.json.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field, model_validator

from orchestrator.environment import Environment, EnvironmentKey, Frozen
from orchestrator.records.event import Event, Tail
from orchestrator.records.host_facts import RecordedHost
from orchestrator.records.job import CLASSES, CheckRequest
from orchestrator.records.sample import Sample, read_samples
from orchestrator.trial import Cell, Exit, Model, Outcome, Study, SubjectPair, Trial
from workers import models

RUN = "run.json"
RECORD, JOB, EVENTS, EXIT, OUTCOME = "record.json", "job.json", "events.jsonl", "exit.json", "outcome.json"
TELEMETRY = "telemetry.jsonl"


class DataFacts(Frozen):
    """Which prepared pictures a trial read.

    sha256:      over the arrays and the split; part of the trial's id.
    recognised:  'official', 'sample', 'synthetic' or 'unknown', by checksum of the archives.
    split_note:  what a reader must know about the split ('frames of one sign are in both ...').
    classes:     how many the data set has.
    """

    sha256: str
    recognised: Literal["official", "sample", "synthetic", "unknown"]
    train_pictures: int
    valid_pictures: int
    test_pictures: int
    split_note: str
    classes: int = CLASSES


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
    found = _CELL_LABEL.fullmatch(label)
    if found is None:
        raise ValueError(f"'{label}' is the label of no cell")
    names = {models.label(name): name for name in models.names()}
    depth, workers = found["depth"], found["workers"]
    return Cell(
        model=Model(name=names.get(found["model"]) or found["model"], depth=int(depth) if depth else None),
        input_size=int(found["size"]),
        device=device,
        clahe=not found["plain"],
        loader_workers=int(workers) if workers else None,
    )


class RunFacts(Frozen):
    """run.json: the spec and options of a sweep or check, its machine, and the cells that it skips.

    compared: the two subjects of an `invoke compare`; twice the same for an A/A control. Called `arms` until 0.1.
    study:    the study of the spec, which gets its own section in the report.
    pairs:    (baseline, candidate), subjects whose speeds the report compares; all of them are one family.
    """

    run_id: str
    kind: Literal["sweep", "check"] = "sweep"
    started_unix: float
    waymark_version: str
    argv: tuple[str, ...]
    engine: str
    spec: dict[str, Any]
    host: RecordedHost
    skips: tuple[Skip, ...] = ()
    compared: Annotated[SubjectPair | None, Field(validation_alias=AliasChoices("compared", "arms"))] = None
    study: Study | None = None
    pairs: tuple[SubjectPair, ...] = ()


class JobFolder:
    """A job's folder. Its JSON files are written atomically; events.jsonl grows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, value: BaseModel) -> None:
        """Write one of the JSON files, atomically."""
        write_atomically(self.path / name, value.model_dump_json(indent=1) + "\n")

    def record(self) -> Record:
        """record.json. Raises ValidationError or OSError if it cannot be read."""
        return Record.model_validate_json((self.path / RECORD).read_text())

    def events(self) -> list[Event]:
        """Events so far; empty if the worker wrote none."""
        return list(Tail(self.path / EVENTS).read())

    def samples(self) -> tuple[Sample, ...]:
        """Samples of the machine during the job; () if none were taken."""
        path = self.path / TELEMETRY
        return read_samples(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else ()

    def exit(self) -> Exit | None:
        """How the worker ended; None if the orchestrator ended before it could write this."""
        path = self.path / EXIT
        return Exit.model_validate_json(path.read_text()) if path.exists() else None

    def outcome(self) -> Outcome | None:
        """The outcome; None if the orchestrator ended before it could write this."""
        path = self.path / OUTCOME
        return Outcome.model_validate_json(path.read_text()) if path.exists() else None


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` in one rename, so that a reader sees the old file or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
