"""A run: alone on this machine, with an engine, its environments, and the folder that records it."""

import fcntl
import itertools
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from orchestrator.catalogue import HOST, Catalogue
from orchestrator.collect import decide
from orchestrator.engines import open_engine
from orchestrator.engines.engine import Engine, Launch
from orchestrator.engines.source import snapshot
from orchestrator.errors import EngineError
from orchestrator.home import Home
from orchestrator.host import GIB, HostFacts, read_load, worries
from orchestrator.preflight import card_for, why_not
from orchestrator.progress import View
from orchestrator.row import ImageRow
from orchestrator.trial import Card, Environment, Outcome
from orchestrator.wire import JOB, RUN, JobFolder, RunFacts, probe_job, write_atomically

LEASES = Path("/tmp")  # noqa: S108 - the one folder that all users of a machine share; see _lock_of

PROBE_SECONDS = 900.0
"""A driver may first compile all of a framework's code for its card."""
PROBE_MEMORY_BYTES = 16 * GIB

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


@contextmanager
def lease(cards: Iterable[Card]) -> Iterator[None]:
    """Hold these cards, so that no other run of this machine, of whatever home or user, computes on them meanwhile.

    Raises EngineError if one is held.
    """
    with ExitStack() as held:
        for card in cards:
            file = held.enter_context(_lock_of(card))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EngineError(
                    f"{card.label} is leased to another run of this machine. Wait for it to end, or name another "
                    "card with --gpus."
                ) from None
        yield


@contextmanager
def _lock_of(card: Card) -> Iterator[int]:
    """A file that stands for the card. Anybody may have made it, so nothing is written, and no link is followed."""
    path, flags = LEASES / f"waymark-{card.uuid}.lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(path, flags) if path.exists() else os.open(path, flags | os.O_CREAT, 0o644)
    except OSError as error:
        raise EngineError(f"{card.label} cannot be leased: {path} does not open ({error.strerror}).") from None
    try:
        yield file
    finally:
        os.close(file)


def look_around(
    host: HostFacts, cards: tuple[Card, ...], memory_bytes: int, planned: Sequence[str], is_strict: bool, view: View
) -> None:
    """Say what would make times untrustworthy here. Raises EngineError instead, if `is_strict`; changes nothing.

    cards: those that the run will compute on. planned: what the plan itself does to its times, a sentence each.
    """
    found = [*worries(host, read_load(cards), memory_bytes), *planned]
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


def as_installed(
    engine: str | None, catalogue: Catalogue, changes: Mapping[str, Any]
) -> tuple[Catalogue, Mapping[str, Any]]:
    """What that engine knows of the catalogue, and the changes of a spec that go with it.

    --engine=host knows one variant of each framework, the one that is installed, whatever variants a spec names.
    """
    if engine is None or engine.partition(":")[0] != "host":
        return catalogue, changes
    return catalogue.installed(), {"axes.variants": {}, **changes}


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
    rows: Sequence[ImageRow], engine: Engine, host: HostFacts, home: Home, view: View
) -> tuple[dict[EnvironmentKey, Environment], dict[EnvironmentKey, Outcome]]:
    """Every environment that could be made, with its card; and for each that could not, what its trials come to.

    One on a card, or one that is not of our making, must first take a training step.
    Raises EngineError if none is left.
    """
    made: dict[EnvironmentKey, Environment] = {}
    failed: dict[EnvironmentKey, Outcome] = {}
    for row in rows:
        try:
            made[key_of(row)] = _prepared(row, engine, host, home, view)
        except _UnfitError as unfit:
            view.say(f"{row.label}: {unfit.outcome.status}: {unfit}")
            failed[key_of(row)] = unfit.outcome
        except EngineError as error:
            view.say(str(error))
            failed[key_of(row)] = Outcome(status="crashed", fault="environment", reason=str(error))
    if not made:
        raise EngineError(
            f"no environment of this run could be made; the last reason: {list(failed.values())[-1].reason}"
        )
    return made, failed


class _UnfitError(Exception):
    """An environment that does not compute here; `outcome` is what its trials come to."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def _prepared(row: ImageRow, engine: Engine, host: HostFacts, home: Home, view: View) -> Environment:
    """The environment of `row`, on its card, tried. Raises _UnfitError or EngineError."""
    if not engine.is_here:
        return engine.prepare(row, view.say)
    reason = why_not(row, host) if row.device == "gpu" else ""
    if reason:
        raise _UnfitError(Outcome(status="unsupported", fault="subject", reason=reason.removeprefix("unsupported: ")))
    environment, card = engine.prepare(row, view.say), card_for(row, host)
    if card is None and row.variant != HOST:
        return environment
    environment = environment.on(card) if card else environment
    outcome = probe(environment, engine, home)
    if outcome.status != "ok":
        raise _UnfitError(outcome)
    return environment


def probe(environment: Environment, engine: Engine, home: Home) -> Outcome:
    """What becomes of one training step of a small network in that environment."""
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=home.root) as name:
        folder, job = JobFolder(Path(name)), probe_job(environment)
        folder.write(JOB, job)
        launch = Launch(
            environment=environment,
            module="workers.probe",
            source=snapshot(home).path,
            job_dir=folder.path,
            data_dir=None,
            cpus=(),
            memory_bytes=PROBE_MEMORY_BYTES,
            timeout_seconds=PROBE_SECONDS,
            labels={"run": "probe", "job": f"{environment.framework}-{environment.variant}"},
        )
        ended = engine.run(launch, lambda: None)
        return decide(job, folder.events(), ended)


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
