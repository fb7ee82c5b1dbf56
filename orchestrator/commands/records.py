"""What is done with the records of runs: ingest, report, runs, show, export-mlflow, remove."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator import files
from orchestrator.console.progress import Console
from orchestrator.errors import StoreError
from orchestrator.execution.locks import exclusive_run
from orchestrator.home import Home
from orchestrator.records.run_folder import RunFacts
from orchestrator.records.store import Store
from orchestrator.report import Report, trial_details, write_report
from orchestrator.report.mlflow_runs import log_runs

REMOVED = ".removed-"
"""Begins the name of a run, or of its report, that is being removed."""


def ingest(home: Home, console: Console) -> int:
    """Make the store again from all run folders; 1 if any folder could not be read."""
    with Store.open(home.store_url) as store:
        read = store.rebuild(home.runs, console.say)
    for sentence in read.damaged:
        console.say(sentence)
    console.say(f"{read.jobs} jobs of {read.runs} runs are in the store; {len(read.damaged)} folders could not be read")
    return 1 if read.damaged else 0


def render_again(run_id: str | None, home: Home, reports: Path) -> Report:
    """The report of a run, the newest by default, from the store. Raises StoreError if there is no such run."""
    with Store.open(home.store_url) as store:
        newest = store.latest_sweep()
        if newest is None:
            raise StoreError(f"the store of {home.root} holds no run. Fill it from the run folders with: invoke ingest")
        return write_report(store, run_id or newest.run_id, home, reports)


def run_rows(home: Home) -> list[dict[str, object]]:
    """A row for each run, the newest first: what it was, when, how many trials ended ok, and its size on disk."""
    now = datetime.now(UTC)
    with Store.open(home.store_url) as store:
        runs, counts = store.runs(), store.trial_counts()
    rows: list[dict[str, object]] = []
    for facts in runs:
        began = datetime.fromtimestamp(facts.started_unix, UTC)
        trials, ok = counts.get(facts.run_id, (0, 0))
        folder = home.runs / facts.run_id
        size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else None
        rows.append(
            {
                "run": facts.run_id,
                "what": _kind(facts),
                "began": began.strftime("%Y-%m-%d %H:%M"),
                "age": _age(now - began),
                "trials": trials if facts.planned is None or facts.state == "ended" else f"{trials} of {facts.planned}",
                "ok": ok,
                "state": _state(facts),
                "engine": facts.engine,
                "size_MB": None if size is None else size / 1e6,
            }
        )
    return rows


def _state(facts: RunFacts) -> str:
    """'ended', or how it goes on."""
    return facts.state if facts.kind == "check" or facts.state == "ended" else f"{facts.state}: sweep --resume"


def _age(past: timedelta) -> str:
    """'5 min', '3 h', '12 days'."""
    minutes = past.total_seconds() / 60
    if minutes < 100:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 60 / 24:.0f} days"


def _kind(facts: RunFacts) -> str:
    if facts.compared:
        return "compare"
    return "scout" if facts.is_scout else facts.kind


def trial_rows(text: str, home: Home) -> tuple[str, list[dict[str, Any]]]:
    """A title and the facts of one trial, a row each: 'RUN/7', or '7' for the newest sweep.

    Raises StoreError if there is no such run or trial.
    """
    named, _, number = text.rpartition("/")
    with Store.open(home.store_url) as store:
        newest = store.latest_sweep()
        run_id = named or (newest.run_id if newest else "")
        stored = store.run(run_id)
    rows = {str(row["ordinal"]): row for row in trial_details(stored)}
    if number not in rows:
        known = ", ".join(list(rows)[:20]) or "none"
        raise StoreError(f"run {run_id} has no trial '{number}'. Its trials are: {known}.")
    row = rows[number]
    facts = {**{name: value for name, value in row.items() if name not in ("numbers", "bounds")}, **row["numbers"]}
    return f"Trial {number} of {run_id}", [{"fact": name, "value": value} for name, value in facts.items()]


def export_to_mlflow(run_id: str, uri: str, home: Home, console: Console) -> None:
    """Write the trials of a run to MLflow. Raises StoreError if there is no such run, or MLflow cannot write there."""
    with Store.open(home.store_url) as store:
        trials = log_runs(store.run(run_id), uri)
    console.say(f"{trials} trials of {run_id} are in MLflow's experiment of that name at {uri}")


def remove(run_id: str, home: Home, reports: Path, console: Console) -> None:
    """Remove a run from disk and store, with its report; one that has ended need not wait for another.

    It is renamed first, so that nothing reads a part of it as the whole; `invoke reap` finishes one that was killed.
    Raises StoreError if there is no such run, LockedError if it may be the one that is going on.
    """
    with Store.open(home.store_url) as store:
        facts = store.run(run_id).facts
        with exclusive_run(home) if facts.state == "going on, or killed" else nullcontext():
            places = {place / run_id: place / f"{REMOVED}{run_id}" for place in (home.runs, reports)}
            for folder, renamed in places.items():
                if folder.is_dir():
                    files.remove(renamed)
                    folder.rename(renamed)
            store.remove(run_id)
            for folder, renamed in places.items():
                if renamed.is_dir():
                    files.remove(renamed)
                    console.say(f"removed {folder}")
