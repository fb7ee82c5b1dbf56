"""A run: alone on this machine, with an engine, its environments, and the folder that records it."""

import fcntl
import itertools
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from types import FrameType
from typing import Any

from orchestrator.catalogue import ImageRow
from orchestrator.engines import open_engine
from orchestrator.engines.engine import Engine
from orchestrator.errors import EngineError
from orchestrator.home import Home
from orchestrator.host import HostFacts, read_load, worries
from orchestrator.progress import View
from orchestrator.trial import Environment
from orchestrator.wire import RUN, RunFacts, write_atomically

EnvironmentKey = tuple[str, str, str]
"""framework, variant, device: what an environment is for."""


def key_of(row: ImageRow) -> EnvironmentKey:
    """What the environment of `row` is for."""
    return (row.framework, row.variant, row.device)


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Hold this machine's lock: two runs side by side would time each other. Raises EngineError if it is held."""
    home.root.mkdir(parents=True, exist_ok=True)
    with (home.root / "sweep.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(
                "another run is going on on this machine, and two at once would time each other. "
                "Wait for it to end, or stop it with Ctrl-C."
            ) from None
        yield


def look_around(host: HostFacts, memory_bytes: int, planned: Sequence[str], is_strict: bool, view: View) -> None:
    """Say what would make times untrustworthy here. Raises EngineError instead, if `is_strict`; changes nothing.

    planned: what the plan itself does to its times, a sentence each.
    """
    found = [*worries(host, read_load(), memory_bytes), *planned]
    if found and is_strict:
        raise EngineError(f"--strict refuses to time anything here. {' '.join(found)}")
    for worry in found:
        view.say(f"note: {worry}")


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """`kill` and a CI's timeout end a run as Ctrl-C does: the container is stopped, what is done is kept."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def choose_engine(asked: str | None, home: Home, host: HostFacts, view: View) -> tuple[Engine, str]:
    """The engine that was asked for and its name; docker if none was, or virtualenv where no daemon answers."""
    if asked is not None:
        return open_engine(asked, home, host), asked
    try:
        return open_engine("docker", home, host), "docker"
    except EngineError as error:
        view.say(f"{error} No engine was named, so the run uses the virtualenv engine.")
        return open_engine("virtualenv", home, host), "virtualenv"


def prepare(
    rows: Sequence[ImageRow], engine: Engine, view: View
) -> tuple[dict[EnvironmentKey, Environment], dict[EnvironmentKey, str]]:
    """Every environment that could be made; and for each that could not, why.

    Raises EngineError if none could.
    """
    made: dict[EnvironmentKey, Environment] = {}
    failed: dict[EnvironmentKey, str] = {}
    for row in rows:
        try:
            made[key_of(row)] = engine.prepare(row, view.say)
        except EngineError as error:
            view.say(str(error))
            failed[key_of(row)] = str(error)
    if not made:
        raise EngineError(f"no environment of this run could be made; the last reason: {list(failed.values())[-1]}")
    return made, failed


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
