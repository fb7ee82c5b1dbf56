"""Workers of the tiny framework (see tests/tiny_framework.py) that do what a test says, in each engine."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.engines.engine import Engine, Launch
from orchestrator.environment import Environment

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
