"""An index over run folders: a SQLite file by default, PostgreSQL by URL. The only user of SQLAlchemy and Alembic.

The folders are the record: the store can be deleted at any time and made again with `invoke ingest`. Events that are
only for the screen (progress) are not kept here.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa

from orchestrator.environment import Environment
from orchestrator.errors import StoreError, did_you_mean, first_line, shortened
from orchestrator.records.database import Database
from orchestrator.records.event import Event
from orchestrator.records.job import CheckRequest, needs_selfcheck
from orchestrator.records.packed import pack, unpack
from orchestrator.records.payloads import TIMELINE_KINDS
from orchestrator.records.run_folder import EXIT, OUTCOME, RECORD, RUN, JobFolder, Record, RunFacts, RunFolder, damage
from orchestrator.records.sample import Sample, read_samples
from orchestrator.records.stored import CheckSubject, StoredAudit, StoredCheck, StoredRun, StoredTrial, has_passed
from orchestrator.records.timeline import Timeline, flaw, read_lines, read_timeline
from orchestrator.trial import Exit, Outcome

__all__ = ["Ingested", "Store", "StoredCheck", "StoredRun", "StoredTrial"]

_Part = TypeVar("_Part", bound=Hashable)
_Read = TypeVar("_Read")

LOST = Outcome(status="lost", fault="unknown", reason="waymark ended before this job did")

# The columns of the newest revision of records/migrations; tests/contract/test_store.py compares the two.
RUN_COLUMNS = ("run_id", "started_unix", "run_json")
JOB_COLUMNS = (
    *("run_id", "ordinal", "kind", "id", "key", "framework", "variant", "model", "depth", "input_size", "device"),
    *("seed", "repeat", "environment_identity", "worker_sha256", "status", "fault", "passed"),
    *("record_json", "exit_json", "outcome_json", "telemetry_jsonl", "timeline"),
)
EVENT_COLUMNS = ("run_id", "ordinal", "position", "kind", "event_json")
_runs = sa.table("runs", *map(sa.column, RUN_COLUMNS))
_jobs = sa.table("jobs", *map(sa.column, JOB_COLUMNS))
_jobs.c.passed.type = sa.Boolean()
_events = sa.table("events", *map(sa.column, EVENT_COLUMNS))


@dataclass(frozen=True)
class Ingested:
    """How much was read from run folders, and one sentence for each file or folder that could not be read."""

    runs: int
    jobs: int
    damaged: tuple[str, ...]


class Store:
    """Made by `Store.open`; every method is one transaction. Raises StoreError if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str, busy_seconds: float = 10.0) -> "Store":
        """The store at `url`, brought to the newest schema; its folder is made if it is missing.

        busy_seconds: how long to wait for another program that is writing to a SQLite file.
        Raises StoreError if it is newer than this program, is not a store of waymark, is locked or cannot be opened.
        """
        database = Database(url, busy_seconds)
        try:
            database.migrate()
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_run(self, run: RunFacts, is_current: Callable[[], bool] = lambda: True) -> bool:
        """Add or replace the facts of a run; its jobs stay.

        is_current: asked while no other program writes; where it says no nothing is done, and False given.
        """
        row = {"run_id": run.run_id, "started_unix": run.started_unix, "run_json": run.model_dump_json()}

        def replace(connection: sa.Connection) -> None:
            known = connection.execute(sa.update(_runs).where(_runs.c.run_id == run.run_id).values(row))
            if not known.rowcount:
                connection.execute(sa.insert(_runs).values(row))

        return self._write_if(is_current, replace)

    def _write_if(self, is_current: Callable[[], bool], work: Callable[[sa.Connection], object]) -> bool:
        done: list[bool] = []

        def guarded(connection: sa.Connection) -> None:
            done[:] = [is_current()]
            if done[0]:
                work(connection)

        self._database.write(guarded)
        return done[0]

    def add(
        self,
        record: Record,
        exit: Exit | None,  # noqa: A002
        outcome: Outcome,
        events: Sequence[Event],
        samples: Sequence[Sample] = (),
        is_current: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Add or replace one trial, check or audit; its run must have been added. is_current: see add_run.

        Raises ValueError if the record asks for none.
        """
        job_key = {"run_id": record.run_id, "ordinal": record.ordinal}
        timeline = read_timeline(events)
        job = {
            **job_key,
            **_asked(record),
            "id": record.id,
            "environment_identity": record.environment.identity,
            "worker_sha256": record.worker_sha256,
            "status": outcome.status,
            "fault": outcome.fault,
            "passed": has_passed(outcome, timeline) if record.trial is None else None,
            "record_json": record.model_dump_json(),
            "exit_json": exit and exit.model_dump_json(),
            "outcome_json": outcome.model_dump_json(),
            "telemetry_jsonl": "\n".join(sample.model_dump_json(exclude_none=True) for sample in samples) or None,
            "timeline": pack(timeline),
        }
        kept = [event for event in events if event.kind != "progress"]
        said = [
            {**job_key, "position": position, "kind": event.kind, "event_json": event.model_dump_json()}
            for position, event in enumerate(kept)
        ]

        def replace(connection: sa.Connection) -> None:
            here = (_jobs.c.run_id == record.run_id) & (_jobs.c.ordinal == record.ordinal)
            connection.execute(sa.delete(_jobs).where(here))
            connection.execute(sa.insert(_jobs).values(job))
            if said:
                connection.execute(sa.insert(_events), said)

        return self._write_if(is_current, replace)

    def ingest(self, folder: Path) -> Ingested:
        """Make this run's part of the store again from its folder; what is damaged is reported and left out.

        A sweep may write there meanwhile: what is newer than what was read stays as the sweep wrote it.
        """
        run_folder = RunFolder(folder)
        try:
            run = _until_current(folder, run_folder.facts, self.add_run)
        except StoreError as error:
            return Ingested(0, 0, (str(error),))
        seen = set(run_folder.numbers())
        jobs, damaged = run_folder.jobs()
        kept = []
        for ordinal, (job, record) in jobs.items():
            try:
                self._ingest_job(job, record)
            except (OSError, ValueError) as error:
                damaged.append(damage(job.path, error))
            else:
                kept.append(ordinal)

        def remove_absent(connection: sa.Connection) -> None:
            newer = set(run_folder.numbers()) - seen
            of_run = _jobs.c.run_id == run.run_id
            connection.execute(sa.delete(_jobs).where(of_run & _jobs.c.ordinal.not_in([*kept, *newer])))

        self._database.write(remove_absent)
        return Ingested(1, len(kept), tuple(damaged))

    def rebuild(self, runs: Path, say: Callable[[str], None]) -> Ingested:
        """Ingest every folder below `runs`, oldest name first; runs without a folder here stay as they are."""
        total = Ingested(0, 0, ())
        # An empty folder is that of a run that was killed before it wrote anything; a hidden one is being removed.
        paths = (path for path in runs.glob("*") if path.is_dir() and not path.name.startswith("."))
        for folder in sorted(path for path in paths if any(path.iterdir())):
            part = self.ingest(folder)
            say(f"{folder.name}: {part.jobs} jobs, {len(part.damaged)} damaged")
            total = Ingested(total.runs + part.runs, total.jobs + part.jobs, total.damaged + part.damaged)
        return total

    def _ingest_job(self, job: JobFolder, listed: Record) -> None:
        """Raises ValueError or OSError if the folder is damaged, or gone. listed: its record, which fits its name."""
        _until_current(
            job.path, lambda: _read_job(job, listed), lambda read, is_current: self._add_read(*read, is_current)
        )

    def _add_read(
        self,
        record: Record,
        exit_: Exit | None,
        outcome: Outcome,
        events: Sequence[Event],
        samples: Sequence[Sample],
        is_current: Callable[[], bool],
    ) -> bool:
        try:
            return self.add(record, exit_, outcome, events, samples, is_current)
        except (sa.exc.DataError, OverflowError) as error:
            raise ValueError(f"the database does not take it ({error})") from None

    def ok_records(self, run_id: str) -> list[Record]:
        """Records of the trials of this run that ended ok, which a resumed sweep need not repeat."""
        ok = (_jobs.c.run_id == run_id) & (_jobs.c.kind == "trial") & (_jobs.c.status == "ok")
        asked = sa.select(_jobs.c.record_json).where(ok)
        texts = self._database.read(lambda connection: connection.execute(asked).scalars().all())
        return [Record.model_validate_json(text) for text in texts]

    def passing_check(self, subject: CheckSubject, request: CheckRequest) -> StoredCheck | None:
        """The newest check of this in any run, if it passed; an older pass does not count after a failure."""
        newest = self.latest_check(subject, request)
        return newest if newest is not None and newest.passed else None

    def latest_check(self, subject: CheckSubject, request: CheckRequest) -> StoredCheck | None:
        """The newest check of this in any run that includes the steps asked for, passed or not."""
        return self._newest_check(subject, lambda done: done.includes(request), must_have_passed=False)

    def ended_checks(self, limit: int = 500) -> list[StoredCheck]:
        """The newest selfchecks that ended ok, of all runs, the newest first."""
        ended = (
            sa.select(_jobs.c.run_id, _jobs.c.ordinal)
            .join(_runs, _runs.c.run_id == _jobs.c.run_id)
            .where((_jobs.c.kind == "check") & (_jobs.c.status == "ok"))
            .order_by(_runs.c.started_unix.desc(), _jobs.c.ordinal.desc())
            .limit(limit)
        )

        def read(connection: sa.Connection) -> list[StoredCheck]:
            checks: list[StoredCheck] = []
            for run_id, ordinal in connection.execute(ended).all():
                with suppress(ValueError):  # of another version of waymark that shares the store
                    rows = _job_rows(connection, (_jobs.c.run_id == run_id) & (_jobs.c.ordinal == ordinal))
                    checks += [row for row in rows if isinstance(row, StoredCheck)]
            return checks

        return self._database.read(read)

    def runs(self) -> list[RunFacts]:
        """All runs, newest first."""
        newest_first = sa.select(_runs.c.run_json).order_by(_runs.c.started_unix.desc(), _runs.c.run_id.desc())
        runs = []
        for text in self._database.read(lambda connection: connection.execute(newest_first).scalars().all()):
            with suppress(ValueError):  # of another version of waymark that shares the store
                runs.append(RunFacts.model_validate_json(text))
        return runs

    def trial_counts(self) -> dict[str, tuple[int, int]]:
        """How many trials each run has, and how many of them ended ok."""
        is_ok = sa.case((_jobs.c.status == "ok", 1), else_=0)
        asked = sa.select(_jobs.c.run_id, sa.func.count(), sa.func.sum(is_ok)).where(_jobs.c.kind == "trial")
        rows = self._database.read(lambda connection: connection.execute(asked.group_by(_jobs.c.run_id)).all())
        return {run_id: (int(trials), int(ok)) for run_id, trials, ok in rows}

    def remove(self, run_id: str) -> None:
        """Remove a run with its jobs; nothing happens if it is not there."""

        def remove(connection: sa.Connection) -> None:
            connection.execute(sa.delete(_jobs).where(_jobs.c.run_id == run_id))
            connection.execute(sa.delete(_runs).where(_runs.c.run_id == run_id))

        self._database.write(remove)

    def latest_sweep(self) -> RunFacts | None:
        """The sweep that started last; None if there is none."""
        return next((run for run in self.runs() if run.kind == "sweep"), None)

    def comparisons_before(self, run: RunFacts) -> Iterator[StoredRun]:
        """Those that began on the machine of `run` before it did, the newest first; damaged ones are left out.

        So a report that is made again later rests on the same ones.
        """
        for earlier in self.runs():
            is_before = earlier.started_unix < run.started_unix and earlier.host.is_same_machine(run.host)
            if earlier.compared and is_before:
                with suppress(StoreError):
                    yield self.run(earlier.run_id)

    def run(self, run_id: str) -> StoredRun:
        """One run with its trials and checks.

        Raises StoreError, with the nearest name, if there is no such run, or if this program cannot read it.
        """
        try:
            return self._run(run_id)
        except ValueError as error:
            raise StoreError(
                f"{self._database.name}: run '{shortened(run_id)}' does not read ({first_line(error)}). Make the store "
                "again with: invoke ingest"
            ) from None

    def _run(self, run_id: str) -> StoredRun:
        asked = sa.select(_runs.c.run_json).where(_runs.c.run_id == run_id)
        text, rows = self._database.read(
            lambda connection: (connection.execute(asked).scalar(), _job_rows(connection, _jobs.c.run_id == run_id))
        )
        if text is None:
            names = [run.run_id for run in self.runs()]
            known = (
                f"The newest are: {', '.join(names[:3])}."
                if names
                else "It holds no run yet: `invoke sweep` makes one."
            )
            nearest = did_you_mean(run_id, names)
            raise StoreError(f"{self._database.name} has no run '{shortened(run_id)}'. {known}{nearest}")
        trials = tuple(row for row in rows if isinstance(row, StoredTrial))
        audits = tuple(row for row in rows if isinstance(row, StoredAudit))
        checks = [row for row in rows if isinstance(row, StoredCheck)]
        for subject, suits in _needed_checks(trials):
            if not any(CheckSubject.of(check.record) == subject and suits(check.request) for check in checks):
                older = self._newest_check(subject, suits, must_have_passed=True)
                older = older or self._newest_check(subject, suits, must_have_passed=False)
                checks += [older] if older else []
        return StoredRun(RunFacts.model_validate_json(text), trials, tuple(checks), audits)

    def _newest_check(
        self, subject: CheckSubject, suits: Callable[[CheckRequest], bool], must_have_passed: bool
    ) -> StoredCheck | None:
        matching = sa.and_(
            _jobs.c.kind == "check",
            _jobs.c.environment_identity == subject.environment_identity,
            _jobs.c.worker_sha256 == subject.worker_sha256,
            _jobs.c.model == subject.model.name,
            _jobs.c.device == subject.device,
            _jobs.c.passed if must_have_passed else sa.true(),
        )
        newest_first = (
            sa.select(_jobs.c.run_id, _jobs.c.ordinal, _jobs.c.record_json)
            .join(_runs, _runs.c.run_id == _jobs.c.run_id)
            .where(matching)
            .order_by(_runs.c.started_unix.desc(), _jobs.c.ordinal.desc())
        )

        def read(connection: sa.Connection) -> StoredCheck | None:
            for run_id, ordinal, text in connection.execute(newest_first):
                with suppress(ValueError):  # of another version of waymark that shares the store
                    record = Record.model_validate_json(text)
                    if record.check and suits(record.check) and CheckSubject.of(record) == subject:
                        rows = _job_rows(connection, (_jobs.c.run_id == run_id) & (_jobs.c.ordinal == ordinal))
                        if rows and isinstance(rows[0], StoredCheck):
                            return rows[0]
            return None

        return self._database.read(read)


def _read_job(job: JobFolder, listed: Record) -> tuple[Record, Exit | None, Outcome, Sequence[Event], Sequence[Sample]]:
    record, exit_, outcome, events = job.record(), job.exit(), job.outcome() or LOST, job.events()
    if (record.run_id, record.ordinal) != (listed.run_id, listed.ordinal):
        raise ValueError(f"its record says that it is job {record.ordinal} of run '{record.run_id}'")
    if exit_ is not None and exit_.events_sha256 not in (None, job.events_sha256()):
        raise ValueError("events.jsonl was changed after its worker had ended")
    if outcome.status == "ok" and (why := flaw(events)):
        raise ValueError(why)
    return record, exit_, outcome, events, job.samples()


def _until_current(
    folder: Path, read: Callable[[], _Read], write: Callable[[_Read, Callable[[], bool]], bool]
) -> _Read:
    """Read a folder and write what was read; again if it has changed in between."""
    while True:
        before = _stamp(folder)
        value = read()
        if write(value, lambda before=before: _stamp(folder) == before):  # type: ignore[misc]
            return value


def _stamp(folder: Path) -> list[tuple[int, int] | None]:
    """The inode and time of each file that tells how far a run or job is; they are replaced as a whole."""
    stamps: list[tuple[int, int] | None] = []
    for name in (RUN, RECORD, EXIT, OUTCOME):
        try:
            seen = (folder / name).lstat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((seen.st_ino, seen.st_mtime_ns))
    return stamps


@functools.lru_cache(maxsize=1000)
def _one(part: _Part) -> _Part:
    """One object for all that are equal: thousands of trials ask in the same words."""
    return part


def _needed_checks(trials: Sequence[StoredTrial]) -> Iterator[tuple[CheckSubject, Callable[[CheckRequest], bool]]]:
    """What the trials rest on: of each subject a check of all steps, and one of each first step."""
    trained = [job for job in trials if needs_selfcheck(job.trial)]
    asked = [(CheckSubject.of(job.record), job.trial.network_input, job.trial.training.batch_size) for job in trained]
    for subject in dict.fromkeys(subject for subject, *_ in asked):
        yield subject, _takes_all_steps
    for subject, input_size, batch_size in dict.fromkeys(asked):
        yield subject, methodcaller("is_at", input_size, batch_size)


def _takes_all_steps(check: CheckRequest) -> bool:
    return check.steps == "all"


def _asked(record: Record) -> dict[str, Any]:
    """The columns that describe a trial, a check, or an audit (those of its trial)."""
    trial = record.audit.trial if record.audit else record.trial
    asked = trial or record.check
    if asked is None:
        raise ValueError("its record asks for neither a trial nor a check")
    return {
        "kind": "check" if record.trial is None else "trial",  # an audit is a check, of a trial
        "key": trial and trial.key,
        "framework": asked.framework,
        "variant": asked.variant,
        "model": asked.model.name,
        "depth": asked.model.depth,
        "input_size": asked.input_size.height,
        "device": asked.device,
        "seed": trial and trial.seed,
        "repeat": trial and trial.repeat,
    }


def _job_rows(connection: sa.Connection, where: Any) -> list[StoredTrial | StoredCheck | StoredAudit]:
    """Jobs with their timelines, in planned order."""
    asked = sa.select(_jobs).where(where).order_by(_jobs.c.run_id, _jobs.c.ordinal)
    known: dict[str, Environment] = {}
    stored: list[StoredTrial | StoredCheck | StoredAudit] = []
    is_unpacked = True
    for row in connection.execute(asked.execution_options(yield_per=200)):
        timeline = unpack(row.timeline) if row.timeline else None
        is_unpacked &= timeline is not None
        stored.append(_stored(row, timeline or Timeline(), known))
    return stored if is_unpacked else _with_events(stored, connection, where)


def _with_events(
    stored: list[StoredTrial | StoredCheck | StoredAudit], connection: sa.Connection, where: Any
) -> list[StoredTrial | StoredCheck | StoredAudit]:
    """The jobs with timelines from their events: of a store that another version of waymark filled."""
    said = connection.execute(
        sa.select(_events.c.run_id, _events.c.ordinal, _events.c.kind, _events.c.event_json)
        .join(_jobs, (_jobs.c.run_id == _events.c.run_id) & (_jobs.c.ordinal == _events.c.ordinal))
        .where(where, _events.c.kind.in_(TIMELINE_KINDS))
        .order_by(_events.c.run_id, _events.c.ordinal, _events.c.position)
        .execution_options(yield_per=1000)  # the texts of all events of a run may be gigabytes
    )
    timelines = {
        key: read_lines((kind, text) for _, _, kind, text in rows)
        for key, rows in itertools.groupby(said, key=lambda row: (row[0], row[1]))
    }
    keys = [(job.record.run_id, job.record.ordinal) for job in stored]
    known = [timelines.get(key, Timeline()) for key in keys]
    return [dataclasses.replace(trial, timeline=timeline) for trial, timeline in zip(stored, known, strict=True)]


def _stored(row: Any, timeline: Timeline, known: dict[str, Environment]) -> StoredTrial | StoredCheck | StoredAudit:
    """known: the environments of the jobs so far, by identity; a run has few, and each has a long list of packages."""
    record = Record.model_validate_json(row.record_json)
    same = known.setdefault(record.environment.identity, record.environment)
    if same is not record.environment and same == record.environment:
        record = record.model_copy(update={"environment": same})
    if record.trial is not None:
        parts = {name: _one(getattr(record.trial, name)) for name in ("model", "dataset", "training", "measure")}
        record = record.model_copy(update={"trial": record.trial.model_copy(update=parts)})
    kind = StoredTrial if record.trial else StoredAudit if record.audit else StoredCheck
    return kind(
        record=record,
        outcome=Outcome.model_validate_json(row.outcome_json),
        exit=Exit.model_validate_json(row.exit_json) if row.exit_json else None,
        timeline=timeline,
        samples=read_samples(row.telemetry_jsonl or ""),
    )
