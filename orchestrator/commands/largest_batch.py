"""`invoke largest-batch`: the largest batch whose training fits into a limit of memory, found by bisection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.console.progress import Console
from orchestrator.data import datasets
from orchestrator.errors import EngineError, SpecError
from orchestrator.execution.session import RunOptions, Session, open_session
from orchestrator.home import Home
from orchestrator.host import GIB, read_load
from orchestrator.networks import Network
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import ImageRow
from orchestrator.planning.narrowing import Narrowing, load_cells
from orchestrator.planning.plan import expand
from orchestrator.planning.spec import Limits
from orchestrator.trial import Trial

FIRST, LAST = 64, 4096
"""The batch that is tried first, and the largest that a spec may ask for."""

CLOSE = 32
"""The search ends where what fits and what does not are apart by a share of 1 / CLOSE, or by one picture."""

KEPT_GIB = 1.0
"""What a limit must leave of the memory that is free now, so that nothing else on the machine is in want of it."""


@dataclass(frozen=True)
class BatchRequest:
    """What is asked. memory_gib: that a training may use; None is limits.memory_gib of the spec."""

    spec_path: Path
    narrowing: Narrowing
    cells: Sequence[str]
    memory_gib: float | None
    options: RunOptions


@dataclass(frozen=True)
class Batches:
    """What was found of one subject and network. fits: the largest batch that does, 0 if one picture does not.

    beyond: the smallest that was tried and does not fit; None if all do. peak_gib: of the training that fits.
    """

    fits: int
    beyond: int | None
    peak_gib: float | None
    tried: int


def search(fits: Callable[[int], bool], first: int = FIRST, last: int = LAST) -> tuple[int, int | None]:
    """(largest batch that fits, smallest one seen that does not): doubled or halved from the first, then bisected.

    fits: whether a batch does; asked of each at most once. 0 if not even one picture fits, None if `last` fits.
    """
    low, high = 0, None
    size = first
    while low < last and (high is None or high - low > max(1, low // CLOSE)):
        if fits(size):
            low = size
        else:
            high = size
        size = min(last, 2 * low) if high is None else (low + high) // 2 if low else high // 2
        if not size:
            break
    return low, high


def measure(request: BatchRequest, catalogue: Catalogue, home: Home, console: Console) -> list[dict[str, Any]]:
    """A row for each subject and network of the spec: the largest batch within the limit of memory.

    Raises SpecError for a limit that is more than is free.
    """
    changes = {**request.narrowing.changes(), "axes.batch_sizes": None}
    spec = load_cells(request.spec_path, sorted(catalogue.frameworks), changes, request.cells)
    limit = spec.limits.memory_gib if request.memory_gib is None else request.memory_gib
    free = read_load(()).available_memory_bytes / GIB
    if limit > free - KEPT_GIB:
        raise SpecError(
            f"trainings may use {limit:g} GiB, and {free:.1f} GiB are free; a training that fills them would be in the "
            f"way of all else that runs here. Ask for at most {max(0.25, free - KEPT_GIB):.1f} with --memory."
        )
    rows = []
    with open_session(request.options, home, console) as session:
        plan = expand(spec, catalogue, session.host)
        asked = {(trial.subject, trial.cell): trial for trial in reversed(plan.trials)}
        session.claim(plan.rows, Limits(memory_gib=limit))
        known = {row.key: row for row in plan.rows}
        for (subject, cell), trial in sorted(asked.items(), key=lambda item: (item[0][1].title, item[0][0])):
            console.say(f"{subject} {cell.title}: the largest batch within {limit:g} GiB")
            found = _of(session, known[trial.environment_key], trial, limit, home)
            said = "" if found.beyond else "all that a spec may ask for"
            rows.append(
                {
                    "cell": cell.title,
                    "subject": subject,
                    "batch": found.fits,
                    "does not fit": found.beyond,
                    "memory GiB": found.peak_gib,
                    "limit GiB": limit,
                    "tried": found.tried,
                    "note": said if found.fits else "one picture does not fit",
                }
            )
    return rows


def _of(session: Session, row: ImageRow, trial: Trial, limit_gib: float, home: Home) -> Batches:
    network = trial.network(len(datasets.classes(trial.dataset, home)))
    peaks: dict[int, float | None] = {}

    def fits(size: int) -> bool:
        asked = trial.model_copy(update={"training": trial.training.model_copy(update={"batch_size": size})})
        peaks[size] = _peak_gib(session, row, network, asked, int(limit_gib * GIB))
        session.console.say(f"a batch of {size}: {'fits' if peaks[size] else 'does not fit'}")
        return peaks[size] is not None

    low, high = search(fits)
    return Batches(low, high, peaks.get(low), len(peaks))


def _peak_gib(session: Session, row: ImageRow, network: Network, trial: Trial, memory_bytes: int) -> float | None:
    """The memory of its process; None if the training does not fit. Raises EngineError if it failed otherwise."""
    outcome, peak = session.fit(row, network, trial, memory_bytes)
    if outcome.status == "ok":
        return (peak or 0) / GIB
    if outcome.status == "out_of_memory" and outcome.fault == "subject":
        return None
    raise EngineError(f"{trial.subject} with a batch of {trial.batch_size} ended {outcome.status}: {outcome.reason}")
