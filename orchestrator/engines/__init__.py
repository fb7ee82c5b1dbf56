"""What runs a worker: Docker, a virtualenv, an installed Python, a recording; engine.py has their interface."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.engines.engine import Engine
from orchestrator.engines.images import ImageBuilder
from orchestrator.engines.installed import HostEngine
from orchestrator.engines.replay import ReplayEngine
from orchestrator.engines.virtualenv import VirtualenvEngine, find_python
from orchestrator.engines.virtualenv import unfinished as unfinished_virtualenvs
from orchestrator.errors import EngineError, did_you_mean
from orchestrator.home import Home, expanded
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import Cores

__all__ = ["ENGINES", "engine_forms", "find_python", "open_builder", "open_engine", "rows_of", "unfinished_virtualenvs"]


def _open_docker(home: Home, cores: Cores, _: str) -> Engine:
    _require_sdk()
    from orchestrator.engines.container import DockerEngine

    return DockerEngine(home, cores)


def _open_podman(home: Home, cores: Cores, _: str) -> Engine:
    _require_sdk()
    from orchestrator.engines.container import PodmanEngine

    return PodmanEngine(home, cores)


@dataclass(frozen=True)
class EngineKind:
    """One engine.

    form: how it is written after --engine. open: takes the home, the machine's cores, and the text after the colon.
    rows: the rows of a catalogue that it can prepare.
    """

    form: str
    open: Callable[[Home, Cores, str], Engine]
    rows: Callable[[Catalogue], Catalogue] = lambda catalogue: catalogue


ENGINES = {
    "docker": EngineKind("docker", _open_docker),
    "podman": EngineKind("podman", _open_podman),
    "virtualenv": EngineKind("virtualenv", lambda home, cores, _: VirtualenvEngine(home, cores)),
    "host": EngineKind("host[:PYTHON]", HostEngine, Catalogue.installed),
    "replay": EngineKind("replay:FOLDER", lambda home, cores, folder: ReplayEngine(expanded(folder).absolute())),
}


def engine_forms() -> str:
    """'docker, podman, virtualenv, host[:PYTHON], replay:FOLDER': what --engine takes."""
    return ", ".join(kind.form for kind in ENGINES.values())


def open_engine(name: str, home: Home, cores: Cores) -> Engine:
    """The engine of that name: 'docker', 'podman', 'virtualenv', 'host:PYTHON', 'replay:FOLDER'.

    'host' without a Python runs workers in $WAYMARK_HOST_PYTHON, or in the Python that runs waymark.
    Raises EngineError for an unknown name, and if the engine cannot be used on this machine.
    """
    kind, colon, argument = name.partition(":")
    entry = ENGINES.get(kind)
    takes, needs = (entry is not None and ":" in entry.form), (entry is not None and f"{kind}:" in entry.form)
    if entry is None or (colon and not takes) or (needs and not argument):
        raise EngineError(f"No engine is called '{name}'. Known: {engine_forms()}.{did_you_mean(kind, ENGINES)}")
    return entry.open(home, cores, argument)


def rows_of(name: str | None, catalogue: Catalogue) -> Catalogue:
    """The rows of `catalogue` that the engine of that name can prepare; all if there is no such engine or no name."""
    entry = ENGINES.get((name or "").partition(":")[0])
    return catalogue if entry is None else entry.rows(catalogue)


def open_builder() -> ImageBuilder:
    """The Docker daemon, for its images. Raises EngineError if none answers."""
    _require_sdk()
    from orchestrator.engines.docker import Daemon

    return Daemon()


def _require_sdk() -> None:
    """The SDK is an extra, so its modules are imported on use; the other engines work without it."""
    # It looks for a submodule, because the project's own folder docker/ has the bare name.
    if importlib.util.find_spec("docker.errors") is None:
        raise EngineError(
            "Docker needs the package 'docker': pip install -e '.[docker]' in the clone, or --engine=virtualenv."
        )
