"""`invoke compare`: a sweep that pairs two builds; and the verdicts of it, or of two runs on record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.analysis import comparison
from orchestrator.analysis.comparison import CellKey, PairedSteps
from orchestrator.commands.sweep import INTERRUPTED, SweepRequest, sweep
from orchestrator.console import flags
from orchestrator.console.progress import Console
from orchestrator.environment import Device
from orchestrator.execution.session import RunOptions
from orchestrator.home import Home
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.spec import load_spec
from orchestrator.records.store import Store
from orchestrator.records.stored import StoredRun
from orchestrator.trial import SubjectPair


@dataclass(frozen=True)
class CompareRequest:
    """The arguments of `invoke compare`.

    compared: baseline and candidate. pairs: of fresh processes, for each cell.
    cells:    only these of the spec, comma-separated; '' for all.
    """

    spec_path: Path
    compared: SubjectPair
    pairs: int = 10
    cells: str = ""
    device: Device = "cpu"
    options: RunOptions = field(default_factory=RunOptions)


def sweep_of(request: CompareRequest, catalogue: Catalogue) -> SweepRequest:
    """The sweep of `invoke compare`: each cell `pairs` times in both variants, one after the other.

    A subject against itself is repeated twice as often. Raises WaymarkError for what cannot be compared.
    """
    framework, variants = flags.compared(*request.compared)
    for variant in variants:
        catalogue.resolve(framework, request.device, variant)
    shipped = load_spec(request.spec_path, catalogue.frameworks, {"axes.frameworks": [framework]})
    changes = {
        "name": "compare",
        "axes.frameworks": [framework],
        f"axes.variants.{framework}": variants,
        "axes.devices": [request.device],
        "axes.repeats": request.pairs * (1 if len(variants) == 2 else 2),
        "axes.models": flags.models(request.cells, shipped),
        "study": None,
        "pairs": [],
    }
    return SweepRequest(request.spec_path, changes, compared=request.compared, options=request.options)


def compare(
    request: CompareRequest, catalogue: Catalogue, home: Home, reports: Path, console: Console
) -> tuple[int, list[dict[str, object]]]:
    """The exit code of that sweep, and the verdicts; no verdicts if it was stopped."""
    result = sweep(sweep_of(request, catalogue), catalogue, home, reports, console)
    console.say(f"report: {result.published.page}")
    if result.exit_code == INTERRUPTED:
        return INTERRUPTED, []
    return result.exit_code, verdicts_of(home, result.published.stored)


def verdicts_of(home: Home, stored: StoredRun) -> list[dict[str, object]]:
    """The verdicts of the sweep of an `invoke compare`, with the noise floors of its machine."""
    assert stored.facts.compared is not None
    return _verdicts(home, comparison.variants_of(stored, *stored.facts.compared), stored)


def recorded(home: Home, compared: SubjectPair) -> list[dict[str, object]] | None:
    """The verdicts of two runs on record, or of one that was an `invoke compare`; None if they are not run ids."""
    baseline, candidate = compared
    with Store.open(home.store_url) as store:
        runs = {run.run_id for run in store.runs()}
        if not {baseline, candidate} <= runs:
            return None
        first, second = store.run(baseline), store.run(candidate)
    if baseline == candidate and first.facts.compared:
        return verdicts_of(home, first)
    return _verdicts(home, comparison.runs_of(first, second), second)


def _verdicts(home: Home, cells: Mapping[CellKey, PairedSteps], stored: StoredRun) -> list[dict[str, object]]:
    with Store.open(home.store_url) as store:
        floors = comparison.noise_floors(store, stored.facts.host)
    return comparison.rows(cells, floors)
