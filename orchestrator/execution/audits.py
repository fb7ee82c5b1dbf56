"""After the timed trials: the oracle repeats the audited steps of each, and a trial that is off loses its number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator import files
from orchestrator.console.progress import Console, TrialProgress
from orchestrator.environment import Environment
from orchestrator.errors import EngineError
from orchestrator.execution.job_runner import TrialData, run_job, store_outcome
from orchestrator.execution.session import Run
from orchestrator.records.job import AuditRequest, audit_job
from orchestrator.records.run_folder import AUDITS, JobFolder, Record, RunFolder
from orchestrator.records.timeline import Check, read_timeline
from orchestrator.trial import Dataset, Outcome


@dataclass
class Auditor:
    """Audits the trials of one run. data: what they read; oracle: makes the oracle's environment."""

    run: Run
    data: Mapping[tuple[int, Dataset], TrialData]
    oracle: Callable[[], Environment]
    console: Console

    def run_all(self) -> bool:
        """Repeat the steps of every trial that ended ok and was not audited yet; True if the user stopped it."""
        waiting, last_number = self._waiting()
        if not waiting:
            return False
        try:
            environment = self.oracle()
            for at, (folder, record) in enumerate(waiting, start=1):
                self._audit(f"audit [{at}/{len(waiting)}]", folder, record, (environment, last_number + at))
        except EngineError as error:
            self.console.say(f"the audited steps were not repeated: {error}")
        except KeyboardInterrupt:
            return True
        return False

    def _waiting(self) -> tuple[Sequence[tuple[JobFolder, Record]], int]:
        """Trials that ended ok and left their steps; and the last number of any job."""
        jobs, _ = RunFolder(self.run.context.run_dir).jobs()
        found = []
        for folder, record in jobs.values():
            outcome = folder.outcome() if record.trial is not None and not record.is_unverified else None
            if outcome is not None and outcome.status == "ok" and (folder.path / AUDITS).exists():
                found.append((folder, record))
        return found, max(jobs, default=0)

    def _audit(self, title: str, folder: JobFolder, record: Record, where: tuple[Environment, int]) -> None:
        trial, (environment, number) = record.trial, where
        assert trial is not None
        data = self.data.get((trial.input_size, trial.dataset))
        if data is None:  # the spec of a resumed run may ask for less than the first
            return
        losses = [list(epoch.loss) for epoch in read_timeline(folder.events()).epochs]
        request = AuditRequest(ordinal=record.ordinal, trial=trial)
        audit = Record(
            run_id=record.run_id,
            ordinal=number,
            id=f"audit-{number}",
            worker_sha256=self.run.context.source.sha256,
            environment=environment,
            processor=self.run.context.processor,
            data=data.facts,
            audit=request,
        )
        job = audit_job(request, environment, data.facts.classes, losses)
        with self.console.job(f"{title} {trial.label}", TrialProgress(epochs=1, batch_size=1)) as on_event:
            outcome = run_job(self.run.context, audit, job, replace(data, audits=folder.path / AUDITS), on_event)
        check = read_timeline(JobFolder(self.run.context.run_dir / audit.folder_name).events()).check
        if outcome.status != "ok" or check is None:
            self.console.say(f"{title} {trial.label}: {outcome.status}: {outcome.reason}")
            return
        files.remove(folder.path / AUDITS)
        if not check.passed:
            store_outcome(self.run.context, folder, record, _unverified(check))
        self.console.say(f"{title} {trial.label}: {'as the oracle computes' if check.passed else _off(check)}")


def _unverified(check: Check) -> Outcome:
    return Outcome(
        status="unverified",
        fault="subject",
        reason=f"an audited step of it is not what numpy_ref computes: {_off(check)}",
    )


def _off(check: Check) -> str:
    """'update off by 0.52 (bound 0.05)' for each figure beyond its bound."""
    beyond = []
    for name, value in check.figures.items():
        bound = check.bounds.get(name)
        if value is None or bound is None or value > bound:
            shown = "infinitely far" if value is None else f"{value:.2g}"
            beyond.append(f"{name} off by {shown} (bound {bound:g})")
    return ", ".join(beyond)
