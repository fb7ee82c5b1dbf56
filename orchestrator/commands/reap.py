"""`invoke reap`: ends and removes what runs that were killed left behind. No run may be going on."""

from collections.abc import Iterator
from pathlib import Path

from orchestrator import scratch
from orchestrator.commands.records import REMOVED
from orchestrator.console.progress import Console
from orchestrator.engines import open_builder, unfinished_virtualenvs
from orchestrator.engines.orphans import running_workers
from orchestrator.errors import EngineError
from orchestrator.execution.locks import exclusive_run
from orchestrator.home import REPOSITORY, Home
from orchestrator.records.run_folder import SET_ASIDE
from orchestrator.records.store import Store

_FOLDERS = (".", "data", "workers", "sources", "published")
_OLDER = (".freeze-*", ".serve-*", ".seen-*", "data/.sources-*")
"""Drafts of versions before 0.5."""


def leftovers(home: Home, reports: Path) -> list[Path]:
    """Files and folders that processes of this user left when they were killed, as far as no run is going on."""
    return list(dict.fromkeys(_leftovers(home, reports)))


def _leftovers(home: Home, reports: Path) -> Iterator[Path]:
    yield from scratch.left_temporary()
    yield from scratch.left_beside(home)
    for name in _FOLDERS:
        yield from scratch.left_in(home.root / name)
    for pattern in _OLDER:
        yield from sorted(home.root.glob(pattern))
    for place in (home.root, home.data, home.runs, home.references, reports, REPOSITORY / "docker"):
        for folder in (place, *place.glob("*/"), *(place.glob("*/*/") if place == home.runs else ())):
            yield from scratch.left_drafts(folder)
    for pattern in SET_ASIDE:
        yield from sorted(home.runs.glob(f"*/{pattern}"))
    for place in (home.runs, reports):
        yield from sorted(place.glob(f"{REMOVED}*"))
    yield from (path for path in sorted(home.runs.glob("*/")) if not any(path.iterdir()))
    yield from unfinished_virtualenvs(home)


def reap(home: Home, reports: Path, console: Console) -> int:
    """Workers of this home, containers of runs on this machine that have ended, drafts, runs half removed.

    Gives exit code 0. Raises EngineError while a run is going on, because its workers are none of these.
    """
    with exclusive_run(home):
        workers = running_workers(home.root)
        for worker in workers:
            worker.end()
            console.say(f"ended process {worker.pid}, a worker on the job {worker.folder}")
        paths = leftovers(home, reports)
        _forget_removed(home)
        removed = [path for path in paths if scratch.remove_left(path)]
        for path in removed:
            console.say(f"removed {path}")
        try:
            builder = open_builder()
        except EngineError as error:
            console.say(f"containers were not looked for: {error}")
            containers = 0
        else:
            containers = builder.sweep()
            builder.close()
    console.say(f"{len(workers)} workers and {containers} containers ended, {len(removed)} files and folders removed")
    return 0


def _forget_removed(home: Home) -> None:
    """Remove from the store the runs whose removal was killed in between."""
    names = [path.name.removeprefix(REMOVED) for path in home.runs.glob(f"{REMOVED}*")]
    gone = [name for name in names if not (home.runs / name).exists()]
    if gone:
        with Store.open(home.store_url) as store:
            for name in gone:
                store.remove(name)
