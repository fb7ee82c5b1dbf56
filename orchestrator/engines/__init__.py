"""What runs a worker: Docker, a virtualenv, a Python that is there, a recording; engine.py says what each promises."""

import importlib.util
from pathlib import Path

from orchestrator.engines.engine import Engine
from orchestrator.engines.images import Builder
from orchestrator.engines.installed import HostEngine
from orchestrator.engines.replay import ReplayEngine
from orchestrator.engines.virtualenv import VirtualenvEngine, find_python
from orchestrator.errors import EngineError, did_you_mean
from orchestrator.home import Home
from orchestrator.planning.image_row import Cores

__all__ = ["ENGINES", "find_python", "open_builder", "open_engine"]

ENGINES = ("docker", "virtualenv", "host", "replay")


def open_engine(name: str, home: Home, cores: Cores) -> Engine:
    """The engine of that name; 'replay:FOLDER' plays what is recorded in FOLDER.

    'host:PYTHON' runs workers in that Python, with the framework that it has; 'host' in $WAYMARK_HOST_PYTHON, or in the
    Python that runs waymark.
    Raises EngineError for an unknown name, and if the engine cannot be used on this machine.
    """
    kind, _, folder = name.partition(":")
    if name == "docker":
        _need_sdk()
        from orchestrator.engines.container import DockerEngine

        return DockerEngine(home, cores)
    if name == "virtualenv":
        return VirtualenvEngine(home, cores)
    if kind == "host":
        return HostEngine(home, cores, folder)
    if kind == "replay" and folder:
        return ReplayEngine(Path(folder).absolute())
    known = "docker, virtualenv, host[:PYTHON], replay:FOLDER"
    raise EngineError(f"No engine is called '{name}'. Known: {known}.{did_you_mean(kind, ENGINES)}")


def open_builder() -> Builder:
    """The Docker daemon, for its images. Raises EngineError if none answers."""
    _need_sdk()
    from orchestrator.engines.docker import Daemon

    return Daemon()


def _need_sdk() -> None:
    """The SDK is an extra, so its modules are imported on use: the other engines work without it."""
    # A submodule is looked for, because the project's own folder docker/ answers to the bare name.
    if importlib.util.find_spec("docker.errors") is None:
        raise EngineError("Docker needs the package 'docker': pip install 'waymark[docker]', or --engine=virtualenv.")
