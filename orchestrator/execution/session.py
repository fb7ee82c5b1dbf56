"""The life cycle of a run: lock, machine, engine, environments, record, jobs, end.

with open_session(options, home, console) as session:    # the lock of this machine and the store
    session.claim(rows, spec.limits, warnings)           # cards, the machine's load, the engine
    environments = session.make(rows)
    run = session.begin(environments, RunPlan(...))      # run.json, what all jobs share
    ...                                                  # selfchecks and trials
    session.end(run)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.console.progress import Console
from orchestrator.engines import open_engine
from orchestrator.engines.engine import Engine
from orchestrator.engines.orphans import running_workers
from orchestrator.engines.source import snapshot
from orchestrator.environment import Environment
from orchestrator.errors import EngineError
from orchestrator.execution.environments import Environments, export_model, fit, measure_peak, prepare
from orchestrator.execution.job_runner import JobContext
from orchestrator.execution.locks import exclusive_run, lease, signals_as_interrupt
from orchestrator.execution.run_record import new_run, record_final_load, write_run
from orchestrator.execution.weights import path_of
from orchestrator.home import Home
from orchestrator.host import GIB, machine_warnings, read_host, read_load
from orchestrator.networks import Network
from orchestrator.planning.gpu_fit import cards_for, narrowed
from orchestrator.planning.image_row import ImageRow
from orchestrator.planning.spec import Limits
from orchestrator.records.host_facts import HostFacts
from orchestrator.records.job import export_job, fit_job, peak_job
from orchestrator.records.payloads import Peak
from orchestrator.records.run_folder import Record, RunFacts, RunFolder, TrainedWeights
from orchestrator.records.store import Store
from orchestrator.trial import Outcome, Trial


@dataclass(frozen=True)
class RunOptions:
    """Options of a run from the command line, for a sweep or a check.

    engine:           None means docker, or virtualenv where no daemon answers.
    gpus:             the cards to use, by number; empty means any. Each row runs on the first that it was built for.
    is_strict:        raise EngineError on a machine on which times would not be reliable.
    allow_unverified: time environments that did not pass their selfcheck, and mark them.
    """

    engine: str | None = None
    gpus: tuple[int, ...] = ()
    is_strict: bool = False
    allow_unverified: bool = False
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunPlan:
    """What a verb tells the session about its run.

    name:     the end of its id. threads: processors of one job.
    facts:    the fields of RunFacts that the verb knows. now: those of them that may be others when it is resumed.
    recorded: the run that is resumed, None for a new one.
    """

    name: str
    threads: int
    limits: Limits
    facts: Mapping[str, Any]
    now: Mapping[str, Any] = field(default_factory=dict)
    recorded: RunFacts | None = None


@dataclass(frozen=True)
class Run:
    """A run that has begun: its facts, its environments, and what all of its jobs share.

    recorded: the jobs of a run that is resumed, by their numbers.
    """

    facts: RunFacts
    environments: Environments
    context: JobContext
    recorded: Mapping[int, Record] = field(default_factory=dict)


@dataclass
class Session:
    """Made by `open_session`, which holds this machine's lock until it is closed."""

    options: RunOptions
    home: Home
    console: Console
    store: Store
    host: HostFacts
    _held: ExitStack
    hold_on: Callable[[], None]
    _engine: Engine | None = None
    _engine_name: str = ""
    is_timed: bool = True

    def claim(self, rows: Sequence[ImageRow], limits: Limits, planned: Sequence[str] = ()) -> None:
        """Lease the cards of `rows`, check the machine's load, open the engine.

        planned: warnings about the plan itself, a sentence each. Where nothing is timed only the engine is opened.
        Raises EngineError if a card is leased, the engine cannot be used, or there are warnings and --strict is given.
        """
        if self.is_timed:
            self._take_machine(rows, limits, planned)
        self._engine, self._engine_name = self._choose_engine()
        self._held.callback(self._engine.close)

    def _take_machine(self, rows: Sequence[ImageRow], limits: Limits, planned: Sequence[str]) -> None:
        cards = cards_for(rows, self.host)
        self._held.enter_context(lease(cards))
        self._end_orphans()
        warnings = [*machine_warnings(self.host, read_load(cards), int(limits.memory_gib * GIB)), *planned]
        warnings += [worker.warning for worker in running_workers()]
        if cards and self.host.gpu_note:
            self.console.say(f"note: {self.host.gpu_note}")
        if warnings and self.options.is_strict:
            raise EngineError(
                f"times on this machine would not be reliable, and --strict is given. {' '.join(warnings)}"
            )
        for warning in warnings:
            self.console.say(f"note: {warning}")

    def make(self, rows: Sequence[ImageRow]) -> Environments:
        """The environments of rows. Raises EngineError if none could be made."""
        return prepare(rows, self.engine, self.host, self.home, self.console)

    def begin(self, environments: Environments, plan: RunPlan) -> Run:
        """Write run.json, whole, and collect what the jobs share."""
        if plan.recorded:
            # Of a resumed run the load at its end would be that of its first end.
            host = plan.recorded.host.model_copy(update={"load_after": None})
            facts = plan.recorded.model_copy(update={**plan.now, "host": host})
        else:
            known = {**plan.facts, **plan.now, "argv": self.options.argv, "engine": self._engine_name}
            facts = new_run(plan.name, self.home, self.host, **known)
        source = snapshot(self.home)
        context = JobContext(
            engine=self.engine,
            store=self.store,
            run_dir=self.home.runs / facts.run_id,
            source=source,
            references=self.home.references / source.path.name,
            cpus=self.host.cpus[: plan.threads],
            processor=self.host.cpu_model,
            memory_bytes=int(plan.limits.memory_gib * GIB),
            timeout_seconds=plan.limits.trial_seconds,
            silent_seconds=plan.limits.silent_seconds,
            foreign_percent=plan.limits.foreign_percent,
            hold_on=self.hold_on,
        )
        recorded = self._recorded_jobs(plan.recorded) if plan.recorded else {}
        self.record(facts)
        return Run(facts, environments, context, recorded)

    @property
    def engine(self) -> Engine:
        """The engine that was claimed."""
        assert self._engine is not None, "claim comes first"
        return self._engine

    def prepared(self, row: ImageRow) -> Environment:
        """The environment of a row that the plan may not have. Raises EngineError if it cannot be made."""
        return self.engine.prepare(row, self.console.say)

    def peak(self, row: ImageRow, networks: Sequence[Network], threads: int) -> tuple[Peak, float | None]:
        """What this machine does at best in the environment of `row`, and the load beside it; see measure_peak."""
        environment = self.prepared(row)
        job = peak_job(environment, networks, threads)
        return measure_peak(environment, self.engine, self.home, job, self.host.cpus[:threads])

    def fit(self, row: ImageRow, network: Network, trial: Trial, memory_bytes: int) -> tuple[Outcome, int | None]:
        """Whether a few steps of `trial` fit into so much memory, and what they took; see environments.fit."""
        environment = self.prepared(row)
        job, cpus = fit_job(environment, network, trial), self.host.cpus[: trial.threads]
        return fit(environment, self.engine, self.home, job, cpus, memory_bytes)

    def export(self, row: ImageRow, network: Network, weights: TrainedWeights, taken: Mapping[str, Path]) -> float:
        """Write trained weights as files of the runtime of `row`; see export_model and export_job."""
        environment = self.prepared(row)
        job, start = export_job(environment, network, weights.sha256), path_of(weights, self.home)
        return export_model(environment, self.engine, self.home, job, start, taken)

    def _recorded_jobs(self, run: RunFacts) -> Mapping[int, Record]:
        """The jobs of the run's folder, which is the record: the store is made to agree with it."""
        folder = self.home.runs / run.run_id
        for sentence in self.store.ingest(folder).damaged:
            self.console.say(f"note: {sentence}")
        jobs, _ = RunFolder(folder).jobs()
        return {number: record for number, (_, record) in jobs.items()}

    def record(self, facts: RunFacts) -> None:
        """Write run.json and the store's row of it."""
        write_run(facts, self.home)
        self.store.add_run(facts)

    def end(self, run: Run, *, is_stopped: bool = False) -> RunFacts:
        """Record the machine's load at the end, and whether the user stopped it."""
        facts = record_final_load(run.facts.model_copy(update={"is_stopped": is_stopped}))
        self.record(facts)
        return facts

    def _end_orphans(self) -> None:
        """End workers of this home that outlived their run, which has ended, as its lock was free."""
        for worker in running_workers(self.home.root):
            self.console.say(f"note: process {worker.pid} is a worker of a run that has ended; it is stopped.")
            worker.end()

    def _choose_engine(self) -> tuple[Engine, str]:
        """The engine of the options and its name; without one docker, or virtualenv where no daemon answers."""
        asked = self.options.engine
        if asked is not None:
            return open_engine(asked, self.home, self.host), asked
        try:
            return open_engine("docker", self.home, self.host), "docker"
        except EngineError as error:
            self.console.say(f"{error} No engine was named, so the run uses the virtualenv engine.")
            return open_engine("virtualenv", self.home, self.host), "virtualenv"


@contextmanager
def open_session(options: RunOptions, home: Home, console: Console, *, is_timed: bool = True) -> Iterator[Session]:
    """Begin the only run of this machine; or, if nothing is timed in it, one that may be beside another.

    Raises LockedError if there is another, SpecError for an unknown card.
    """
    with ExitStack() as held:
        hold_on = held.enter_context(exclusive_run(home)) if is_timed else _nothing
        store = held.enter_context(Store.open(home.store_url))
        held.enter_context(signals_as_interrupt())
        host = narrowed(read_host(), options.gpus)
        yield Session(options, home, console, store, host, held, hold_on, is_timed=is_timed)


def _nothing() -> None:
    """Where no lock is held."""
