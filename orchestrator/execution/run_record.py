"""run.json: a run as it was asked for, written before its first job and again at its end."""

import itertools
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from orchestrator.home import Home
from orchestrator.host import HostFacts, read_load
from orchestrator.records.run_folder import RUN, RunFacts, write_atomically


def new_run(name: str, home: Home, host: HostFacts, **facts: Any) -> RunFacts:
    """A run with an id of its own, by date and `name`, and an empty folder; write it with `write_run`.

    facts: the fields of RunFacts that only the use case knows.
    """
    began = datetime.now(UTC)
    run_id = first = f"{began:%Y%m%d-%H%M%S}-{name}"
    same_second = itertools.count(2)
    while (home.runs / run_id).exists():
        run_id = f"{first}-{next(same_second)}"
    (home.runs / run_id).mkdir(parents=True)
    return RunFacts(
        run_id=run_id,
        started_unix=began.timestamp(),
        waymark_version=version("waymark"),
        host={**host.model_dump(mode="json"), "load": read_load().model_dump(mode="json")},
        **facts,
    )


def look_back(run: RunFacts) -> RunFacts:
    """The run with what the machine was busy with at its end, so that a report can hold the two against each other."""
    return run.model_copy(update={"host": {**run.host, "load_after": read_load().model_dump(mode="json")}})


def write_run(run: RunFacts, home: Home) -> None:
    """Write run.json. What a run leaves out may differ when it is resumed: an image that failed may build now."""
    write_atomically(home.runs / run.run_id / RUN, run.model_dump_json(indent=1) + "\n")
