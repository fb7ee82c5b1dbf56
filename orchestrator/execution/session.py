"""One life cycle of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.console.progress import View
from orchestrator.engines import open_engine
from orchestrator.engines.engine import Engine
from orchestrator.errors import EngineError
from orchestrator.home import Home
from orchestrator.host import HostFacts, read_load, worries
from orchestrator.planning.catalogue import Catalogue
from orchestrator.trial import Card


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
