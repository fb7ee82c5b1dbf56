"""The selfcheck that is required before timing: it compares an environment with numpy_ref."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from orchestrator.console.progress import Console, TrialProgress
from orchestrator.environment import Environment
from orchestrator.execution.job_runner import JobContext, run_job
from orchestrator.networks import InputSize, Network
from orchestrator.records.event import Event
from orchestrator.records.job import CheckRequest, check_job
from orchestrator.records.run_folder import Record
from orchestrator.records.stored import CheckSubject
from orchestrator.trial import Outcome, Trial
from workers.optimisers import traits


def request_of(trial: Trial, network: Network) -> CheckRequest:
    """The check of the first step of `trial`, at its own input size and batch. network: its own."""
    return CheckRequest(
        framework=trial.framework,
        variant=trial.variant,
        model=trial.model,
        input_size=trial.network_input,
        device=trial.device,
        threads=trial.threads,
        classes=network.net.classes,
        optimiser=trial.training.optimiser,
        initialiser=trial.training.initialiser,
        traits=traits(trial.training),
        batch_size=trial.training.batch_size,
        steps="first",
        network_sha256=network.sha256,
    )


def required(requests: Iterable[CheckRequest]) -> dict[CheckRequest, tuple[CheckRequest, ...]]:
    """For each check of a first step, the checks that must have passed before its trial is timed.

    They are all steps at the smallest input size of its network, which is the fastest, and its own first step.
    """
    ordered = sorted(dict.fromkeys(requests), key=lambda request: (prod(request.input_size), request.batch_size))
    smallest: dict[CheckRequest, CheckRequest] = {}
    for request in ordered:
        smallest.setdefault(_anywhere(request), request.model_copy(update={"steps": "all"}))
    checks: dict[CheckRequest, tuple[CheckRequest, ...]] = {}
    for request in ordered:
        whole = smallest[_anywhere(request)]
        checks[request] = (whole,) if whole.includes(request) else (whole, request)
    return checks


def _anywhere(request: CheckRequest) -> CheckRequest:
    """The request without its input size and batch."""
    return request.model_copy(update={"input_size": InputSize(1, 1, 1), "batch_size": 0, "network_sha256": ""})


@dataclass
class SelfcheckRunner:
    """Runs selfchecks as jobs of a run. Passed ones are found in the store by environment and worker hash.

    ordinal: number of the last job folder used; the next check takes the next.
    """

    run_id: str
    context: JobContext
    ordinal: int
    console: Console

    def verify(self, request: CheckRequest, environment: Environment) -> Outcome | None:
        """None if this check has passed, now or before; else the outcome that the trials of `request` get."""
        if self.has_passed(request, environment):
            return None
        return self.check(request, environment)

    def has_passed(self, request: CheckRequest, environment: Environment) -> bool:
        """Whether this check has passed before; prints it if so."""
        where = (environment.identity, self.context.source.sha256, self.context.processor)
        known = self.context.store.passing_check(CheckSubject.of_request(*where, request), request)
        if known:
            self.console.say(f"{request.label}: passed before, in this environment and with this code")
        return known is not None

    def check(self, request: CheckRequest, environment: Environment) -> Outcome | None:
        """None if the check passes now; else the outcome that the trials of `request` get."""
        self.ordinal += 1
        record = Record(
            run_id=self.run_id,
            ordinal=self.ordinal,
            id=f"check-{self.ordinal}",
            worker_sha256=self.context.source.sha256,
            environment=environment,
            processor=self.context.processor,
            check=request,
        )
        outcome, has_passed = self._run(request, record)
        if outcome.status in ("misconfigured", "unsupported"):
            return outcome
        if outcome.status == "out_of_memory" and outcome.fault == "environment":
            return outcome.model_copy(update={"reason": f"in its selfcheck {outcome.reason}"})
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
        with self.console.job(request.label, TrialProgress(epochs=None, batch_size=1)) as on_event:

            def take(event: Event) -> None:
                on_event(event)
                if event.kind == "check":
                    verdicts.append(event.fields.get("passed") is True)

            outcome = run_job(self.context, record, check_job(request, record.environment), None, take)
        has_passed = verdicts == [True]
        words = (
            ("passed" if has_passed else "FAILED") if outcome.status == "ok" else f"{outcome.status}: {outcome.reason}"
        )
        self.console.say(f"{request.label}: {words} in {time.monotonic() - began:.1f} s")
        return outcome, has_passed
