"""Several runs on one page: a section for each machine, in it the rows of all runs by cell, and how they changed.

Runs of one cell stand beside each other only if they are of one machine, batch size, clock and set of pictures; there
is no verdict and no order, because their sessions differ (`invoke compare` gives one). Each run brings its caveats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from orchestrator.files import write_atomically
from orchestrator.home import Home
from orchestrator.records.host_facts import RecordedHost
from orchestrator.records.run_folder import RunFacts
from orchestrator.records.stored import StoredRun
from orchestrator.report import export, inline, tables
from orchestrator.report.answer import unquiet
from orchestrator.report.caveats import caveats
from orchestrator.report.tables import FlatRow, SummaryRow, natural
from orchestrator.report.templating import inert, templates
from orchestrator.report.text import without_paths

CSV = "runs.csv"

MOST_CAVEATS = 3
"""Of one run; its own report has all."""


@dataclass(frozen=True)
class Entry:
    """What a collection needs of a run, which may be one of hundreds; its trials are not kept.

    link: its report, from the folder of the page; '' if it is not there. ended_unix: when its last trial ended.
    summary, rows: of its subjects and cells. caveats: a sentence each, the most important first.
    """

    facts: RunFacts
    link: str
    ended_unix: float
    summary: Sequence[SummaryRow]
    rows: Sequence[FlatRow]
    caveats: Sequence[str]

    @classmethod
    def of(cls, stored: StoredRun, link: str) -> "Entry":
        """The entry of a run."""
        summary = tables.summary_rows(stored)
        ends = [trial.exit.launched_unix + trial.exit.wall_seconds for trial in stored.trials if trial.exit]
        ended_unix = max(ends, default=stored.facts.started_unix)
        return cls(stored.facts, link, ended_unix, summary, _rows(stored, link, summary), caveats(stored, summary))


@dataclass(frozen=True)
class _Limits:
    """What limits the numbers of one run. more: how many sentences its own report has besides."""

    run_id: str
    link: str
    sentences: Sequence[str]
    more: int


@dataclass(frozen=True)
class _Machine:
    """One machine with its rows. groups: what may stand beside each other -> the rows, by subject and time, no ranking.

    limits: of each run, its first caveats. notes: which rows were disturbed, or nobody knows.
    """

    name: str
    host: RecordedHost
    runs: int
    notes: Sequence[str]
    limits: Sequence[_Limits]
    groups: Mapping[str, Sequence[FlatRow]]
    histories: Mapping[str, Sequence[FlatRow]]


def write_collection(
    entries: Sequence[Entry], folder: Path, title: str, home: Home | None = None, notes: Sequence[str] = ()
) -> Path:
    """Write the page and runs.csv into `folder`; gives the page. notes: what a reader must know of the runs first."""
    folder.mkdir(parents=True, exist_ok=True)
    machines = _machines(entries)
    rows = [row for machine in machines for group_rows in machine.groups.values() for row in group_rows]
    style, script = inline.style(), inline.script()
    page = (
        templates(home)
        .get_template("collection.html")
        .render(
            title=title,
            notes=notes,
            machines=machines,
            runs=len(entries),
            style=style,
            script=script,
            policy=inline.policy([style], [script]),
        )
    )
    write_atomically(folder / CSV, without_paths(export.csv_text(inert(rows, home)), home, Path.home()))
    write_atomically(folder / "index.html", page)
    return folder / "index.html"


def _machines(entries: Sequence[Entry]) -> list[_Machine]:
    machines: list[list[Entry]] = []
    for entry in sorted(entries, key=lambda entry: entry.facts.started_unix):
        same = [runs for runs in machines if any(_is_same_machine(entry, run) for run in runs)]
        joined = [run for runs in same for run in runs]  # a run may show that two machines are one
        machines = [*(runs for runs in machines if runs not in same), [*joined, entry]]
    machines.sort(key=lambda runs: runs[0].facts.started_unix)
    return [_machine(f"Machine {number}", runs) for number, runs in enumerate(machines, start=1)]


def _is_same_machine(member: Entry, other: Entry) -> bool:
    return member.facts.host.is_same_machine(other.facts.host)


def _machine(name: str, entries: Sequence[Entry]) -> _Machine:
    rows = [{"machine": name, **row} for entry in entries for row in entry.rows]
    rows.sort(key=lambda row: natural(row["group"]))
    groups = {
        group: sorted(members, key=_reading_order) for group, members in groupby(rows, key=lambda row: row["group"])
    }
    histories = {group: _history(members) for group, members in groups.items()}
    newest = entries[-1].facts.host
    told = {group: rows for group, rows in histories.items() if rows}
    notes = unquiet([row for entry in entries for row in entry.summary])
    return _Machine(name, newest, len(entries), notes, [_limits(entry) for entry in entries], groups, told)


def _limits(entry: Entry) -> _Limits:
    sentences = entry.caveats
    return _Limits(entry.facts.run_id, entry.link, sentences[:MOST_CAVEATS], max(0, len(sentences) - MOST_CAVEATS))


def _rows(stored: StoredRun, link: str, summary: Sequence[SummaryRow]) -> list[FlatRow]:
    facts = stored.facts
    began = datetime.fromtimestamp(facts.started_unix, UTC).strftime("%Y-%m-%d %H:%M")
    head = {"run": facts.run_id, "began": began, "waymark": facts.waymark_version, "engine": facts.engine}
    head |= {"league": facts.league or "", "link": link}
    rows = []
    for group, row in zip(tables.groups(stored), summary, strict=True):
        if not group.trials:
            continue
        trial = group.trials[0].trial
        pictures = ", ".join([trial.dataset.name, *trial.dataset.differences])
        clock = f"clock of each {trial.measure.sync}, input {trial.measure.feed}"
        clock = clock if trial.inference is None else f"{trial.inference.seconds:g} s of queries"
        rows.append(
            {
                "group": f"{row.cell.title}: batches of {trial.batch_size}, {pictures}, {clock}",
                "subject": row.subject,
                **head,
                "started_unix": facts.started_unix,
                "status": row.status,
                "trials": row.trials,
                "ok": row.ok,
                "selfcheck": row.check,
                "audit": row.audit,
                "load": row.load,
                "foreign_percent": row.foreign_percent,
                "step_ms": row.medians.step_ms,
                "epoch_images_per_second": row.medians.epoch_images_per_second,
                "epoch_s": row.medians.epoch_s,
                "epochs": trial.training.epochs,
                "accuracy_test": row.medians.accuracy_test,
            }
        )
    return rows


def _reading_order(row: FlatRow) -> tuple[Any, float]:
    """By subject, the oldest first; single runs give no ranking."""
    return natural(row["subject"]), row["started_unix"]


def _history(rows: Sequence[FlatRow]) -> list[dict[str, Any]]:
    """The subjects that several runs timed undisturbed, in the order of these; times: of the first one's step."""
    compared = []
    sound = [row for row in rows if row["step_ms"] is not None and row["load"] != "disturbed"]
    timed = sorted(sound, key=lambda row: natural(row["subject"]))
    for _, history in groupby(timed, key=lambda row: row["subject"]):
        series = sorted(history, key=lambda row: row["started_unix"])
        if len(series) > 1:
            compared += [{**row, "times": row["step_ms"] / series[0]["step_ms"]} for row in series]
    return compared
