"""One pass over a plan: selfchecks first, then every trial that is not done, each in its own process."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.console.progress import Pace, View
from orchestrator.engines.source import WorkerSource
from orchestrator.errors import EngineError
from orchestrator.execution.job_runner import Bench, Pictures, collect, refuse
from orchestrator.execution.selfcheck import Gate, Subject, smallest_of, subject_of
from orchestrator.planning.plan import Plan
from orchestrator.records.job import train_job
from orchestrator.records.run_folder import DataFacts, Record
from orchestrator.trial import Dataset, Environment, Outcome, Trial, trial_id

BROKEN_AFTER = 3  # environment faults in a row: the machine is broken, go no further


@dataclass
class Course:
    """One pass over a plan's trials."""

    run_id: str
    bench: Bench
    source: WorkerSource
    environments: Mapping[tuple[str, str, str], Environment]
    pictures: Mapping[tuple[int, Dataset], tuple[Pictures, DataFacts]]
    allow_unverified: bool
    view: View

    def run(self, plan: Plan) -> bool:
        """Run what is not done yet; True if the user stopped it. Raises EngineError on a broken machine."""
        done = self.bench.store.ok_ids(self.run_id)
        faults = 0
        try:
            doubts = self._doubts(plan)
            for at, trial in enumerate(plan.trials, start=1):
                environment = self._environment(trial)
                if environment is None:
                    continue
                title = f"[{at}/{len(plan.trials)}] {trial.label}"
                record = self._record(at, trial, environment)
                if record.id in done:
                    self.view.say(f"{title}: already done")
                    continue
                outcome = self._trial(title, trial, record, doubts[subject_of(trial)])
                faults = faults + 1 if outcome.fault == "environment" else 0
                if faults == BROKEN_AFTER:
                    raise EngineError(
                        f"{BROKEN_AFTER} trials in a row failed because of this machine, the last with: "
                        f"{outcome.reason}. Mend that, then go on with: invoke sweep --resume={self.run_id}"
                    )
        except KeyboardInterrupt:
            return True
        return False

    def _doubts(self, plan: Plan) -> dict[Subject, Outcome | None]:
        checks_before = sum("-check-" in job.name for job in self.bench.run_dir.glob("*-*"))
        gate = Gate(self.run_id, self.bench, self.source.sha256, len(plan.trials) + checks_before, self.view)
        doubts: dict[Subject, Outcome | None] = {}
        for subject, trial in smallest_of(plan.trials).items():
            environment = self._environment(trial)
            if environment is not None:
                doubts[subject] = gate.doubt(trial, environment)
        return doubts

    def _trial(self, title: str, trial: Trial, record: Record, doubt: Outcome | None) -> Outcome:
        if doubt is not None and (doubt.status == "unsupported" or not self.allow_unverified):
            way_on = "; --unverified times it all the same" if doubt.status == "unverified" else ""
            self.view.say(f"{title}: {doubt.status}: {doubt.reason}{way_on}")
            return refuse(self.bench, record, doubt)
        record = record.model_copy(update={"is_unverified": doubt is not None})
        pace = Pace(trial.training.epochs, trial.training.batch_size)
        began = time.monotonic()
        with self.view.job(title, pace) as on_event:
            job = train_job(trial, record.environment)
            outcome = collect(self.bench, record, job, self._pictures(trial)[0], on_event)
        self.view.ended(title, outcome, pace, time.monotonic() - began)
        return outcome

    def _pictures(self, trial: Trial) -> tuple[Pictures, DataFacts]:
        return self.pictures[trial.input_size, trial.dataset]

    def _environment(self, trial: Trial) -> Environment | None:
        return self.environments.get((trial.framework, trial.variant, trial.device))

    def _record(self, ordinal: int, trial: Trial, environment: Environment) -> Record:
        _, facts = self._pictures(trial)
        return Record(
            run_id=self.run_id,
            ordinal=ordinal,
            id=trial_id(trial, environment, facts.sha256, self.source.sha256),
            worker_sha256=self.source.sha256,
            environment=environment,
            trial=trial,
            data=facts,
        )
