"""`invoke ingest` and `invoke report`: read the records again, render a report again."""

from pathlib import Path

from orchestrator.console.progress import Console
from orchestrator.errors import StoreError
from orchestrator.home import Home
from orchestrator.records.store import Store
from orchestrator.report import Published, publish


def ingest(home: Home, console: Console) -> int:
    """Make the store again from all run folders; 1 if any folder could not be read."""
    with Store.open(home.store_url) as store:
        read = store.rebuild(home.runs, console.say)
    for sentence in read.damaged:
        console.say(sentence)
    console.say(f"{read.jobs} jobs of {read.runs} runs are in the store; {len(read.damaged)} folders could not be read")
    return 1 if read.damaged else 0


def render_again(run_id: str | None, home: Home, reports: Path) -> Published:
    """The report of a run, the newest by default, from the store. Raises StoreError if there is no such run."""
    with Store.open(home.store_url) as store:
        newest = store.latest_sweep()
        if newest is None:
            raise StoreError(f"the store of {home.root} holds no run. Fill it from the run folders with: invoke ingest")
        return publish(store, run_id or newest.run_id, home, reports)
