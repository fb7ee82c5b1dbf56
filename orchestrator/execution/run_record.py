"""run.json: the facts of a run, written before its first job and again at its end."""

import itertools
import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from orchestrator.errors import StoreError
from orchestrator.files import write_atomically
from orchestrator.home import Home
from orchestrator.host import read_load
from orchestrator.records.host_facts import HostFacts, RecordedHost
from orchestrator.records.run_folder import RUN, RunFacts, RunFolder

DISTRIBUTION = "waymark-bench"
"""The name in pyproject.toml: `waymark` is another project's on the public index."""

LATEST = "latest"


def new_run(name: str, home: Home, host: HostFacts, **facts: Any) -> RunFacts:
    """A run with an id of its own, by date and `name`, and an empty folder; write it with `write_run`.

    facts: the fields of RunFacts that only the verb knows.
    """
    _keep_private(home.runs)
    began = datetime.now(UTC)
    run_id = _new_folder(home.runs, f"{began:%Y%m%d-%H%M%S}-{name}{_node()}")
    return RunFacts(
        run_id=run_id,
        started_unix=began.timestamp(),
        waymark_version=version(DISTRIBUTION),
        host=RecordedHost(**dict(host), load=read_load()),
        **facts,
    )


def _new_folder(runs: Path, first: str) -> str:
    """Make the folder of a new run; gives its name, which no other run has, of this machine or another."""
    for count in itertools.count(1):
        run_id = first if count == 1 else f"{first}-{count}"
        try:
            (runs / run_id).mkdir()
        except FileExistsError:
            continue
        return run_id
    raise AssertionError("count does not end")


def _node() -> str:
    """'-n12', the node of a cluster; '' elsewhere."""
    named = re.sub(r"[^A-Za-z0-9_]", "", os.environ.get("SLURMD_NODENAME", ""))[:30]
    return f"-{named}" if named else ""


def _keep_private(runs: Path) -> None:
    """Let no other user of the machine into the folder: a worker may leave a program there that runs as its owner."""
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    if runs.stat().st_mode & 0o077:
        with suppress(PermissionError):  # another user of a shared home made it
            runs.chmod(0o700)


def recorded_run(asked: str, home: Home, say: Callable[[str], None]) -> RunFacts:
    """The sweep of that id, or the newest that can be read for LATEST. Raises StoreError if there is none."""
    runs = {path.parent.name: RunFolder(path.parent) for path in sorted(home.runs.glob(f"*/{RUN}"), reverse=True)}
    for name, folder in runs.items():
        if asked not in (name, LATEST):
            continue
        try:
            run = folder.facts()
        except StoreError as error:
            if asked == name:
                raise
            say(f"note: {error}")
            continue
        if run.kind == "sweep":
            return run
    if asked == LATEST:
        raise StoreError(
            f"{home.runs} holds no run to resume. Start one with: invoke sweep --spec=experiments/quick.json"
        )
    raise StoreError(f"there is no sweep '{asked}' to resume. The newest runs are: {', '.join([*runs][:3])}.")


def record_final_load(run: RunFacts) -> RunFacts:
    """The run with the machine's load at its end, which a report compares with that at its start."""
    return run.model_copy(update={"host": run.host.model_copy(update={"load_after": read_load()})})


def write_run(run: RunFacts, home: Home) -> None:
    """Write run.json. Skips may change when a run is resumed: an image that failed may build now."""
    write_atomically(home.runs / run.run_id / RUN, run.model_dump_json(indent=1) + "\n")
