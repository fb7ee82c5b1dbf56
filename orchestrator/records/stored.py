"""What the store gives back: runs, their trials and selfchecks, as frozen records that know no database."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from orchestrator.records.event import Event
from orchestrator.records.job import CheckRequest
from orchestrator.records.run_folder import DataFacts, Record, RunFacts
from orchestrator.records.sample import Sample
from orchestrator.records.timeline import Timeline, read_timeline
from orchestrator.trial import Device, Environment, Exit, Model, Outcome, Trial


@dataclass(frozen=True)
class Question:
    """What a selfcheck is about, and what a trial needs to have checked. input_size: None stands for any."""

    environment_identity: str
    worker_sha256: str
    model: Model
    device: Device
    input_size: int | None = None

    @classmethod
    def of(cls, record: Record) -> "Question":
        """The question of a trial's or a check's record, at any size. Raises ValueError if the record is neither."""
        asked = record.trial or record.check
        if asked is None:
            raise ValueError("its record asks for neither a trial nor a check")
        return cls(record.environment.identity, record.worker_sha256, asked.model, asked.device)


def has_passed(outcome: Outcome, events: Sequence[Event]) -> bool:
    """A check passes if its worker ended ok and its last `check` event says so."""
    check = read_timeline(events).check
    return outcome.status == "ok" and check is not None and check.passed


@dataclass(frozen=True)
class StoredJob:
    """What is known of one worker process; the base of trials and checks. samples: what the machine did meanwhile."""

    record: Record
    outcome: Outcome
    exit: Exit | None
    events: tuple[Event, ...]
    samples: tuple[Sample, ...] = ()

    @cached_property
    def timeline(self) -> Timeline:
        """Clocks, scores and figures, read off the events."""
        return read_timeline(self.events)

    @property
    def environment(self) -> Environment:
        """Where it ran."""
        return self.record.environment


@dataclass(frozen=True)
class StoredTrial(StoredJob):
    """One timed trial."""

    @property
    def trial(self) -> Trial:
        """The question."""
        assert self.record.trial is not None
        return self.record.trial

    @property
    def data(self) -> DataFacts | None:
        """Which pictures it read."""
        return self.record.data


@dataclass(frozen=True)
class CheckRow(StoredJob):
    """One selfcheck."""

    @property
    def request(self) -> CheckRequest:
        """What was checked."""
        assert self.record.check is not None
        return self.record.check

    @property
    def passed(self) -> bool:
        """It ran to its end and every figure was within its bound."""
        return has_passed(self.outcome, self.events)

    def covers(self, trial: StoredTrial) -> bool:
        """It is about the environment, worker code, network and device of `trial`; sizes may differ (same code)."""
        return Question.of(self.record) == Question.of(trial.record)


@dataclass(frozen=True)
class StoredRun:
    """One sweep. checks: its own, and for what it did not check itself the newest on record (one that passed first)."""

    facts: RunFacts
    trials: tuple[StoredTrial, ...]
    checks: tuple[CheckRow, ...]

    @property
    def environments(self) -> tuple[Environment, ...]:
        """Each environment once, in order of first use."""
        jobs: tuple[StoredJob, ...] = (*self.trials, *self.checks)
        return tuple({job.environment.identity: job.environment for job in jobs}.values())
