"""After the timed trials: the oracle repeats the audited steps of each, and a trial that is off loses its number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from orchestrator import files
from orchestrator.console.progress import Console, TrialProgress
from orchestrator.dataset import Dataset
from orchestrator.environment import Environment
from orchestrator.errors import EngineError
from orchestrator.execution.job_runner import TrialData, run_job, store_outcome
from orchestrator.execution.session import Run
from orchestrator.networks import InputSize
from orchestrator.records.job import AuditRequest, audit_job
from orchestrator.records.payloads import Check
from orchestrator.records.run_folder import AUDITS, JobFolder, Record, RunFolder
from orchestrator.records.stored import StoredTrial
from orchestrator.records.timeline import read_timeline
from orchestrator.trial import Outcome


@dataclass
class Auditor:
    """Audits the trials of one run. data: what they read; oracle: makes the oracle's environment."""

    run: Run
    data: Mapping[tuple[InputSize, Dataset], TrialData]
    oracle: Callable[[], Environment]
    console: Console

    def run_all(self) -> bool:
        """Repeat the steps of every trial that ended ok and was not audited yet; True if the user stopped it."""
        context = self.run.context
        stored = context.store.run(self.run.facts.run_id)
        waiting = [trial for trial in stored.trials if self._is_waiting(trial)]
        if not waiting:
            return False
        last_number = max(RunFolder(context.run_dir).jobs()[0])
        try:
            environment = self.oracle()
            for at, trial in enumerate(waiting, start=1):
                self._audit(f"audit [{at}/{len(waiting)}] {trial.trial.label}", trial, environment, last_number + at)
        except EngineError as error:
            self.console.say(f"the audited steps were not repeated: {error}")
        except KeyboardInterrupt:
            return True
        return False

    def _is_waiting(self, job: StoredTrial) -> bool:
        """Whether it ended ok, left its steps, and reads pictures that are here: a resumed spec may ask for less."""
        is_sound = job.outcome.status == "ok" and not job.record.is_unverified
        is_known = (job.trial.input_size, job.trial.dataset) in self.data
        return is_sound and is_known and (self._folder(job.record).path / AUDITS).exists()

    def _folder(self, record: Record) -> JobFolder:
        return JobFolder(self.run.context.run_dir / record.folder_name)

    def _audit(self, title: str, stored: StoredTrial, environment: Environment, number: int) -> None:
        trial, folder = stored.trial, self._folder(stored.record)
        data = self.data[trial.input_size, trial.dataset]
        request = AuditRequest(
            ordinal=stored.record.ordinal, trial=trial, events_sha256=stored.exit.events_sha256 if stored.exit else None
        )
        audit = Record(
            run_id=stored.record.run_id,
            ordinal=number,
            id=f"audit-{number}",
            worker_sha256=self.run.context.source.sha256,
            environment=environment,
            processor=self.run.context.processor,
            data=data.facts,
            audit=request,
        )
        losses = [epoch.known_losses for epoch in stored.timeline.epochs]
        network = trial.network(data.facts.classes)
        job = audit_job(request, environment, network, losses, data.classes)
        with self.console.job(title, TrialProgress(epochs=1, batch_size=1)) as on_event:
            outcome = run_job(self.run.context, audit, job, replace(data, audits=folder.path / AUDITS), on_event)
        check = read_timeline(self._folder(audit).events()).check
        if outcome.status != "ok" or check is None:
            self.console.say(f"{title}: {outcome.status}: {outcome.reason}")
            return
        files.remove(folder.path / AUDITS)
        if not check.passed:
            store_outcome(self.run.context, folder, stored.record, _unverified(check))
        self.console.say(f"{title}: {'as the oracle computes' if check.passed else _off(check)}")


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
