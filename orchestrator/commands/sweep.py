"""`invoke sweep`: from the spec to the report; also resuming, Ctrl-C and the exit code."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator import data
from orchestrator.analysis.noise import noise_floors
from orchestrator.console.progress import Console
from orchestrator.engines import images, open_builder, rows_of
from orchestrator.environment import Device
from orchestrator.errors import EngineError, SpecError
from orchestrator.execution import weights as trained
from orchestrator.execution.audits import Auditor
from orchestrator.execution.environments import Environments
from orchestrator.execution.forecast import forecast, forecast_checks
from orchestrator.execution.job_runner import TrialData
from orchestrator.execution.looks import ComparisonLooks, Looks, ScoutLooks
from orchestrator.execution.run_record import recorded_run
from orchestrator.execution.session import RunOptions, RunPlan, Session, open_session
from orchestrator.execution.trial_runner import TrialRunner
from orchestrator.home import Home
from orchestrator.host import machine_keys, read_host
from orchestrator.planning.catalogue import BEST, Catalogue
from orchestrator.planning.gpu_fit import narrowed
from orchestrator.planning.image_row import ImageRow
from orchestrator.planning.narrowing import load_cells
from orchestrator.planning.plan import Order, Plan, datasets_of, expand, oversubscribed, skip_of, training_of
from orchestrator.planning.spec import ExperimentSpec, InferenceAxes, recorded_spec
from orchestrator.records.limit import Limit, limit_of, read_limits
from orchestrator.records.run_folder import RunFacts, Skip, TrainedWeights, Until
from orchestrator.records.store import Store
from orchestrator.report import Report, require_writable, write_report
from orchestrator.trial import ORACLE, Dataset, Model, SubjectPair, Trial

INTERRUPTED = 130


@dataclass(frozen=True)
class SweepRequest:
    """The arguments of `invoke sweep`.

    changes:  dotted path into the spec -> value, from flags.
    cells:    only these of the spec; () for all.
    resume:   a run to continue ('latest' or its id); its recorded spec and engine are used.
    compared: the two subjects of an `invoke compare`.
    until:    when that has pairs enough, or a scout turns enough; None for a fixed number of them.
    is_scout: its changes are those of a scout; the run says so.
    weights:  of an inference: the run whose weights its subjects run; '' for the newest that has them.
    """

    spec_path: Path
    changes: Mapping[str, Any] = field(default_factory=dict)
    cells: tuple[str, ...] = ()
    resume: str | None = None
    compared: SubjectPair | None = None
    until: Until | None = None
    is_scout: bool = False
    weights: str = ""
    options: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep: its run with the report, and the exit code."""

    report: Report
    exit_code: int


def outline(request: SweepRequest, catalogue: Catalogue, home: Home) -> tuple[str, list[dict[str, object]]]:
    """A title and a row per selfcheck, trial and skip, for `--dry-run`: nothing is started, made or written."""
    request, recorded = _resumed(request, home, lambda line: None)
    spec, rows_here = _asked(request, catalogue, recorded)
    host = narrowed(read_host(), request.options.gpus)
    known = _known_weights(request, spec, recorded, home)[0]
    plan = expand(spec, rows_here, host, _order(request, recorded), trained.hashes(known))
    done = _done(recorded, home)
    to_run = [trial for trial in plan.trials if _asked_key(trial) not in done]
    expected = dict(zip(map(_asked_key, to_run), forecast(to_run, home), strict=True))
    checks = forecast_checks(to_run, home, host.cpu_model)
    rows = [_row(one.request.label, "check", minutes=one.seconds / 60, reason=one.basis) for one in checks]
    for trial in plan.trials:
        key = _asked_key(trial)
        seconds, what = expected.get(key), "run" if key in expected else "done"
        epochs = None if trial.inference else trial.training.epochs
        rows.append(_row(trial.label, what, epochs, trial.threads, None if seconds is None else seconds / 60))
    rows += [_row(skip.label, "skip", reason=skip.reason) for skip in plan.skips]
    rows += [_row(label, "absent", reason=reason) for label, reason in _without_base(request, plan, to_run, home)]
    made = sum(one.seconds for one in checks)
    already = f" ({len(plan.trials) - len(to_run)} of them done)" if done else ""
    title = (
        f"{spec.name}: {len(plan.trials)} trials{already}, {len(plan.skips)} cells skipped; "
        f"{_duration(list(expected.values()))}; "
        f"selfchecks before them: {f'about {_time(made)}' if made else 'none to make'}"
        f"{f'; {host.gpu_note}' if host.gpu_note and host.gpus else ''}"
        f"{'' if recorded else '; a run draws an order of its own'}"
    )
    return title, rows


def _without_base(request: SweepRequest, plan: Plan, to_run: Sequence[Trial], home: Home) -> Iterator[tuple[str, str]]:
    """Rows of trials whose image cannot be built: their label, and why. Nothing where no Docker is asked or answers."""
    keys = {trial.environment_key for trial in to_run}
    wanted = [row for row in plan.rows if row.key in keys]
    if request.options.engine not in (None, "docker"):
        return
    try:
        builder = open_builder()
    except EngineError:
        return
    with closing(builder):
        for base, (why, rows) in images.absent_bases(builder, wanted, home).items():
            for row in rows:
                said = f"stands on {base}, which is not here and cannot be pulled ({why})."
                yield row.label, f"{said} {images.base_advice(base)}"


def _row(
    cell: str,
    plan: str,
    epochs: int | None = None,
    threads: int | None = None,
    minutes: float | None = None,
    reason: str = "",
) -> dict[str, object]:
    return {"cell": cell, "plan": plan, "epochs": epochs, "threads": threads, "minutes": minutes, "reason": reason}


def _done(recorded: RunFacts | None, home: Home) -> set[tuple[str, str]]:
    """Key and variant of the trials of a recorded run that ended ok: a resumed run does not repeat them.

    Unless its environment, pictures or worker code changed, which only the run itself can know.
    """
    if recorded is None:
        return set()
    with Store.open(home.store_url) as store:
        trials = [record.trial for record in store.ok_records(recorded.run_id)]
    return {_asked_key(trial) for trial in trials if trial is not None}


def _asked_key(trial: Trial) -> tuple[str, str]:
    """What a plan has once, and a resumed run does not repeat."""
    return trial.key, trial.variant


def _duration(expected: Sequence[float | None]) -> str:
    """'about 3.2 h by records of this machine', of those trials that are known."""
    if not expected:
        return "nothing is left to run"
    known = [seconds for seconds in expected if seconds is not None]
    if not known:
        return "how long they take is not known: `--scout` measures it"
    unknown = len(expected) - len(known)
    more = f", without {unknown} that have none (`--scout`)" if unknown else ""
    return f"about {_time(sum(known))} by records of this machine{more}"


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 3600 else f"{seconds / 60:.0f} min"


def sweep(request: SweepRequest, catalogue: Catalogue, home: Home, reports: Path, console: Console) -> SweepResult:
    """Run every trial of the spec and render the report; finished trials are kept if the sweep is stopped.

    Raises WaymarkError for what stops the whole sweep; a trial that fails is a row.
    """
    request, recorded = _resumed(request, home, console.say)
    require_writable(reports)
    spec, rows_here = _asked(request, catalogue, recorded)
    weights = _weights(request, spec, recorded, catalogue, home, reports, console)
    with open_session(request.options, home, console) as session:
        order = _order(request, recorded, secrets.randbelow(2**32))
        plan = expand(spec, rows_here, session.host, order, trained.hashes(weights))
        for skip in plan.skips:
            console.say(f"skipped {skip.label}: {skip.reason}")
        if not plan.trials:
            raise SpecError(f"{request.spec_path}: none of its cells can run here; `--dry-run` lists the reasons.")
        session.claim(plan.rows, spec.limits, oversubscribed(plan, session.host))
        trial_data = _trial_data(plan, home, console)
        limit = limit_of(read_limits(home.limits), machine_keys(), plan.trials[0].threads)
        run_plan = _run_plan(spec, plan, order, request, recorded, _best(spec, rows_here), limit)
        run_plan = replace(run_plan, facts={**run_plan.facts, "weights": tuple(weights)})
        run = session.begin(plan.rows, run_plan)
        skips = (*plan.skips, *_skipped(plan, run.environments))
        # Of a resumed run the load at its end is that of its first end.
        going_on = run.facts.host.model_copy(update={"load_after": None})
        begun = {"skips": skips, "planned": len(plan.trials), "is_stopped": False, "host": going_on}
        run = replace(run, facts=run.facts.model_copy(update=begun))
        session.record(run.facts)
        looks = _looks(session, run.facts, plan)
        files = trained.paths(weights, home)
        runner = TrialRunner(run, trial_data, request.options.allow_unverified, console, looks, files)
        is_interrupted = runner.run_all(plan)
        oracle = partial(session.prepared, _oracle_row(catalogue, rows_here))
        is_interrupted = is_interrupted or Auditor(run, trial_data, oracle, console).run_all()
        run = replace(run, facts=run.facts.model_copy(update={"is_stopped": is_interrupted}))
        session.end(run)
        return _ended(session, run.facts, run.environments, is_interrupted, reports)


def _resumed(request: SweepRequest, home: Home, say: Callable[[str], None]) -> tuple[SweepRequest, RunFacts | None]:
    """The request with the recorded engine, and the run that it resumes; the request as it is for a new run."""
    if not request.resume:
        return request, None
    recorded = recorded_run(request.resume, home, say)
    return replace(request, options=replace(request.options, engine=recorded.engine)), recorded


def _asked(
    request: SweepRequest, catalogue: Catalogue, recorded: RunFacts | None = None
) -> tuple[ExperimentSpec, Catalogue]:
    """The spec, from its file or from a recorded run, and the rows of the catalogue that the engine knows."""
    rows_here, changes = rows_of(request.options.engine, catalogue), request.changes
    if recorded:
        spec = recorded_spec(recorded.spec, f"the spec in run.json of {recorded.run_id}")
        return spec, rows_here.with_best(recorded.best)
    if rows_here is not catalogue:  # the engine has its own variants, not those of the spec
        changes = {"axes.variants": {}, **changes}
    return load_cells(request.spec_path, rows_here.frameworks, changes, request.cells), rows_here


def _weights(
    request: SweepRequest,
    spec: ExperimentSpec,
    recorded: RunFacts | None,
    catalogue: Catalogue,
    home: Home,
    reports: Path,
    console: Console,
) -> Sequence[TrainedWeights]:
    """The weights that the networks of an inference run; those that no run has left are trained first.

    Raises SpecError if a named run lacks some, or they cannot be trained.
    """
    found, missing = _known_weights(request, spec, recorded, home)
    if missing:
        names = ", ".join(dict.fromkeys(want.label for want in missing))
        if request.weights:
            raise SpecError(f"run {request.weights} has left no weights of {names} on this data; leave out --weights.")
        console.say(f"no run on record has trained {names} so; that is done first")
        if sweep(_training_of(request, spec, missing), catalogue, home, reports, console).exit_code == INTERRUPTED:
            raise KeyboardInterrupt
        found, missing = _known_weights(request, spec, recorded, home)
    if missing:
        names = ", ".join(dict.fromkeys(want.label for want in missing))
        raise SpecError(f"{names} could not be trained, so there is nothing to run; its report says why.")
    for one in found:
        accuracy = "" if one.accuracy is None else f", test accuracy {one.accuracy:.4f}"
        console.say(f"weights of {one.model.label}@{one.input_size}: {one.subject} in run {one.run_id}{accuracy}")
    return found


def _known_weights(
    request: SweepRequest, spec: ExperimentSpec, recorded: RunFacts | None, home: Home
) -> tuple[Sequence[TrainedWeights], Sequence[trained.Wanted]]:
    """The weights on record for the networks of an inference, and what has none; of a resumed run its own."""
    if spec.kind != "infer":
        if request.weights:
            raise SpecError(f"--weights is for a spec that runs networks; {request.spec_path} trains them.")
        return (), ()
    if request.is_scout:
        raise SpecError(f"--scout tells how long a training takes; {request.spec_path} runs networks. Leave it out.")
    if recorded is not None:
        return recorded.weights, ()
    framework = (spec.inference or InferenceAxes()).trained_with
    wanted = [
        trained.Wanted(entry.model, size, dataset, None if request.weights else training_of(spec, entry, framework))
        for entry in spec.axes.models
        for size in entry.input_sizes or spec.axes.input_sizes
        for dataset in datasets_of(spec)
    ]
    return trained.find(wanted, home, request.weights)


def _training_of(request: SweepRequest, spec: ExperimentSpec, missing: Sequence[trained.Wanted]) -> SweepRequest:
    """The sweep that trains these networks."""
    axes = spec.inference or InferenceAxes()
    sizes: dict[Model, set[int]] = {}
    for want in missing:
        sizes.setdefault(want.model, set()).add(want.input_size)
    changes = {
        **request.changes,
        "name": f"{spec.name[:50]}-weights",
        "kind": "train",
        "inference": None,
        "pairs": [],
        "study": None,
        "axes.frameworks": [axes.trained_with],
        "axes.variants": {},
        "axes.repeats": 1,
        "axes.seeds": spec.axes.seeds[:1],
        "axes.models": [
            {**entry.model_dump(mode="json", exclude_none=True), "input_sizes": sorted(sizes[entry.model])}
            for entry in spec.axes.models
            if entry.model in sizes
        ],
    }
    return replace(request, changes=changes, cells=(), compared=None, until=None)


def _oracle_row(catalogue: Catalogue, rows_here: Catalogue) -> ImageRow:
    """The oracle's row, of the engine if it has one."""
    found = rows_here.rows(frameworks=(ORACLE,), device="cpu") if ORACLE in rows_here.frameworks else ()
    return found[0] if found else catalogue.resolve(ORACLE, "cpu")


def _order(request: SweepRequest, recorded: RunFacts | None, seed: int = 0) -> Order:
    """That of the recorded run, or a new one: a plan that is only shown has one of many."""
    compared = recorded.compared if recorded else request.compared
    return Order(recorded.order_seed if recorded else seed, runs_together=2 if compared else 1)


def _looks(session: Session, run: RunFacts, plan: Plan) -> Looks | None:
    """What decides how many pairs or turns are run; None if that is fixed. Says what the pairs can find."""
    if run.is_scout:
        return ScoutLooks(session.store, run, session.console)
    if run.compared is None:
        return None
    floors = noise_floors(session.store.comparisons_before(run))
    cells = {trial.cell for trial in plan.trials}
    framework = plan.trials[0].framework
    for device in sorted({cell.device for cell in cells}):
        session.console.say(floors.power_words((framework, device), _pairs_planned(plan, run)))
    return ComparisonLooks(session.store, run, len(cells), floors, session.console) if run.until else None


def _pairs_planned(plan: Plan, run: RunFacts) -> int:
    """Of each cell, at most; a pair of a control is two repeats."""
    repeats = max(trial.repeat for trial in plan.trials) + 1
    return repeats // 2 if run.compared and run.compared[0] == run.compared[1] else repeats


def _run_plan(
    spec: ExperimentSpec,
    plan: Plan,
    order: Order,
    request: SweepRequest,
    recorded: RunFacts | None,
    best: Mapping[str, Mapping[Device, str]],
    limit: Limit | None,
) -> RunPlan:
    facts = {
        "spec": spec.model_dump(mode="json", by_alias=True),
        "compared": request.compared,
        "until": request.until,
        "order_seed": order.seed,
        "study": spec.study,
        "league": spec.league,
        "is_scout": request.is_scout,
        "pairs": spec.pairs,
        "best": best,
        "limit": limit,
        "labels": {trial.model.name: trial.model.family for trial in plan.trials},
    }
    return RunPlan(spec.name, plan.trials[0].threads, spec.limits, facts, recorded)


def _best(spec: ExperimentSpec, rows_here: Catalogue) -> dict[str, dict[Device, str]]:
    """What `best` stands for in this run, so that it stands for the same when the run is resumed."""
    return {name: rows_here.best[name] for name in spec.axes.frameworks if BEST in spec.axes.variants_of(name)}


def _trial_data(plan: Plan, home: Home, console: Console) -> dict[tuple[int, Dataset], TrialData]:
    """The data of the trials, prepared and verified, by input size and data set."""
    found: dict[tuple[int, Dataset], TrialData] = {}
    for dataset in dict.fromkeys(trial.dataset for trial in plan.trials):
        sizes = sorted({trial.input_size for trial in plan.trials if trial.dataset == dataset})
        with console.counting("preparing pictures") as progress:
            prepared = data.prepare(dataset, sizes, home, progress)
        for size, entry in prepared.items():
            data.verify(entry)
            split = data.split(entry, dataset)
            found[size, dataset] = TrialData(entry.path, split, data.facts(entry, split))
        one = found[sizes[0], dataset].facts
        console.say(
            f"pictures: {dataset.name} ({one.recognised}){'' if dataset.clahe else ' without CLAHE'}, "
            f"{one.train_pictures:,} to train, {one.valid_pictures:,} to validate, {one.test_pictures:,} to test; "
            f"{one.split_note}"
        )
    return found


def _skipped(plan: Plan, environments: Environments) -> Sequence[Skip]:
    """A skip for each cell whose environment could not be made or does not work here."""
    reasons = {
        key: f"unsupported: {outcome.reason}" if outcome.status == "unsupported" else outcome.reason
        for key, outcome in environments.failed.items()
    }
    skips = {
        (trial.environment_key, trial.cell): skip_of(trial, reasons[trial.environment_key])
        for trial in plan.trials
        if trial.environment_key in reasons
    }
    return tuple(skips.values())


def _ended(
    session: Session, facts: RunFacts, environments: Environments, is_interrupted: bool, reports: Path
) -> SweepResult:
    """Exit code 0 only if no trial failed because of waymark or the machine; a failure of the framework is a result."""
    report = write_report(session.store, facts.run_id, session.home, reports)
    if is_interrupted:
        session.console.say(
            f"stopped; what is done is kept. Continue with: invoke sweep --resume={facts.run_id}",
        )
        return SweepResult(report, INTERRUPTED)
    outcomes = [*(trial.outcome for trial in report.stored.trials), *environments.failed.values()]
    is_ours = any(outcome.fault in ("environment", "unknown") for outcome in outcomes)
    return SweepResult(report, 1 if is_ours else 0)
