"""`invoke sweep`: ask, plan, prepare, run, tell; each stage takes what the one before it gave."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from orchestrator import data
from orchestrator.analysis.noise import noise_floors
from orchestrator.console.progress import Console
from orchestrator.data import datasets
from orchestrator.dataset import STUDY_FILTERS, Dataset
from orchestrator.environment import Device
from orchestrator.errors import SpecError
from orchestrator.execution import weights as trained
from orchestrator.execution.asking import Asked, SweepRequest, ask, labels_of, plan_of, training_first
from orchestrator.execution.audits import Auditor
from orchestrator.execution.environments import Environments
from orchestrator.execution.job_runner import TrialData
from orchestrator.execution.looks import ComparisonLooks, Looks, ScoutLooks
from orchestrator.execution.session import Run, RunPlan, Session, open_session
from orchestrator.execution.trial_runner import TrialRunner
from orchestrator.home import Home
from orchestrator.host import machine_keys
from orchestrator.networks import InputSize
from orchestrator.planning.catalogue import BEST, Catalogue
from orchestrator.planning.image_row import ImageRow
from orchestrator.planning.plan import Plan, oversubscribed, skip_of
from orchestrator.planning.spec import ExperimentSpec
from orchestrator.records.limit import limit_of, read_limits
from orchestrator.records.run_folder import RunFacts, Skip
from orchestrator.report import Report, require_writable, write_report
from orchestrator.staging import staged
from orchestrator.trial import ORACLE

__all__ = ["INTERRUPTED", "SweepRequest", "SweepResult", "sweep"]

INTERRUPTED = 130


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep: its run with the report, and the exit code."""

    report: Report
    exit_code: int


@dataclass(frozen=True)
class _Prepared:
    """A run that has begun, with all that its trials need."""

    asked: Asked
    plan: Plan
    run: Run
    data: Mapping[tuple[InputSize, Dataset], TrialData]
    oracle: ImageRow
    starts: Mapping[str, Path]


def sweep(request: SweepRequest, catalogue: Catalogue, home: Home, reports: Path, console: Console) -> SweepResult:
    """Run every trial of the spec and render the report; finished trials are kept if the sweep is stopped.

    Networks that are run and that nobody has trained yet are trained first, by a run of their own.
    Raises WaymarkError for what stops the whole sweep; a trial that fails is a row.
    """
    require_writable(reports)
    asked = _asked(request, catalogue, home, console)
    if asked.missing:
        console.say(f"no run on record has trained {labels_of(asked.missing)} so; that is done first")
        first = _asked(training_first(asked), catalogue, home, console)
        trained_first = _carried_out(first, catalogue, home, reports, console)
        if trained_first.exit_code == INTERRUPTED:
            return trained_first
        asked = _asked(request, catalogue, home, console)
    if asked.missing:
        names = labels_of(asked.missing)
        raise SpecError(f"{names} could not be trained, so there is nothing to run; its report says why.")
    return _carried_out(asked, catalogue, home, reports, console)


def _asked(request: SweepRequest, catalogue: Catalogue, home: Home, console: Console) -> Asked:
    asked = ask(request, catalogue, home, console.say, secrets.randbelow(2**32))
    for known in asked.weights if not asked.missing else ():
        accuracy = "" if known.accuracy is None else f", test accuracy {known.accuracy:.4f}"
        console.say(f"weights of {known.network}: {known.subject} in run {known.run_id}{accuracy}")
    return asked


def _carried_out(asked: Asked, catalogue: Catalogue, home: Home, reports: Path, console: Console) -> SweepResult:
    with open_session(asked.options, home, console) as session:
        plan = _plan(asked, session)
        prepared = _prepare(asked, plan, session, catalogue)
        is_stopped = _run(prepared, session)
        return _tell(prepared, session, reports, is_stopped=is_stopped)


def _plan(asked: Asked, session: Session) -> Plan:
    """The trials on this machine. Raises SpecError if none of the cells can run here."""
    plan = plan_of(asked, session.host)
    if asked.shard:
        session.console.say(f"{asked.shard.label}: {len(plan.trials)} trials")
    for skip in plan.skips:
        session.console.say(f"skipped {skip.label}: {skip.reason}")
    if not plan.trials:
        raise SpecError(f"{asked.request.spec_path}: none of its cells can run here; `--dry-run` lists the reasons.")
    return plan


def _prepare(asked: Asked, plan: Plan, session: Session, catalogue: Catalogue) -> _Prepared:
    """Machine, pictures and environments; and run.json, which is written whole."""
    session.claim(plan.rows, asked.spec.limits, oversubscribed(plan, session.host))
    prepared_data = _trial_data(plan, session.home, session.console)
    starts = trained.starts({trial.model for trial in plan.trials}, session.home)
    environments = session.make(plan.rows)
    run = session.begin(environments, _run_plan(asked, plan, environments, session.home))
    return _Prepared(asked, plan, run, prepared_data, _oracle_row(catalogue, asked.catalogue), starts)


def _run(prepared: _Prepared, session: Session) -> bool:
    """Selfchecks, trials, audits; True if the user stopped them."""
    run, asked = prepared.run, prepared.asked
    runner = TrialRunner(
        run,
        prepared.data,
        asked.options.allow_unverified,
        session.console,
        _looks(session, run.facts, prepared.plan),
        {**prepared.starts, **trained.paths(asked.weights, session.home)},
    )
    oracle = partial(session.prepared, prepared.oracle)
    return runner.run_all(prepared.plan) or Auditor(run, prepared.data, oracle, session.console).run_all()


def _tell(prepared: _Prepared, session: Session, reports: Path, *, is_stopped: bool) -> SweepResult:
    """Exit code 0 only if no trial failed because of waymark or the machine; a failure of the framework is a result."""
    facts = session.end(prepared.run, is_stopped=is_stopped)
    report = write_report(session.store, facts.run_id, session.home, reports)
    if is_stopped:
        session.console.say(f"stopped; what is done is kept. Continue with: invoke sweep --resume={facts.run_id}")
        return SweepResult(report, INTERRUPTED)
    failed = prepared.run.environments.failed.values()
    outcomes = [*(trial.outcome for trial in report.stored.trials), *failed]
    is_ours = any(outcome.fault in ("environment", "unknown") for outcome in outcomes)
    return SweepResult(report, 1 if is_ours else 0)


def _oracle_row(catalogue: Catalogue, rows_here: Catalogue) -> ImageRow:
    """The oracle's row, of the engine if it has one."""
    rows = rows_here.rows(frameworks=(ORACLE,), device="cpu") if ORACLE in rows_here.frameworks else ()
    return rows[0] if rows else catalogue.resolve(ORACLE, "cpu")


def _looks(session: Session, run: RunFacts, plan: Plan) -> Looks | None:
    """What decides how many pairs or turns are run; None if that is fixed. Says what the pairs can find."""
    if run.is_scout:
        return ScoutLooks(session.store, run, session.console)
    if run.compared is None:
        return None
    floors = noise_floors(session.store.comparisons_before(run))
    cells = {trial.cell.in_float32 for trial in plan.trials}
    framework = plan.trials[0].framework
    for device in sorted({cell.device for cell in cells}):
        session.console.say(floors.power_words((framework, device), _pairs_planned(plan, run)))
    return ComparisonLooks(session.store, run, len(cells), floors, session.console) if run.until else None


def _pairs_planned(plan: Plan, run: RunFacts) -> int:
    """Of each cell, at most; a pair of a control is two repeats."""
    repeats = max(trial.repeat for trial in plan.trials) + 1
    return repeats // 2 if run.compared and run.compared[0] == run.compared[1] else repeats


def _run_plan(asked: Asked, plan: Plan, environments: Environments, home: Home) -> RunPlan:
    """What run.json says of the run; of a resumed one only what may be another now."""
    spec, request, threads = asked.spec, asked.request, plan.trials[0].threads
    now = {"skips": (*plan.skips, *_skipped(plan, environments)), "planned": len(plan.trials), "is_stopped": False}
    facts = {
        "spec": spec.model_dump(mode="json", by_alias=True),
        "compared": request.compared,
        "until": request.until,
        "order_seed": asked.order.seed,
        "study": spec.study,
        "league": spec.league,
        "is_scout": request.is_scout,
        "pairs": spec.pairs,
        "best": _best(spec, asked.catalogue),
        "limit": limit_of(read_limits(home.limits), machine_keys(), threads),
        "labels": {trial.model.name: trial.model.family for trial in plan.trials if not trial.model.network_sha256},
        "weights": tuple(asked.weights),
        "shard": asked.shard,
        "control_of": request.sent_by.submission if request.sent_by and not asked.shard else "",
        "class_names": {spec.dataset.name: datasets.classes(spec.dataset, home)},
    }
    name = f"{spec.name}-{asked.shard.number}of{asked.shard.count}" if asked.shard else spec.name
    return RunPlan(name, threads, spec.limits, facts, now, asked.recorded)


def _best(spec: ExperimentSpec, rows_here: Catalogue) -> dict[str, dict[Device, str]]:
    """What `best` stands for in this run, so that it stands for the same when the run is resumed."""
    return {name: rows_here.best[name] for name in spec.axes.frameworks if BEST in spec.axes.variants_of(name)}


def _trial_data(plan: Plan, home: Home, console: Console) -> dict[tuple[InputSize, Dataset], TrialData]:
    """The data of the trials, prepared and verified, by input size and data set."""
    trial_data: dict[tuple[InputSize, Dataset], TrialData] = {}
    for dataset in dict.fromkeys(trial.dataset for trial in plan.trials):
        sizes = sorted({trial.input_size for trial in plan.trials if trial.dataset == dataset})
        with console.counting("preparing pictures") as progress:
            prepared = data.prepare(dataset, sizes, home, progress)
        for size, found in prepared.items():
            entry = replace(found, path=staged(found.path, console.say))
            data.verify(entry)
            split = data.split(entry, dataset)
            trial_data[size, dataset] = TrialData(entry.path, split, data.facts(entry, split), classes=entry.classes)
        facts = trial_data[sizes[0], dataset].facts
        words = [f"{dataset.name} ({facts.recognised})", *dataset.differences]
        words += ["with CLAHE"] if facts.recognised == "own" and dataset.filters == STUDY_FILTERS else []
        console.say(
            f"pictures: {', '.join(words)}, "
            f"{facts.train_pictures:,} to train, {facts.valid_pictures:,} to validate, "
            f"{facts.test_pictures:,} to test; {facts.split_note}"
        )
    return trial_data


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
