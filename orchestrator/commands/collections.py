"""`invoke report --run=A,B` and `invoke index`: several runs on one page, of this home or published ones."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator import files
from orchestrator.commands.publication import is_published, move_to, rendered, require_new, unpacked
from orchestrator.console.progress import Console
from orchestrator.environment import digest
from orchestrator.errors import SpecError, StoreError
from orchestrator.home import Home
from orchestrator.records.store import Store
from orchestrator.report import write_report
from orchestrator.report.collection import Entry, write_collection
from orchestrator.scratch import folder_beside


def join_runs(run_ids: Sequence[str], home: Home, reports: Path, console: Console) -> Path:
    """One page of several runs, beside their reports, which are written too. Raises StoreError for an unknown run."""
    entries = []
    with Store.open(home.store_url) as store:
        for run_id in run_ids:
            report = write_report(store, run_id, home, reports)
            console.say(f"report: {report.page}")
            entries.append(Entry(report.stored, f"../{run_id}/index.html"))
    folder = reports / f"joined-{digest(list(run_ids))[:12]}"
    return write_collection(entries, folder, f"{len(entries)} runs", home)


def write_index(published: Path, to: Path, home: Home, console: Console) -> Path:
    """A site of all published runs in a folder: their pages, made anew from their records, and one that lists all.

    Raises SpecError if `to` exists or `published` holds no published run, StoreError for one that does not verify;
    nothing is left behind then.
    """
    require_new(to, "a new folder")
    paths = sorted(path for path in published.glob("*") if is_published(path))
    if not paths:
        raise SpecError(f"--published is {published}, which holds no folder or .zip file that `invoke publish` wrote.")
    with folder_beside(to, home) as scratch:
        site = scratch / "site"
        site.mkdir()
        entries = []
        for number, path in enumerate(paths):
            draft = Home(scratch / f"draft-{number}")
            run_id = unpacked(path, draft)
            if (site / run_id).exists():
                raise StoreError(f"{path} is run {run_id}, which another file of {published} is, too. Remove one.")
            stored = rendered(draft, run_id, site / run_id, console)
            entries.append(Entry(stored, f"{run_id}/index.html"))
            files.remove(draft.root)
        write_collection(entries, site, f"{len(entries)} published run{'s' if len(entries) > 1 else ''}")
        move_to(site, to)
    return to / "index.html"
