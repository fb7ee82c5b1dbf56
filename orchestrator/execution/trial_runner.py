"""One pass over a plan: selfchecks first, then every trial that is not done, each in its own process."""

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.console.progress import Console, TrialProgress
from orchestrator.dataset import Dataset
from orchestrator.environment import Environment
from orchestrator.errors import EngineError
from orchestrator.execution.job_runner import TrialData, record_unstarted, run_job
from orchestrator.execution.looks import Looks
from orchestrator.execution.selfcheck import SelfcheckRunner, request_of, required
from orchestrator.execution.session import Run
from orchestrator.networks import InputSize, Network
from orchestrator.planning.plan import Plan
from orchestrator.records.job import CheckRequest, needs_selfcheck, trial_job
from orchestrator.records.run_folder import Record
from orchestrator.trial import Outcome, Trial, trial_id

BROKEN_AFTER = 3  # so many environment faults in a row mean that the machine is broken
BACKOFF_SECONDS = (2.0, 10.0)  # before the second and the third attempt


@dataclass
class TrialRunner:
    """One pass over a plan's trials.

    data: what they read, by input size and data set. looks: which trials it needs. weights: hash -> file, of networks
    that are run and not trained.
    """

    run: Run
    data: Mapping[tuple[InputSize, Dataset], TrialData]
    allow_unverified: bool
    console: Console
    looks: Looks | None = None
    weights: Mapping[str, Path] = field(default_factory=dict)

    def run_all(self, plan: Plan) -> bool:
        """Run what is not done yet; True if the user stopped it. Raises EngineError on a broken machine."""
        done = {_answer(record): record for record in self.run.context.store.ok_records(self.run.facts.run_id)}
        numbers = _numbers(plan, self.run.recorded)
        faults = 0
        try:
            failed_checks = self._failed_checks(plan, max([*numbers.values(), *self.run.recorded]))
            for at, trial in enumerate(plan.trials, start=1):
                environment = self._environment(trial)
                if environment is None or (self.looks is not None and not self.looks.wants(trial)):
                    continue
                title = f"[{at}/{len(plan.trials)}] {trial.label}"
                record = self._record(numbers[_question(trial)], trial, environment)
                known = done.get(_answer(record))
                # A record of before 0.6 has no hash of its network, whose family its worker held.
                if known is not None and known.network_sha256 in ("", record.network_sha256):
                    is_same_code = known.worker_sha256 == record.worker_sha256
                    self.console.say(f"{title}: already done{'' if is_same_code else ', with earlier worker code'}")
                    continue
                try:
                    outcome = self._trial(title, trial, record, failed_checks.get(self._first_step(trial)))
                except EngineError as error:
                    raise EngineError(f"{error} {self._how_to_continue}") from None
                faults = faults + 1 if outcome.fault == "environment" and outcome.status != "disturbed" else 0
                if faults == BROKEN_AFTER:
                    raise EngineError(
                        f"{BROKEN_AFTER} trials in a row failed because of this machine, the last with: "
                        f"{outcome.reason}. {self._how_to_continue}"
                    )
        except KeyboardInterrupt:
            return True
        return False

    @property
    def _how_to_continue(self) -> str:
        return f"Fix that, then continue with: invoke sweep --resume={self.run.facts.run_id}"

    def _failed_checks(self, plan: Plan, last_number: int) -> dict[CheckRequest, Outcome | None]:
        """For the first step of each trial: None if its checks passed, else the outcome that its trials get."""
        run = self.run
        checks = SelfcheckRunner(run.facts.run_id, run.context, last_number, self.console)
        made = run.environments.made
        trained = [trial for trial in plan.trials if needs_selfcheck(trial) and trial.environment_key in made]
        wanted = required(map(self._first_step, trained))

        @functools.cache
        def outcome_of(check: CheckRequest) -> Outcome | None:
            return checks.verify(check, made[check.key])

        # Where one has failed, those behind it are not needed.
        return {trial: next(filter(None, map(outcome_of, needed)), None) for trial, needed in wanted.items()}

    def _trial(self, title: str, trial: Trial, record: Record, failed_check: Outcome | None) -> Outcome:
        context = self.run.context
        if failed_check is not None and (failed_check.status == "unsupported" or not self.allow_unverified):
            hint = "; --unverified times it nevertheless" if failed_check.status == "unverified" else ""
            self.console.say(f"{title}: {failed_check.status}: {failed_check.reason}{hint}")
            return record_unstarted(context, record, failed_check)
        record = record.model_copy(update={"is_unverified": failed_check is not None})
        outcome = self._attempt(title, trial, record)
        for attempt, wait in enumerate(BACKOFF_SECONDS, start=2):
            if outcome.fault != "environment" or outcome.status == "misconfigured":
                break
            self.console.say(f"{title}: tried again, attempt {attempt} of {len(BACKOFF_SECONDS) + 1}")
            time.sleep(wait)
            outcome = self._attempt(title, trial, record.model_copy(update={"attempt": attempt}))
        return outcome

    def _attempt(self, title: str, trial: Trial, record: Record) -> Outcome:
        progress = TrialProgress(None if trial.inference else trial.training.epochs, trial.batch_size)
        began = time.monotonic()
        data = self._data(trial)
        start = trial.inference.weights_sha256 if trial.inference else trial.model.start_sha256
        if start:
            data = replace(data, start=self.weights[start])
        with self.console.job(title, progress) as on_event:
            job = trial_job(trial, record.environment, self._network(trial), data.classes)
            outcome = run_job(self.run.context, record, job, data, on_event)
        self.console.ended(title, outcome, progress, time.monotonic() - began)
        return outcome

    def _data(self, trial: Trial) -> TrialData:
        return self.data[trial.input_size, trial.dataset]

    def _network(self, trial: Trial) -> Network:
        return trial.network(self._data(trial).facts.classes)

    def _environment(self, trial: Trial) -> Environment | None:
        return self.run.environments.made.get(trial.environment_key)

    def _first_step(self, trial: Trial) -> CheckRequest:
        return request_of(trial, self._network(trial))

    def _record(self, ordinal: int, trial: Trial, environment: Environment) -> Record:
        facts, worker_sha256 = self._data(trial).facts, self.run.context.source.sha256
        network_sha256 = self._network(trial).sha256
        return Record(
            run_id=self.run.facts.run_id,
            ordinal=ordinal,
            id=trial_id(trial, environment, facts.sha256, network_sha256, worker_sha256),
            worker_sha256=worker_sha256,
            environment=environment,
            processor=self.run.context.processor,
            trial=trial,
            data=facts,
            network_sha256=network_sha256,
        )


def _numbers(plan: Plan, recorded: Mapping[int, Record]) -> dict[tuple[str, str], int]:
    """A number for each trial, which names its folder: the recorded one, else its place in the plan if that is free.

    A resumed plan may differ from the first one, because rows or cards came or went; a number keeps its trial.
    """
    numbers = {_question(record.trial): number for number, record in recorded.items() if record.trial is not None}
    taken = {*recorded, *range(len(plan.trials) + 1)}
    for place, trial in enumerate(plan.trials, start=1):
        if _question(trial) in numbers:
            continue
        number = place if place not in recorded else max(taken) + 1
        numbers[_question(trial)] = number
        taken.add(number)
    return numbers


def _question(trial: Trial) -> tuple[str, str]:
    """Identifies a trial within a run, whatever it ran in."""
    return (trial.key, trial.variant)


def _answer(record: Record) -> tuple[str, str, str, str]:
    """Identifies a trial within a run, without the worker code: a resumed run may be older than an upgrade."""
    trial, data = record.trial, record.data
    assert trial is not None
    return (*_question(trial), record.environment.identity, data.sha256 if data else "")
