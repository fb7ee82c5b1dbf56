"""What the store returns: runs, their trials and selfchecks, as frozen records without a database behind them."""

from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.environment import Device, Environment
from orchestrator.networks import Model
from orchestrator.records.job import CLASSES_BEFORE, AuditRequest, CheckRequest
from orchestrator.records.run_folder import DataFacts, Record, RunFacts
from orchestrator.records.sample import Sample
from orchestrator.records.timeline import Timeline
from orchestrator.trial import Exit, Outcome, Trial
from workers.optimisers import traits


class CheckSubject(NamedTuple):
    """What a selfcheck verifies, and what a trial needs verified, for all input sizes (the code is the same).

    processor: its model, because builds choose their code by it.
    """

    environment_identity: str
    worker_sha256: str
    processor: str
    threads: int
    device: Device
    model: Model
    classes: int
    rule: tuple[str, ...]

    @classmethod
    def of(cls, record: Record) -> "CheckSubject":
        """The subject of a trial's or a check's record. Raises ValueError if the record is neither."""
        where = (record.environment.identity, record.worker_sha256, record.processor)
        if record.check is not None:
            return cls.of_request(*where, record.check)
        if record.trial is None:
            raise ValueError("its record asks for neither a trial nor a check")
        trial, classes = record.trial, record.data.classes if record.data else CLASSES_BEFORE
        rule = (trial.training.optimiser, trial.training.initialiser, *traits(trial.training))
        return cls(*where, trial.threads, trial.device, trial.model, classes, rule)

    @classmethod
    def of_request(
        cls, environment_identity: str, worker_sha256: str, processor: str, request: CheckRequest
    ) -> "CheckSubject":
        """The subject of a check that is asked for."""
        where = (environment_identity, worker_sha256, processor)
        return cls(*where, request.threads, request.device, request.model, request.classes, request.rule)


def has_passed(outcome: Outcome, timeline: Timeline) -> bool:
    """A check passes if its worker ended ok and its last `check` event says so."""
    return outcome.status == "ok" and timeline.check is not None and timeline.check.passed


@dataclass(frozen=True, eq=False)
class StoredJob:
    """One worker process; the base of trials and checks.

    timeline: clocks, scores and figures. samples: of the machine during the job.
    """

    record: Record
    outcome: Outcome
    exit: Exit | None
    timeline: Timeline
    samples: tuple[Sample, ...] = ()

    @property
    def environment(self) -> Environment:
        """Where it ran."""
        return self.record.environment

    @property
    def passed(self) -> bool:
        """Of a check or an audit: it ran to its end and every figure was within its bound. Of a trial never."""
        return has_passed(self.outcome, self.timeline)


@dataclass(frozen=True, eq=False)
class StoredTrial(StoredJob):
    """One timed trial."""

    @property
    def trial(self) -> Trial:
        """What was asked."""
        assert self.record.trial is not None
        return self.record.trial

    @property
    def data(self) -> DataFacts | None:
        """Which pictures it read."""
        return self.record.data


@dataclass(frozen=True, eq=False)
class StoredCheck(StoredJob):
    """One selfcheck."""

    @property
    def request(self) -> CheckRequest:
        """What was checked."""
        assert self.record.check is not None
        return self.record.check

    def covers(self, trial: StoredTrial) -> bool:
        """Whether a trial of this subject rests on it: it took all steps, or the first one as `trial` takes it."""
        asked, request = trial.trial, self.request
        is_of_it = request.steps == "all" or request.is_at(asked.network_input, asked.training.batch_size)
        return is_of_it and CheckSubject.of(self.record) == CheckSubject.of(trial.record)


@dataclass(frozen=True, eq=False)
class StoredAudit(StoredJob):
    """The audited steps of one trial, repeated by the oracle."""

    @property
    def request(self) -> AuditRequest:
        """What was audited."""
        assert self.record.audit is not None
        return self.record.audit


@dataclass(frozen=True)
class StoredRun:
    """One sweep. checks: its own, and for what it did not check the newest of other runs (passed ones first)."""

    facts: RunFacts
    trials: tuple[StoredTrial, ...]
    checks: tuple[StoredCheck, ...]
    audits: tuple[StoredAudit, ...] = ()

    def audit_of(self, trial: StoredTrial) -> StoredAudit | None:
        """The audit of that trial, of this very attempt, that came to its end; None if there is none."""
        attempt = (trial.record.ordinal, trial.exit and trial.exit.events_sha256)
        ended = [job for job in self.audits if job.outcome.status == "ok" and job.timeline.check]
        return next((check for check in ended if (check.request.ordinal, check.request.events_sha256) == attempt), None)

    @property
    def environments(self) -> tuple[Environment, ...]:
        """Each environment once, in order of first use."""
        jobs: tuple[StoredJob, ...] = (*self.trials, *self.checks)
        return tuple({job.environment.identity: job.environment for job in jobs}.values())
