"""Workers of the tiny framework (see tests/tiny_framework.py) that do what a test says, in each engine; and stores."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.engines.engine import Engine, Launch
from orchestrator.environment import Environment
from orchestrator.records.store import Store
from tests import fake_run as fake
from tests import postgres

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


@pytest.fixture
def stand(request, prepared, tmp_path):
    """The engine that the test's parameter names, with a worker that does what job.json says."""
    engine, environment = prepared(request.param)
    package = tmp_path / "source" / "workers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "run.py").write_text(WORKER)
    return Stand(engine, environment, package.parent, tmp_path)


@pytest.fixture(scope="session")
def server():
    folder = postgres.binaries()
    if folder is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt install postgresql)")
    with postgres.running(folder) as server:
        yield server


@pytest.fixture
def empty_postgres(server):
    """URL of an empty database."""
    engine = sa.create_engine(sa.make_url(server.url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS events, jobs, runs, waymark_schema")
    engine.dispose()
    return server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'folder' / 'store.sqlite'}"
    return request.getfixturevalue("empty_postgres")


@pytest.fixture
def store(url):
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def lite(tmp_path):
    """Path of a SQLite store that holds one run."""
    path = tmp_path / "store.sqlite"
    with Store.open(f"sqlite:///{path}") as opened:
        opened.add_run(fake.run_facts())
    return path
