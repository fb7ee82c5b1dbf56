"""`invoke gate`: whether a candidate is slower than its baseline by more than is allowed, for CI."""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from orchestrator.analysis import comparison
from orchestrator.analysis.noise import NoiseFloors, noise_floors
from orchestrator.analysis.stats import ENOUGH_REPEATS
from orchestrator.analysis.timed import timed_run
from orchestrator.commands.compare import CompareRequest, sweep_of
from orchestrator.commands.outline import outline
from orchestrator.commands.sweep import INTERRUPTED, sweep
from orchestrator.console.progress import Console
from orchestrator.errors import EngineError, SpecError
from orchestrator.files import write_atomically
from orchestrator.home import Home
from orchestrator.planning.catalogue import Catalogue
from orchestrator.records.store import Store
from orchestrator.records.stored import StoredRun
from orchestrator.report import GateResult, GateRow, ci_files
from orchestrator.report.ci import Finding
from orchestrator.trial import Cell

EXIT_CODES: dict[Finding, int] = {"slower": 10, "not measured": 12, "not decided": 11, "not slower": 0}
"""By weight: the first of these that a cell has is the exit code."""


def gate(
    request: CompareRequest, output: Path | None, catalogue: Catalogue, home: Home, reports: Path, console: Console
) -> GateResult:
    """Measure both builds side by side until the question is decided; a slow-down is measured again before it counts.

    output: folder for the files of report.ci. Raises WaymarkError for what cannot be asked, such as an unknown build.
    """
    sweep_of(request, catalogue)  # a build that is not known is told before anything is written
    began = time.monotonic()
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    margin = request.until.margin
    assert margin is not None
    short = _too_short(request, catalogue, home)
    if short:
        console.say(short)
        undecided = [GateRow("all cells", "not decided", short)]
        return _written(GateResult(request.compared, margin, undecided, EXIT_CODES["not decided"]), output)

    def draw(request: CompareRequest) -> list[GateRow] | None:
        try:
            result = sweep(sweep_of(request, catalogue), catalogue, home, reports, console)
        except EngineError as error:
            return [GateRow("all cells", "not measured", str(error))]
        if result.exit_code == INTERRUPTED:
            return None
        with Store.open(home.store_url) as store:
            stored = result.report.stored
            return rows_of(stored, noise_floors(store.comparisons_before(stored.facts)))

    rows = draw(request)
    slow = [row.cell for row in rows or () if row.finding == "slower"]
    if rows and slow:
        used = time.monotonic() - began
        left = request.until.budget_seconds and max(request.until.budget_seconds - used, used)
        console.say(f"{', '.join(slow)}: slower than allowed; measured again before it counts")
        until = request.until.model_copy(update={"budget_seconds": left})
        cells = tuple(cell.rpartition(" ")[0] for cell in slow)
        again = draw(replace(request, until=until, cells=cells))
        rows = again and [*(row for row in rows if row.cell not in slow), *again]
    if rows is None:
        return GateResult(request.compared, margin, [], INTERRUPTED)
    findings = {row.finding for row in rows}
    code = next(EXIT_CODES[finding] for finding in EXIT_CODES if finding in findings)
    return _written(GateResult(request.compared, margin, rows, code), output)


def _written(result: GateResult, output: Path | None) -> GateResult:
    """The result, once the files of report.ci are in `output`."""
    if output is not None:
        for name, text in ci_files(result).items():
            write_atomically(output / name, text)
    return result


def _too_short(request: CompareRequest, catalogue: Catalogue, home: Home) -> str:
    """Why the budget cannot bring a finding, a sentence; '' if it may, or if no trial of these is on record."""
    budget = request.until.budget_seconds
    fewest = sweep_of(replace(request, pairs=ENOUGH_REPEATS), catalogue)
    rows = [row for row in outline(fewest, catalogue, home)[1] if row["plan"] in ("run", "check")]
    minutes = [row["minutes"] for row in rows]
    needed = 60 * sum(cell_minutes for cell_minutes in minutes if isinstance(cell_minutes, float))
    if budget is None or None in minutes or needed <= budget:
        return ""
    return (
        f"--budget is {budget:.0f} s; a finding takes {ENOUGH_REPEATS} pairs of each cell, and by the records of this "
        f"machine these take about {needed:.0f} s. So it cannot decide, and nothing is measured. Give "
        f"--budget={math.ceil(needed / 60)}m or more."
    )


def rows_of(stored: StoredRun, floors: NoiseFloors) -> list[GateRow]:
    """A row for each cell of the run of a gate, also of those that were skipped or failed."""
    facts = stored.facts
    assert facts.until is not None
    assert facts.until.margin is not None
    cells = list(dict.fromkeys([*(job.trial.cell for job in stored.trials), *(skip.cell for skip in facts.skips)]))
    return [_row(stored, cell, floors, len(cells), facts.until.margin) for cell in cells] or [
        GateRow("all cells", "not measured", "none of them ran")
    ]


def _row(stored: StoredRun, cell: Cell, floors: NoiseFloors, cells: int, margin: float) -> GateRow:
    skip = next((skip for skip in stored.facts.skips if skip.cell == cell), None)
    if skip is not None:
        return GateRow(cell.title, "not measured", f"{skip.key.subject} did not run: {skip.reason}")
    try:
        ratio = comparison.look(stored, cell, floors, cells)
    except SpecError as error:
        return GateRow(cell.title, "not measured", str(error))
    is_allowed = comparison.allowed(ratio, margin)
    finding: Finding = "not decided" if is_allowed is None else "not slower" if is_allowed else "slower"
    words = f"{ratio.effect:.3f}x as fast {ratio.interval} in {ratio.pairs} pairs"
    return GateRow(
        cell.title, finding, words, ratio.pairs, ratio.effect, ratio.low, ratio.high, _steps_ms(stored, cell)
    )


def _steps_ms(stored: StoredRun, cell: Cell) -> tuple[float, float, float]:
    """Median, smallest and largest of the median steps of the candidate's runs."""
    assert stored.facts.compared is not None
    asked = (cell, stored.facts.compared[1])
    seconds = [timed_run(job).seconds for job in stored.trials if (job.trial.cell, job.trial.subject) == asked]
    return float(np.median(seconds)) * 1000, min(seconds) * 1000, max(seconds) * 1000
