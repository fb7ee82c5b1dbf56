"""The environments of a run: made by its engine, assigned a card, and tried before use where that is needed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from orchestrator.analysis.utilisation import foreign_percent_of
from orchestrator.console.progress import Console
from orchestrator.engines.engine import Engine, Launch
from orchestrator.engines.source import snapshot
from orchestrator.environment import Environment, EnvironmentKey
from orchestrator.errors import EngineError
from orchestrator.execution.outcome import decide
from orchestrator.files import copy
from orchestrator.home import Home
from orchestrator.host import GIB, Telemetry
from orchestrator.planning.catalogue import HOST
from orchestrator.planning.gpu_fit import card_for, why_not
from orchestrator.planning.image_row import ImageRow
from orchestrator.records.event import Event
from orchestrator.records.host_facts import HostFacts
from orchestrator.records.job import Job, probe_job
from orchestrator.records.payloads import Peak
from orchestrator.records.run_folder import JOB, START, TELEMETRY, JobFolder
from orchestrator.records.sample import Sample
from orchestrator.records.timeline import read_timeline
from orchestrator.scratch import scratch_folder
from orchestrator.trial import Outcome

PROBE_SECONDS = 900.0
"""Long, because a driver may first compile all of a framework's code for its card."""
PROBE_MEMORY_BYTES = 16 * GIB
PEAK_MEMORY_BYTES = 4 * GIB
MODEL_MEMORY_BYTES = 4 * GIB
_MODEL_LIMIT_BYTES = 2**33


@dataclass(frozen=True)
class Environments:
    """made: those that could be made. failed: for each other the outcome that its trials get."""

    made: Mapping[EnvironmentKey, Environment]
    failed: Mapping[EnvironmentKey, Outcome]


def prepare(rows: Sequence[ImageRow], engine: Engine, host: HostFacts, home: Home, console: Console) -> Environments:
    """An environment for each row, on its card.

    One on a card, or one that was not made by waymark (engine `host`), must first take a training step.
    Raises EngineError if none could be made.
    """
    made: dict[EnvironmentKey, Environment] = {}
    failed: dict[EnvironmentKey, Outcome] = {}
    for row in rows:
        try:
            made[row.key] = _prepared(row, engine, host, home, console)
        except _UnfitError as unfit:
            console.say(f"{row.label}: {unfit.outcome.status}: {unfit}")
            failed[row.key] = unfit.outcome
        except EngineError as error:
            console.say(str(error))
            failed[row.key] = Outcome(status="crashed", fault="environment", reason=str(error))
    if not made:
        raise EngineError(
            f"no environment of this run could be made; the last reason: {list(failed.values())[-1].reason}"
        )
    return Environments(made, failed)


class _UnfitError(Exception):
    """An environment that does not work here. outcome: that its trials get."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def _prepared(row: ImageRow, engine: Engine, host: HostFacts, home: Home, console: Console) -> Environment:
    """The environment of `row`, on its card, tried. Raises _UnfitError or EngineError."""
    if not engine.is_local:
        return engine.prepare(row, console.say)
    reason = why_not(row, host) if row.device == "gpu" else ""
    if reason:
        raise _UnfitError(Outcome(status="unsupported", fault="subject", reason=reason.removeprefix("unsupported: ")))
    environment, card = engine.prepare(row, console.say), card_for(row, host)
    if card is None and row.variant != HOST:
        return environment
    environment = environment.on(card) if card else environment
    outcome = probe(environment, engine, home)
    if outcome.status != "ok":
        raise _UnfitError(outcome)
    return environment


def probe(environment: Environment, engine: Engine, home: Home) -> Outcome:
    """The outcome of one training step of a small network in that environment."""
    return _apart(environment, engine, home, probe_job(environment), _Allowance((), PROBE_MEMORY_BYTES))[0]


def measure_peak(
    environment: Environment, engine: Engine, home: Home, job: Job, cpus: tuple[int, ...]
) -> tuple[Peak, float | None]:
    """What a worker of that environment found this machine to do at best, and what others used meanwhile, in percent.

    Raises EngineError if it did not end well.
    """
    seen: list[Sample] = []

    def take(folder: JobFolder) -> None:
        seen.extend(folder.samples())

    outcome, events = _apart(environment, engine, home, job, _Allowance(cpus, PEAK_MEMORY_BYTES), take=take)
    peak = read_timeline(events).peak
    if outcome.status != "ok" or peak is None:
        raise EngineError(f"the limit of this machine was not measured: {outcome.status}: {outcome.reason}")
    return peak, foreign_percent_of(seen)


def fit(
    environment: Environment, engine: Engine, home: Home, job: Job, cpus: tuple[int, ...], memory_bytes: int
) -> tuple[Outcome, int | None]:
    """(outcome, most memory that its process had in use) of a few training steps within so much memory; see fit_job."""
    outcome, events = _apart(environment, engine, home, job, _Allowance(cpus, memory_bytes))
    done = read_timeline(events).done
    return outcome, done.peak_rss_bytes if done else None


def export_model(
    environment: Environment, engine: Engine, home: Home, job: Job, start: Path, taken: Mapping[str, Path]
) -> float:
    """Have a worker write trained weights as files of its runtime, and copy them.

    start: the weights. taken: name of a file that the worker writes -> where it goes.
    Gives how far their logits are from the oracle's. Raises EngineError if it did not end well.
    """

    def take(folder: JobFolder) -> None:
        for name, path in taken.items():
            copy(folder.path / name, path, _MODEL_LIMIT_BYTES)

    outcome, events = _apart(environment, engine, home, job, _Allowance((), MODEL_MEMORY_BYTES), start, take)
    check = read_timeline(events).check
    if outcome.status != "ok" or check is None:
        raise EngineError(f"the network was not exported: {outcome.status}: {outcome.reason}")
    return check.figures.get("logits") or 0.0


class _Allowance(NamedTuple):
    """What a job apart from any run may use: cpus as in Launch, and its memory."""

    cpus: tuple[int, ...]
    memory_bytes: int


def _apart(
    environment: Environment,
    engine: Engine,
    home: Home,
    job: Job,
    allowed: _Allowance,
    start: Path | None = None,
    take: Callable[[JobFolder], None] = lambda folder: None,
) -> tuple[Outcome, list[Event]]:
    """The outcome and the events of a job that is part of no run: its folder is removed, after `take` if it ended ok.

    start: the weights that it reads.
    """
    with scratch_folder(home.root) as scratch:
        folder = JobFolder(scratch / "job")
        folder.path.mkdir()
        folder.write(JOB, job)
        if start is not None:
            copy(start, folder.path / START, _MODEL_LIMIT_BYTES)
        launch = Launch(
            environment=environment,
            module="workers.run",
            source=snapshot(home).path,
            job_dir=folder.path,
            data_dir=None,
            cpus=allowed.cpus,
            memory_bytes=allowed.memory_bytes,
            timeout_seconds=PROBE_SECONDS,
            labels={"run": job.kind, "job": f"{environment.framework}-{environment.variant}"},
        )
        if engine.is_local:
            with Telemetry(folder.path / TELEMETRY, allowed.cpus, None) as telemetry:
                ended = engine.run(replace(launch, on_start=telemetry.follow), telemetry.tick)
        else:
            ended = engine.run(launch, lambda: None)
        events = folder.events()
        outcome = decide(job, events, ended)
        if outcome.status == "ok":
            take(folder)
        return outcome, events
