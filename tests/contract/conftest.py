"""A tiny framework that is only a Python, made by each engine; and workers that misbehave on order."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from orchestrator.engines import images, open_engine
from orchestrator.engines.engine import Engine, Launch
from orchestrator.environment import Environment
from orchestrator.home import Home
from orchestrator.host import read_host
from orchestrator.planning.catalogue import Catalogue

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = f"python:{PYTHON}-slim-bookworm"
TABLE = f"""
default = "0"
["0".cpu]
stage = "cpu"
python = "{PYTHON}"
requirements = "none.txt"
disk_mb = 100
env = {{ CORES = "{{physical_cores}}" }}
"""
DOCKERFILE = """
ARG PYTHON
FROM python:${PYTHON}-slim-bookworm AS cpu
ARG REQUIREMENTS
COPY requirements/${REQUIREMENTS} /requirements.txt
USER 65532:65532
ENTRYPOINT ["python"]
"""
WORKER = "import json, os, signal, subprocess, sys, time\nexec(json.load(open('job.json'))['code'])\n"


@dataclass(frozen=True)
class Stand:
    """An engine with its tiny environment: `launch` makes a job of a few lines of Python."""

    engine: Engine
    environment: Environment
    source: Path
    folder: Path

    def launch(self, code: str, data_dir: Path | None = None, **limits) -> Launch:
        job_dir = self.folder / "job"
        job_dir.mkdir()
        (job_dir / "job.json").write_text(json.dumps({"code": code}))
        bounds = {"cpus": (), "memory_bytes": 2**29, "timeout_seconds": 60.0, **limits}
        return Launch(
            environment=self.environment,
            module="workers.run",
            source=self.source,
            job_dir=job_dir,
            data_dir=data_dir,
            labels={"run": "contract", "job": str(os.getpid())},
            **bounds,
        )

    def run(self, code: str, **limits):
        return self.engine.run(self.launch(code, **limits), lambda: None)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The row of the tiny framework."""
    folder = tmp_path_factory.mktemp("docker") / "tiny"
    (folder / "requirements").mkdir(parents=True)
    (folder / "requirements" / "none.txt").write_text("# nothing: a Python is all it is\n")
    (folder / "images.toml").write_text(TABLE)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return Catalogue.load(folder.parent).resolve("tiny", "cpu")


@pytest.fixture(scope="session")
def need_base():
    """need_base() skips the test where the tiny framework's base image is neither here nor to be had."""

    def need_base() -> None:
        client = docker.from_env()
        try:
            client.images.get(BASE)
        except docker.errors.ImageNotFound:
            try:
                client.images.pull(BASE)
            except docker.errors.APIError as error:
                pytest.skip(f"{BASE} is not here and cannot be pulled: {error.explanation}")
        finally:
            client.close()

    return need_base


@pytest.fixture(scope="session")
def prepared(tiny, tmp_path_factory, need_base):
    """name -> engine and environment, each made once a session."""
    home, made = Home(tmp_path_factory.mktemp("home")), {}

    def prepare(name: str):
        if name not in made:
            if name == "docker":
                need_base()
            engine = open_engine(name, home, read_host())
            made[name] = engine, engine.prepare(tiny, print)
        return made[name]

    yield prepare
    for engine, _ in made.values():
        engine.close()
    if "docker" in made:
        client = docker.from_env()
        client.images.remove(images.reference(tiny), force=True)
        client.close()


@pytest.fixture
def stand(request, prepared, tmp_path):
    """The engine that the test's parameter names, with a worker that does what job.json says."""
    engine, environment = prepared(request.param)
    package = tmp_path / "source" / "workers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "run.py").write_text(WORKER)
    return Stand(engine, environment, package.parent, tmp_path)
