"""The use case: spec -> plan -> environments -> selfchecks -> trials -> store -> report; resume, stop, exit code."""

import fcntl
import itertools
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from orchestrator import data, report
from orchestrator.catalogue import Catalogue, ImageRow
from orchestrator.collect import Bench, Pictures
from orchestrator.course import Course
from orchestrator.engines import open_engine
from orchestrator.engines.engine import Engine
from orchestrator.engines.source import snapshot
from orchestrator.errors import EngineError, SpecError, StoreError
from orchestrator.home import Home
from orchestrator.host import GIB, HostFacts, read_host, read_load
from orchestrator.plan import Plan, expand
from orchestrator.progress import View
from orchestrator.spec import ExperimentSpec, load_spec
from orchestrator.store import Store, StoredRun
from orchestrator.trial import Environment
from orchestrator.wire import RUN, DataFacts, RunFacts, Skip, write_atomically

INTERRUPTED = 130


@dataclass(frozen=True)
class Request:
    """What `invoke sweep` was asked for.

    changes: dotted path into the spec -> value, from flags.
    engine:  None takes docker, or virtualenv where no daemon answers.
    resume:  a run to go on with ('latest' or its id); its recorded spec and engine are used.
    """

    spec_path: Path
    changes: Mapping[str, Any] = field(default_factory=dict)
    engine: str | None = None
    resume: str | None = None
    allow_unverified: bool = False
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """How a sweep ended: its run, its report, what the command should exit with."""

    stored: StoredRun
    report: Path
    exit_code: int


def outline(request: Request, catalogue: Catalogue) -> tuple[str, list[dict[str, object]]]:
    """A title and a row per trial and per skip, for `--dry-run`: nothing is started, made or written."""
    spec = load_spec(request.spec_path, catalogue.frameworks, request.changes)
    plan = expand(spec, catalogue, read_host())
    rows: list[dict[str, object]] = [
        {"cell": trial.label, "plan": "run", "epochs": trial.training.epochs, "threads": trial.threads, "reason": ""}
        for trial in plan.trials
    ]
    rows += [
        {"cell": skip.label, "plan": "skip", "epochs": None, "threads": None, "reason": skip.reason}
        for skip in plan.skips
    ]
    return f"{spec.name}: {len(plan.trials)} trials, {len(plan.skips)} cells skipped", rows


def ingest(home: Home, view: View) -> int:
    """Make the store again from all run folders; 1 if any folder could not be read."""
    with Store.open(home.store_url) as store:
        read = store.rebuild(home.runs, view.say)
    for sentence in read.damaged:
        view.say(sentence)
    view.say(f"{read.jobs} jobs of {read.runs} runs are in the store; {len(read.damaged)} folders could not be read")
    return 1 if read.damaged else 0


def render_again(run_id: str | None, home: Home, reports: Path) -> Path:
    """The report of a run, the newest by default, from the store. Raises StoreError if there is no such run."""
    with Store.open(home.store_url) as store:
        newest = store.latest_run()
        if newest is None:
            raise StoreError(f"the store of {home.root} holds no run. Fill it from the run folders with: invoke ingest")
        stored = store.run(run_id or newest.run_id)
    return report.render(stored, reports / stored.facts.run_id, home)


def sweep(request: Request, catalogue: Catalogue, home: Home, reports: Path, view: View) -> Result:
    """Run every trial of the spec and render the report; what is done stays done, whatever stops the rest.

    Raises WaymarkError for what stops the whole sweep; a trial that fails is a row.
    """
    with _alone(home), Store.open(home.store_url) as store:
        run = _resumed(request, home) if request.resume else None
        host = read_host()
        spec = _spec_of(run) if run else load_spec(request.spec_path, catalogue.frameworks, request.changes)
        plan = expand(spec, catalogue, host)
        for skip in plan.skips:
            view.say(f"skipped {skip.label}: {skip.reason}")
        if not plan.trials:
            raise SpecError(f"{request.spec_path}: none of its cells can run here; `--dry-run` lists the reasons.")
        engine, name = _engine(run.engine if run else request.engine, home, host, view)
        try:
            pictures, facts = _pictures(spec, plan, home, view)
            environments, failed = _environments(plan, engine, view)
            skips = (*plan.skips, *failed)
            run = run.model_copy(update={"skips": skips}) if run else _new_run(request, spec, host, name, skips, home)
            _write_run(run, home)
            store.add_run(run)
            source = snapshot(home)
            bench = Bench(
                engine=engine,
                store=store,
                run_dir=home.runs / run.run_id,
                source=source.path,
                cpus=host.cpus[: plan.trials[0].threads],
                memory_bytes=int(spec.limits.memory_gib * GIB),
                timeout_seconds=spec.limits.trial_seconds,
            )
            course = Course(run.run_id, bench, source, environments, pictures, facts, request.allow_unverified, view)
            with _sigterm_as_interrupt():
                is_interrupted = course.run(plan)
        finally:
            engine.close()
        stored = store.run(run.run_id)
        page = report.render(stored, reports / run.run_id, home)
        if is_interrupted:
            view.say(f"stopped; what is done is kept. Go on with: invoke sweep --resume={run.run_id}")
        return Result(stored, page, INTERRUPTED if is_interrupted else _exit_code(stored, failed))


def _spec_of(run: RunFacts) -> ExperimentSpec:
    """The spec that a run recorded."""
    return ExperimentSpec.model_validate(run.spec, strict=False)


def _resumed(request: Request, home: Home) -> RunFacts:
    names = sorted(path.parent.name for path in home.runs.glob(f"*/{RUN}"))
    if not names:
        raise StoreError(
            f"{home.runs} holds no run to resume. Start one with: invoke sweep --spec=experiments/quick.json"
        )
    name = names[-1] if request.resume == "latest" else str(request.resume)
    if name not in names:
        raise StoreError(f"there is no run '{name}' to resume. The newest are: {', '.join(names[-3:])}.")
    return RunFacts.model_validate_json((home.runs / name / RUN).read_text())


def _engine(asked: str | None, home: Home, host: HostFacts, view: View) -> tuple[Engine, str]:
    if asked is not None:
        return open_engine(asked, home, host), asked
    try:
        return open_engine("docker", home, host), "docker"
    except EngineError as error:
        view.say(f"{error} No engine was named, so this sweep uses the virtualenv engine.")
        return open_engine("virtualenv", home, host), "virtualenv"


def _pictures(
    spec: ExperimentSpec, plan: Plan, home: Home, view: View
) -> tuple[dict[int, Pictures], dict[int, DataFacts]]:
    sizes = sorted({trial.input_size for trial in plan.trials})
    with view.counting("preparing pictures") as progress:
        prepared = data.prepare(spec.dataset, sizes, home, progress)
    pictures, facts = {}, {}
    for size, entry in prepared.items():
        data.verify(entry)
        split = data.split(entry, spec.dataset)
        pictures[size] = Pictures(entry.path, split)
        facts[size] = data.facts(entry, split)
    one = facts[sizes[0]]
    view.say(
        f"pictures: {spec.dataset.name} ({one.recognised}), {one.train_pictures:,} to train, "
        f"{one.valid_pictures:,} to validate, {one.test_pictures:,} to test; {one.split_note}"
    )
    return pictures, facts


def _environments(
    plan: Plan, engine: Engine, view: View
) -> tuple[dict[tuple[str, str, str], Environment], tuple[Skip, ...]]:
    """Every environment that could be made; and a skip for each cell whose environment could not."""
    made: dict[tuple[str, str, str], Environment] = {}
    failed: list[Skip] = []
    for row in plan.rows:
        try:
            made[row.framework, row.variant, row.device] = engine.prepare(row, view.say)
        except EngineError as error:
            view.say(str(error))
            failed += _without(plan, row, str(error))
    if not made:
        raise EngineError(f"no environment of this sweep could be made; the last reason: {failed[-1].reason}")
    return made, tuple(failed)


def _without(plan: Plan, row: ImageRow, reason: str) -> list[Skip]:
    cells = {
        trial.cell: Skip(
            label=f"{trial.subject} {trial.cell} {trial.device}",
            framework=trial.framework,
            variant=trial.variant,
            cell=trial.cell,
            device=trial.device,
            reason=reason,
        )
        for trial in plan.trials
        if (trial.framework, trial.variant, trial.device) == (row.framework, row.variant, row.device)
    }
    return list(cells.values())


def _new_run(
    request: Request, spec: ExperimentSpec, host: HostFacts, engine: str, skips: tuple[Skip, ...], home: Home
) -> RunFacts:
    began = datetime.now(UTC)
    run_id = name = f"{began:%Y%m%d-%H%M%S}-{spec.name}"
    same_second = itertools.count(2)
    while (home.runs / run_id).exists():
        run_id = f"{name}-{next(same_second)}"
    run = RunFacts(
        run_id=run_id,
        started_unix=began.timestamp(),
        waymark_version=version("waymark"),
        argv=request.argv,
        engine=engine,
        spec=spec.model_dump(mode="json", by_alias=True),
        host={**host.model_dump(mode="json"), "load": read_load().model_dump(mode="json")},
        skips=skips,
    )
    (home.runs / run.run_id).mkdir(parents=True)
    return run


def _write_run(run: RunFacts, home: Home) -> None:
    """What a run leaves out may differ when it is resumed: an image that failed to build may build now."""
    write_atomically(home.runs / run.run_id / RUN, run.model_dump_json(indent=1) + "\n")


def _exit_code(stored: StoredRun, failed: tuple[Skip, ...]) -> int:
    """0 only if no trial failed for our fault: a framework that cannot is a result, a broken machine is not."""
    ours = [trial for trial in stored.trials if trial.outcome.fault in ("environment", "unknown")]
    return 1 if ours or failed else 0


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Hold this machine's sweep lock: two sweeps side by side would time each other."""
    home.root.mkdir(parents=True, exist_ok=True)
    with (home.root / "sweep.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(
                "another sweep is running on this machine, and two at once would time each other. "
                "Wait for it to end, or stop it with Ctrl-C."
            ) from None
        yield


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """`kill` and a CI's timeout end a sweep as Ctrl-C does: the container is stopped, what is done is kept."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
