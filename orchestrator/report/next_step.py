"""What to run next: the command that would decide an order which a sweep of several frameworks leaves open."""

import shlex
from collections.abc import Sequence

from orchestrator.analysis.stats import ENOUGH_REPEATS
from orchestrator.records.stored import StoredRun
from orchestrator.report.tables import SummaryRow, groups
from orchestrator.trial import ORACLE, Cell

_OF_ONE_CALL = ("--repeats", "--resume", "--json", "--csv", "--dry-run", "--unverified")
"""Flags that say nothing about what is compared."""

LONG_MINUTES = 60.0
"""Beyond it, timing a few steps of each cell is named, too."""


def next_step(stored: StoredRun, rows: Sequence[SummaryRow]) -> str:
    """A sentence with the command and its minutes; '' if the run asks something else, or its order is decided."""
    facts = stored.facts
    if facts.kind != "sweep" or facts.compared or facts.study or facts.pairs or facts.is_scout:
        return ""
    open_ = _open_cells(rows)
    if not open_:
        return ""
    minutes = _minutes(stored)
    time = f", about {minutes:.0f} minutes by the trials of this run" if minutes is not None else ""
    loud = any(row.load == "disturbed" for row in rows)
    quiet = " on a machine that does nothing else" if loud else ""
    said = f"What decides the order of {_cells(open_)}: `{_command(stored)}`{quiet}{time}."
    if minutes is not None and minutes > LONG_MINUTES and all(cell.scenario is None for cell in open_):
        cells = ",".join(dict.fromkeys(cell.network for cell in open_))
        said += (
            f" Sooner, for the speed alone: `invoke sweep --spec={facts.run_id} --cells={cells} --scout`, a few steps "
            "of each, three times or more."
        )
    return said


def _open_cells(rows: Sequence[SummaryRow]) -> list[Cell]:
    """Cells in which two frameworks or more ran, one of them too seldom or disturbed."""
    ran: dict[Cell, list[SummaryRow]] = {}
    for row in rows:
        if row.load and row.key.framework != ORACLE:
            ran.setdefault(row.cell, []).append(row)
    return [
        cell
        for cell, members in ran.items()
        if len({row.key.framework for row in members}) > 1
        and any(row.ok < ENOUGH_REPEATS or row.load != "quiet" for row in members)
    ]


def _cells(cells: Sequence[Cell]) -> str:
    names = [cell.title for cell in cells]
    return ", ".join(names) if len(names) < 4 else f"these {len(names)} cells"


def _command(stored: StoredRun) -> str:
    """The run's own command with repeats enough; if that is not known, its spec."""
    facts = stored.facts
    words = list(facts.argv)
    is_whole = words[:1] == ["sweep"] and not any(word.startswith("--resume") for word in words)
    if not is_whole:
        words = ["sweep", f"--spec={facts.run_id}", *([] if facts.engine == "docker" else [f"--engine={facts.engine}"])]
    kept, is_value = [], False
    for word in words:
        if is_value:
            is_value = False
        elif word.partition("=")[0] in _OF_ONE_CALL:
            is_value = word == "--repeats"
        else:
            kept.append(word)
    return shlex.join(["invoke", *kept, f"--repeats={ENOUGH_REPEATS}"])


def _minutes(stored: StoredRun) -> float | None:
    """Of all its trials and their audits, six times each; None where no trial has ended."""
    audits = {check.request.ordinal: check.exit.wall_seconds for check in stored.audits if check.exit}
    seconds = []
    for group in groups(stored):
        walls = [job.exit.wall_seconds + audits.get(job.record.ordinal, 0.0) for job in group.trials if job.exit]
        if walls:
            seconds.append(sorted(walls)[len(walls) // 2])
    return ENOUGH_REPEATS * sum(seconds) / 60 if seconds else None
