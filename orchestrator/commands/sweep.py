"""The use case: spec -> plan -> environments -> selfchecks -> trials -> store -> report; resume, stop, exit code."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator import data, report
from orchestrator.analysis import comparison
from orchestrator.console.progress import View
from orchestrator.engines.source import snapshot
from orchestrator.errors import SpecError, StoreError
from orchestrator.execution.environments import EnvironmentKey, prepare
from orchestrator.execution.job_runner import Bench, Pictures
from orchestrator.execution.locks import alone, lease, sigterm_as_interrupt
from orchestrator.execution.run_record import look_back, new_run, write_run
from orchestrator.execution.session import as_installed, choose_engine, look_around
from orchestrator.execution.trial_runner import Course
from orchestrator.home import Home
from orchestrator.host import GIB, read_host
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.gpu_fit import cards_for, narrowed
from orchestrator.planning.plan import Plan, crowded, expand
from orchestrator.planning.spec import ExperimentSpec, load_spec
from orchestrator.records.run_folder import RUN, DataFacts, RunFacts, Skip
from orchestrator.records.store import Store, StoredRun
from orchestrator.report import Section
from orchestrator.trial import Dataset, Outcome

INTERRUPTED = 130


@dataclass(frozen=True)
class Request:
    """What `invoke sweep` was asked for.

    changes: dotted path into the spec -> value, from flags.
    engine:  None takes docker, or virtualenv where no daemon answers.
    resume:  a run to go on with ('latest' or its id); its recorded spec and engine are used.
    arms:    the two subjects that the sweep is made to compare, if it is.
    gpus:    the cards to take, by number; none means any. Each row runs on the first of them that it was built for.
    is_strict: refuse a machine on which times would not be trustworthy.
    """

    spec_path: Path
    changes: Mapping[str, Any] = field(default_factory=dict)
    engine: str | None = None
    resume: str | None = None
    allow_unverified: bool = False
    argv: tuple[str, ...] = ()
    arms: tuple[str, str] | None = None
    is_strict: bool = False
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Result:
    """How a sweep ended: its run, its report, what the command should exit with, and the answers to what it asked."""

    stored: StoredRun
    report: Path
    exit_code: int
    studies: Sequence[Section] = ()


def outline(request: Request, catalogue: Catalogue) -> tuple[str, list[dict[str, object]]]:
    """A title and a row per trial and per skip, for `--dry-run`: nothing is started, made or written."""
    catalogue, changes = as_installed(request.engine, catalogue, request.changes)
    spec = load_spec(request.spec_path, catalogue.frameworks, changes)
    plan = expand(spec, catalogue, narrowed(read_host(), request.gpus))
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
        newest = store.latest_sweep()
        if newest is None:
            raise StoreError(f"the store of {home.root} holds no run. Fill it from the run folders with: invoke ingest")
        return _render(store, run_id or newest.run_id, home, reports).report


def sweep(request: Request, catalogue: Catalogue, home: Home, reports: Path, view: View) -> Result:
    """Run every trial of the spec and render the report; what is done stays done, whatever stops the rest.

    Raises WaymarkError for what stops the whole sweep; a trial that fails is a row.
    """
    with alone(home), Store.open(home.store_url) as store, ExitStack() as held:
        run = _resumed(request, home) if request.resume else None
        host = narrowed(read_host(), request.gpus)
        asked = run.engine if run else request.engine
        catalogue, changes = as_installed(asked, catalogue, request.changes)
        spec = _spec_of(run) if run else load_spec(request.spec_path, catalogue.frameworks, changes)
        plan = expand(spec, catalogue, host)
        for skip in plan.skips:
            view.say(f"skipped {skip.label}: {skip.reason}")
        if not plan.trials:
            raise SpecError(f"{request.spec_path}: none of its cells can run here; `--dry-run` lists the reasons.")
        cards = cards_for(plan.rows, host)
        held.enter_context(lease(cards))
        look_around(host, cards, int(spec.limits.memory_gib * GIB), crowded(plan, host), request.is_strict, view)
        engine, name = choose_engine(asked, home, host, view)
        try:
            pictures = _pictures(plan, home, view)
            environments, failures = prepare(plan.rows, engine, host, home, view)
            failed = _without(plan, failures)
            run = run or new_run(
                spec.name,
                home,
                host,
                argv=request.argv,
                engine=name,
                spec=spec.model_dump(mode="json", by_alias=True),
                arms=request.arms,
                study=spec.study,
                pairs=spec.pairs,
            )
            run = run.model_copy(update={"skips": (*plan.skips, *failed)})
            write_run(run, home)
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
            course = Course(run.run_id, bench, source, environments, pictures, request.allow_unverified, view)
            with sigterm_as_interrupt():
                is_interrupted = course.run(plan)
            run = look_back(run)
            write_run(run, home)
            store.add_run(run)
        finally:
            engine.close()
        result = _render(store, run.run_id, home, reports)
        if is_interrupted:
            view.say(f"stopped; what is done is kept. Go on with: invoke sweep --resume={run.run_id}")
        return replace(result, exit_code=INTERRUPTED if is_interrupted else _exit_code(result.stored, failures))


def _render(store: Store, run_id: str, home: Home, reports: Path) -> Result:
    stored = store.run(run_id)
    is_judged = stored.facts.arms or stored.facts.study or stored.facts.pairs
    hostname = str(stored.facts.host.get("hostname_sha256"))
    floors = comparison.noise_floors(store, hostname) if is_judged else comparison.Floors()
    studies = report.answers(stored, floors)
    return Result(stored, report.render(stored, reports / run_id, home, floors, studies), 0, studies)


def _spec_of(run: RunFacts) -> ExperimentSpec:
    """The spec that a run recorded."""
    return ExperimentSpec.model_validate(run.spec, strict=False)


def _resumed(request: Request, home: Home) -> RunFacts:
    runs = {path.parent.name: path for path in sorted(home.runs.glob(f"*/{RUN}"), reverse=True)}
    for name, path in runs.items():
        if request.resume in (name, "latest"):
            run = RunFacts.model_validate_json(path.read_text())
            if run.kind == "sweep":
                return run
    if request.resume == "latest":
        raise StoreError(
            f"{home.runs} holds no run to resume. Start one with: invoke sweep --spec=experiments/quick.json"
        )
    raise StoreError(f"there is no sweep '{request.resume}' to resume. The newest runs are: {', '.join([*runs][:3])}.")


def _pictures(plan: Plan, home: Home, view: View) -> dict[tuple[int, Dataset], tuple[Pictures, DataFacts]]:
    """What the trials will read, prepared and read again, by input size and data set."""
    found: dict[tuple[int, Dataset], tuple[Pictures, DataFacts]] = {}
    for dataset in dict.fromkeys(trial.dataset for trial in plan.trials):
        sizes = sorted({trial.input_size for trial in plan.trials if trial.dataset == dataset})
        with view.counting("preparing pictures") as progress:
            prepared = data.prepare(dataset, sizes, home, progress)
        for size, entry in prepared.items():
            data.verify(entry)
            split = data.split(entry, dataset)
            found[size, dataset] = Pictures(entry.path, split), data.facts(entry, split)
        _, one = found[sizes[0], dataset]
        view.say(
            f"pictures: {dataset.name} ({one.recognised}){'' if dataset.clahe else ' without CLAHE'}, "
            f"{one.train_pictures:,} to train, {one.valid_pictures:,} to validate, {one.test_pictures:,} to test; "
            f"{one.split_note}"
        )
    return found


def _without(plan: Plan, failures: Mapping[EnvironmentKey, Outcome]) -> tuple[Skip, ...]:
    """A skip for each cell whose environment could not be made, or does not compute here."""
    reasons = {
        key: f"unsupported: {outcome.reason}" if outcome.status == "unsupported" else outcome.reason
        for key, outcome in failures.items()
    }
    cells = {
        f"{trial.subject} {trial.cell} {trial.device}": (trial, reasons[key])
        for trial in plan.trials
        if (key := (trial.framework, trial.variant, trial.device)) in reasons
    }
    return tuple(
        Skip(
            label=label,
            framework=trial.framework,
            variant=trial.variant,
            cell=trial.cell,
            device=trial.device,
            reason=reason,
        )
        for label, (trial, reason) in cells.items()
    )


def _exit_code(stored: StoredRun, failures: Mapping[EnvironmentKey, Outcome]) -> int:
    """0 only if no trial failed for our fault: a framework that cannot is a result, a broken machine is not."""
    outcomes = [*(trial.outcome for trial in stored.trials), *failures.values()]
    return 1 if any(outcome.fault in ("environment", "unknown") for outcome in outcomes) else 0
