"""A run: alone on this machine, with an engine, its environments, and the folder that records it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from orchestrator.console.progress import View
from orchestrator.engines.engine import Engine, Launch
from orchestrator.engines.source import snapshot
from orchestrator.errors import EngineError
from orchestrator.execution.outcome import decide
from orchestrator.home import Home
from orchestrator.host import GIB, HostFacts
from orchestrator.planning.catalogue import HOST
from orchestrator.planning.gpu_fit import card_for, why_not
from orchestrator.planning.image_row import ImageRow
from orchestrator.records.job import probe_job
from orchestrator.records.run_folder import JOB, JobFolder
from orchestrator.trial import Environment, Outcome

PROBE_SECONDS = 900.0
"""A driver may first compile all of a framework's code for its card."""
PROBE_MEMORY_BYTES = 16 * GIB

EnvironmentKey = tuple[str, str, str]
"""framework, variant, device: what an environment is for."""


def key_of(row: ImageRow) -> EnvironmentKey:
    """What the environment of `row` is for."""
    return (row.framework, row.variant, row.device)


def prepare(
    rows: Sequence[ImageRow], engine: Engine, host: HostFacts, home: Home, view: View
) -> tuple[dict[EnvironmentKey, Environment], dict[EnvironmentKey, Outcome]]:
    """Every environment that could be made, with its card; and for each that could not, what its trials come to.

    One on a card, or one that is not of our making, must first take a training step.
    Raises EngineError if none is left.
    """
    made: dict[EnvironmentKey, Environment] = {}
    failed: dict[EnvironmentKey, Outcome] = {}
    for row in rows:
        try:
            made[key_of(row)] = _prepared(row, engine, host, home, view)
        except _UnfitError as unfit:
            view.say(f"{row.label}: {unfit.outcome.status}: {unfit}")
            failed[key_of(row)] = unfit.outcome
        except EngineError as error:
            view.say(str(error))
            failed[key_of(row)] = Outcome(status="crashed", fault="environment", reason=str(error))
    if not made:
        raise EngineError(
            f"no environment of this run could be made; the last reason: {list(failed.values())[-1].reason}"
        )
    return made, failed


class _UnfitError(Exception):
    """An environment that does not compute here; `outcome` is what its trials come to."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def _prepared(row: ImageRow, engine: Engine, host: HostFacts, home: Home, view: View) -> Environment:
    """The environment of `row`, on its card, tried. Raises _UnfitError or EngineError."""
    if not engine.is_here:
        return engine.prepare(row, view.say)
    reason = why_not(row, host) if row.device == "gpu" else ""
    if reason:
        raise _UnfitError(Outcome(status="unsupported", fault="subject", reason=reason.removeprefix("unsupported: ")))
    environment, card = engine.prepare(row, view.say), card_for(row, host)
    if card is None and row.variant != HOST:
        return environment
    environment = environment.on(card) if card else environment
    outcome = probe(environment, engine, home)
    if outcome.status != "ok":
        raise _UnfitError(outcome)
    return environment


def probe(environment: Environment, engine: Engine, home: Home) -> Outcome:
    """What becomes of one training step of a small network in that environment."""
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=home.root) as name:
        folder, job = JobFolder(Path(name)), probe_job(environment)
        folder.write(JOB, job)
        launch = Launch(
            environment=environment,
            module="workers.probe",
            source=snapshot(home).path,
            job_dir=folder.path,
            data_dir=None,
            cpus=(),
            memory_bytes=PROBE_MEMORY_BYTES,
            timeout_seconds=PROBE_SECONDS,
            labels={"run": "probe", "job": f"{environment.framework}-{environment.variant}"},
        )
        ended = engine.run(launch, lambda: None)
        return decide(job, folder.events(), ended)
