"""The gate before the clock: does this environment compute this network as numpy_ref does?"""

import time
from dataclasses import dataclass

from orchestrator.console.progress import Pace, View
from orchestrator.execution.job_runner import Bench, collect
from orchestrator.records.event import Event
from orchestrator.records.job import CheckRequest, check_job
from orchestrator.records.run_folder import Record
from orchestrator.trial import Environment, Outcome, Trial

Subject = tuple[str, str, str, str]
"""framework, variant, device, network: what one selfcheck speaks for, at every input size."""


def subject_of(trial: Trial) -> Subject:
    """What has to have passed before `trial` is timed."""
    return (trial.framework, trial.variant, trial.device, trial.model.label)


def smallest_of(trials: tuple[Trial, ...]) -> dict[Subject, Trial]:
    """One trial for each subject, of its smallest input: the ops are the same at each size, the time is not."""
    smallest: dict[Subject, Trial] = {}
    for trial in trials:
        known = smallest.get(subject_of(trial))
        if known is None or trial.input_size < known.input_size:
            smallest[subject_of(trial)] = trial
    return smallest


@dataclass
class Gate:
    """Runs selfchecks as jobs of a run, and remembers those that passed: the store knows environment and worker hash.

    ordinal: number of the last job folder used; the next check takes the next.
    """

    run_id: str
    bench: Bench
    worker_sha256: str
    ordinal: int
    view: View

    def doubt(self, trial: Trial, environment: Environment) -> Outcome | None:
        """None if a check of this environment and network has passed, now or before; else the outcome of its trials."""
        request = CheckRequest(
            framework=trial.framework,
            variant=trial.variant,
            model=trial.model,
            input_size=trial.input_size,
            device=trial.device,
            threads=trial.threads,
        )
        if self.has_passed(request, environment):
            return None
        return self.check(request, environment)

    def has_passed(self, request: CheckRequest, environment: Environment) -> bool:
        """Whether a check of this has passed before; says so."""
        known = self.bench.store.passing_check(
            environment.identity, self.worker_sha256, request.model, request.input_size, request.device
        )
        if known:
            self.view.say(f"{request.label}: passed before, in this environment and with this code")
        return known is not None

    def check(self, request: CheckRequest, environment: Environment) -> Outcome | None:
        """None if the check passes now; else the outcome of the trials that hang on it."""
        self.ordinal += 1
        record = Record(
            run_id=self.run_id,
            ordinal=self.ordinal,
            id=f"check-{self.ordinal}",
            worker_sha256=self.worker_sha256,
            environment=environment,
            check=request,
        )
        outcome, has_passed = self._run(request, record)
        if outcome.status in ("environment", "unsupported"):
            return outcome
        if outcome.status != "ok":
            reason = f"its selfcheck did not finish ({outcome.status}: {outcome.reason})"
            return Outcome(status="unverified", fault=outcome.fault, reason=reason)
        if not has_passed:
            reason = "its selfcheck failed: it does not compute what numpy_ref computes"
            return Outcome(status="unverified", fault="subject", reason=reason)
        return None

    def _run(self, request: CheckRequest, record: Record) -> tuple[Outcome, bool]:
        verdicts: list[bool] = []
        began = time.monotonic()
        with self.view.job(request.label, Pace(epochs=1, batch_size=1)) as on_event:

            def take(event: Event) -> None:
                on_event(event)
                if event.kind == "check":
                    verdicts.append(event.fields.get("passed") is True)

            outcome = collect(self.bench, record, check_job(request, record.environment), None, take)
        has_passed = verdicts == [True]
        words = (
            ("passed" if has_passed else "FAILED") if outcome.status == "ok" else f"{outcome.status}: {outcome.reason}"
        )
        self.view.say(f"{request.label}: {words} in {time.monotonic() - began:.1f} s")
        return outcome, has_passed
