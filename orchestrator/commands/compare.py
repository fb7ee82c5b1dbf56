"""`invoke compare`: a sweep that pairs two builds; and the verdicts of it, or of two runs on record."""

from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.analysis import comparison, sessions
from orchestrator.analysis.noise import noise_floors
from orchestrator.analysis.ratios import MOST_PAIRS
from orchestrator.commands.sweep import INTERRUPTED, SweepRequest, sweep
from orchestrator.console import flags
from orchestrator.console.progress import Console
from orchestrator.engines import rows_of
from orchestrator.environment import Device
from orchestrator.execution.session import RunOptions
from orchestrator.home import Home
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.narrowing import models_of
from orchestrator.planning.spec import load_spec
from orchestrator.records.run_folder import Until
from orchestrator.records.store import Store
from orchestrator.records.stored import StoredRun
from orchestrator.trial import SubjectPair


@dataclass(frozen=True)
class CompareRequest:
    """The arguments of `invoke compare`.

    compared: baseline and candidate. pairs: of fresh processes, for each cell; None adds them until `until`.
    cells:    only these of the spec; () for all.
    """

    spec_path: Path
    compared: SubjectPair
    pairs: int | None = None
    until: Until = field(default_factory=Until)
    cells: tuple[str, ...] = ()
    device: Device = "cpu"
    options: RunOptions = field(default_factory=RunOptions)


def sweep_of(request: CompareRequest, catalogue: Catalogue) -> SweepRequest:
    """The sweep of `invoke compare`: each cell `pairs` times in both variants, AB BA AB ...

    A subject against itself is repeated twice as often. Raises WaymarkError for what cannot be compared.
    """
    framework, asked = flags.compared(*request.compared)
    known = rows_of(request.options.engine, catalogue)
    named = {tag: known.resolve(framework, request.device, tag).variant for tag in asked}
    baseline, candidate = (f"{framework}:{named[subject.partition(':')[2]]}" for subject in request.compared)
    variants = list(dict.fromkeys(named.values()))
    shipped = load_spec(request.spec_path, catalogue.frameworks, {"axes.frameworks": [framework]})
    changes = {
        "name": "compare",
        "axes.frameworks": [framework],
        f"axes.variants.{framework}": variants,
        "axes.devices": [request.device],
        "axes.repeats": (request.pairs or MOST_PAIRS) * (1 if len(variants) == 2 else 2),
        "axes.models": models_of(request.cells, shipped),
        "study": None,
        "pairs": [],
    }
    until = None if request.pairs else request.until
    return SweepRequest(
        request.spec_path, changes, compared=(baseline, candidate), until=until, options=request.options
    )


def compare(
    request: CompareRequest, catalogue: Catalogue, home: Home, reports: Path, console: Console
) -> tuple[int, list[dict[str, object]]]:
    """The exit code of that sweep, and the verdicts; no verdicts if it was stopped."""
    result = sweep(sweep_of(request, catalogue), catalogue, home, reports, console)
    console.say(f"report: {result.report.page}")
    if result.exit_code == INTERRUPTED:
        return INTERRUPTED, []
    return result.exit_code, verdicts_of(home, result.report.stored)


def verdicts_of(home: Home, stored: StoredRun) -> list[dict[str, object]]:
    """The verdicts of the sweep of an `invoke compare`, with what is known of its machine's noise."""
    with Store.open(home.store_url) as store:
        floors = noise_floors(store.comparisons_before(stored.facts))
    return comparison.rows(stored, floors)


def recorded(home: Home, compared: SubjectPair) -> list[dict[str, object]] | None:
    """The verdicts of runs on record, or of one that was an `invoke compare`; None if they are not run ids.

    Each side is a run, or several sessions of one build, separated by commas.
    """
    sides = [flags.names(text) for text in compared]
    with Store.open(home.store_url) as store:
        runs = {run.run_id for run in store.runs()}
        if not all(sides) or not {*sides[0], *sides[1]} <= runs:
            return None
        baseline, candidate = ([store.run(run_id) for run_id in side] for side in sides)
    if sides[0] == sides[1] and len(baseline) == 1 and baseline[0].facts.compared:
        return verdicts_of(home, baseline[0])
    return sessions.rows(baseline, candidate)
