"""The use case behind `invoke compare`: the sweep that pairs two builds, and what comes of it or of two runs."""

from pathlib import Path

from orchestrator.analysis import comparison
from orchestrator.commands.sweep import Request
from orchestrator.console import flags
from orchestrator.home import Home
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.spec import load_spec
from orchestrator.records.store import Store, StoredRun
from orchestrator.trial import Device


def request_for(
    spec_path: Path,
    arms: tuple[str, str],
    pairs: int,
    cells: str,
    device: Device,
    engine: str | None,
    catalogue: Catalogue,
    argv: tuple[str, ...],
    is_strict: bool = False,
) -> Request:
    """The sweep that `invoke compare` makes: each cell `pairs` times in both variants, next to each other in time.

    A subject against itself is repeated twice as often. Raises WaymarkError for what cannot be compared.
    """
    framework, variants = flags.arms(*arms)
    for variant in variants:
        catalogue.resolve(framework, device, variant)
    shipped = load_spec(spec_path, catalogue.frameworks, {"axes.frameworks": [framework]})
    changes = {
        "name": "compare",
        "axes.frameworks": [framework],
        f"axes.variants.{framework}": variants,
        "axes.devices": [device],
        "axes.repeats": pairs * (1 if len(variants) == 2 else 2),
        "axes.models": flags.models(cells, shipped),
        "study": None,
        "pairs": [],
    }
    return Request(spec_path, changes, engine, argv=argv, arms=arms, is_strict=is_strict)


def result_of(home: Home, stored: StoredRun) -> list[dict[str, object]]:
    """The verdicts of a sweep that was made to compare; the noise floors are those of its machine."""
    assert stored.facts.arms is not None
    return _verdicts(home, comparison.variants_of(stored, *stored.facts.arms), stored)


def recorded(home: Home, baseline: str, candidate: str) -> list[dict[str, object]] | None:
    """The verdicts of two runs on record, or, if they are one run that was made to compare, of it; else None."""
    with Store.open(home.store_url) as store:
        runs = {run.run_id for run in store.runs()}
        if not {baseline, candidate} <= runs:
            return None
        first, second = store.run(baseline), store.run(candidate)
    if baseline == candidate and first.facts.arms:
        return result_of(home, first)
    return _verdicts(home, comparison.runs_of(first, second), second)


def _verdicts(
    home: Home, cells: dict[comparison.Place, comparison.Pairs], stored: StoredRun
) -> list[dict[str, object]]:
    with Store.open(home.store_url) as store:
        floors = comparison.noise_floors(store, str(stored.facts.host.get("hostname_sha256")))
    return comparison.rows(cells, floors)
