"""Faults on order: a tiny framework that only runs what its job says, in each engine; and a table of what was seen."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.engines.source import WorkerSource
from orchestrator.execution.job_runner import JobContext, run_job
from orchestrator.networks import Network
from orchestrator.records.job import trial_job
from orchestrator.records.run_folder import JobFolder
from orchestrator.records.store import Store
from tests import fake_run as fake

SEEN: dict[tuple[str, str], str] = {}

WORKER = """
import json, os, signal, subprocess, sys, time
job = json.load(open(os.path.join(sys.argv[1], "job.json")))
os.chdir(sys.argv[1])
story = job["options"]["story"]
def say(*events):
    with open("events.jsonl", "a") as file:
        file.writelines(json.dumps(event) + "\\n" for event in events)
exec(job["options"]["code"])
"""


@dataclass(frozen=True)
class Victim:
    """Runs jobs of the tiny framework as a sweep does, in one engine."""

    name: str
    context: JobContext
    environment: object

    def run(self, code, story, on_event=lambda event: None):
        """(outcome, job folder) of a worker that runs `code`; `story` is what a good one would say."""
        asked = fake.trial("numpy_ref", "1.0", model=fake.IDSIA, input_size=48)
        record = fake.trial_record(asked, run_id=self.context.run_dir.name)
        record = record.model_copy(update={"environment": self.environment})
        options = {"code": code, "story": story}
        environment = self.environment.model_copy(update={"options": options})
        job = trial_job(asked, environment, Network.of(asked.model, asked.input_size, 43))
        return run_job(self.context, record, job, None, on_event), JobFolder(self.context.run_dir / record.folder_name)


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "virtualenv"])
def victim(request, prepared, tmp_path):
    """A Victim in each engine; its home has one run."""
    engine, environment = prepared(request.param)
    package = tmp_path / "source" / "workers"
    package.mkdir(parents=True)
    for folder in (tmp_path, package.parent, package):
        folder.chmod(0o755)
    (package / "__init__.py").touch()
    (package / "run.py").write_text(WORKER, encoding="utf-8")
    source = WorkerSource.of(package.parent)
    facts = fake.run_facts()
    run_dir = tmp_path / "runs" / facts.run_id
    run_dir.mkdir(parents=True)
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        store.add_run(facts)
        limits = {"cpus": (), "memory_bytes": 200 * 2**20, "timeout_seconds": 20.0, "silent_seconds": 4.0}
        context = JobContext(engine, store, run_dir, source, tmp_path / "references", **limits)
        yield Victim(request.param, context, environment)


@pytest.fixture
def story():
    """The events of a trial that ends well, as JSON objects."""
    said = fake.training()
    weights = {"weights": 1510863}
    return [{**json.loads(one.model_dump_json()), **(weights if one.kind == "built" else {})} for one in said]


@pytest.fixture
def note():
    """note(fault, engine, outcome) keeps a line for the table that ends the run."""

    def note(fault: str, engine: str, seen: str) -> None:
        SEEN[fault, engine] = seen

    return note


def pytest_terminal_summary(terminalreporter):
    """The table of faults and outcomes; also in $WAYMARK_FAULTS, if that names a file."""
    if SEEN:
        terminalreporter.write_sep("=", f"{len(SEEN)} faults and what came of them")
        for (fault, engine), seen in SEEN.items():
            terminalreporter.write_line(f"{fault:52} {engine:11} {seen}")


VICTIM_TEXT = "precious"


@pytest.fixture
def precious(tmp_path) -> Path:
    """A file of the host that no worker may read, change or have copied."""
    path = tmp_path / "precious"
    path.write_text(VICTIM_TEXT, encoding="utf-8")
    path.chmod(0o600)
    return path
