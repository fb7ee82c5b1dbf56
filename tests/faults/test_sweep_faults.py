"""What ends a sweep, or what it stands on, leaves no process, no container and no doubt behind."""

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from orchestrator.engines import images, open_engine
from orchestrator.engines.orphans import running_workers
from orchestrator.errors import EngineError
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import read_host
from orchestrator.records.run_folder import RunFolder
from tests.integration.conftest import long_world, swept, world  # noqa: F401 - fixtures
from tests.sweeping import run

pytestmark = pytest.mark.timeout(180)

HOLDER = """
import sys
from pathlib import Path
from orchestrator.engines import open_engine
from orchestrator.engines.engine import Launch
from orchestrator.environment import Environment
from orchestrator.home import Home
from orchestrator.host import read_host
engine, environment, source, job = sys.argv[1:]
engine = open_engine(engine, Home(Path(job).parent), read_host())
environment = Environment.model_validate_json(environment)
launch = Launch(environment, "workers.run", Path(source), Path(job), None, (), 2**28, 60.0, {"run": "held"})
engine.run(launch, lambda: None)
"""
FERTILE = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open("alive", "w").close()
time.sleep(60)
"""


def until(condition, seconds=20.0):
    """Wait for it; True if it came."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def containers(label):
    client = docker.from_env()
    found = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
    client.close()
    return found


def processes_of(folder):
    """Processes whose working folder is below `folder`."""
    found = []
    for entry in os.scandir("/proc"):
        with suppress(OSError):
            if entry.name.isdigit() and (Path(entry.path) / "cwd").readlink().is_relative_to(folder):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM], ids=lambda one: one.name)
def test_a_worker_ends_with_its_orchestrator(victim, tmp_path, note, number):
    """However that ends: none of these signals is handled by the process that is killed here."""
    (victim.context.source.path / "workers" / "run.py").write_text(FERTILE)
    job = tmp_path / "job"
    job.mkdir()
    argv = (victim.name, victim.environment.model_dump_json(), str(victim.context.source.path), str(job))
    with subprocess.Popen([sys.executable, "-c", HOLDER, *argv], cwd=REPOSITORY) as holder:
        assert until((job / "alive").exists)
        holder.send_signal(number)
    if victim.name == "docker":
        assert until(lambda: not containers("waymark.run=held"))
    assert until(lambda: not processes_of(job))
    note(f"{signal.Signals(number).name} of the sweep", victim.name, "worker and children ended")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda one: one.name)
def test_making_an_environment_ends_with_the_sweep(tmp_path, note, number):
    environment = {**os.environ, "WAYMARK_HOME": str(tmp_path / "home"), "WAYMARK_REPORTS": str(tmp_path / "reports")}
    argv = [sys.executable, "-m", "invoke", "sweep", "--spec=experiments/smoke.json", "--engine=virtualenv"]

    def makers():
        """Command lines of the processes that make it."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                if str(tmp_path / "home" / "virtualenvs").encode() in command:
                    found.append(command)
        return found

    with subprocess.Popen(argv, cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL) as sweep:
        assert until(makers)
        time.sleep(0.3)
        sweep.send_signal(number)
    assert until(lambda: not makers(), seconds=5)
    note(f"{signal.Signals(number).name} while an environment is made", "virtualenv", "venv and pip ended")


def test_a_sweep_that_was_killed_is_resumed_to_its_end(long_world, catalogue, note):  # noqa: F811
    home, spec, environment = long_world
    argv = [sys.executable, "-m", "invoke", "sweep", f"--spec={spec}", "--engine=virtualenv"]
    with subprocess.Popen(argv, cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL) as sweep:
        assert until(lambda: any(home.runs.glob("*tiny/0001-*/events.jsonl")), seconds=60)
        sweep.kill()
    assert until(lambda: not running_workers(home.root), seconds=5)
    spec_path, reports = spec, environment["WAYMARK_REPORTS"]
    result, _ = run((home, spec_path, type(spec_path)(reports)), catalogue, resume="latest")
    assert [trial.outcome.status for trial in result.report.stored.trials] == ["ok", "ok"]
    jobs, refused = RunFolder(home.runs / result.report.stored.facts.run_id).jobs()
    assert (sorted(number for number, (_, record) in jobs.items() if record.trial), refused) == ([1, 2], [])
    note("SIGKILL of the sweep, then --resume", "virtualenv", "2 of 2 trials ok")


class Proxy:
    """A Docker address that goes away on order, while the daemon behind it lives."""

    def __init__(self, path):
        self.address, self._open = f"unix://{path}", []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect("/var/run/docker.sock")
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one, other):
        with suppress(OSError):
            while part := one.recv(65536):
                other.sendall(part)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def go_away(self):
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.mark.docker
@pytest.mark.parametrize("victim", ["docker"], indirect=True)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning", "ignore::ResourceWarning")
def test_a_daemon_that_goes_away_is_told(victim, story, tmp_path, monkeypatch, note):
    proxy = Proxy(tmp_path / "docker.sock")
    monkeypatch.setenv("DOCKER_HOST", proxy.address)
    engine = open_engine("docker", Home(tmp_path / "home"), read_host())
    away = type(victim)(victim.name, replace(victim.context, engine=engine), victim.environment)
    outcome, _ = away.run(
        "say(*story[:3]); time.sleep(60)", story, lambda event: proxy.go_away() if event.kind == "built" else None
    )
    note("the Docker daemon goes away", "docker", f"{outcome.status}/{outcome.fault}: {outcome.reason}"[:120])
    assert (outcome.status, outcome.fault) == ("lost", "environment")
    assert "Docker went away" in outcome.reason
    with pytest.raises(EngineError, match="did not answer"):
        away.run("say(*story)", story)
    monkeypatch.delenv("DOCKER_HOST")
    left = containers(f"waymark.run={victim.context.run_dir.name}")
    assert len(left) == 1
    assert victim.run("say(*story)", story)[0].status == "ok"  # its engine looks before it starts
    assert containers(f"waymark.run={victim.context.run_dir.name}") == []
    del away
    engine.close()
    gc.collect()  # the sockets that the proxy tore, while their warnings are still ignored


@pytest.mark.docker
@pytest.mark.parametrize("victim", ["docker"], indirect=True)
def test_an_image_that_was_removed_after_planning_is_told(victim, story, tiny, note):
    gone = victim.environment.model_copy(update={"location": "sha256:" + "0" * 64})
    with pytest.raises(EngineError, match="No such image") as caught:
        type(victim)(victim.name, victim.context, gone).run("say(*story)", story)
    note("the image is removed between plan and run", "docker", str(caught.value)[:120])
    assert images.reference(tiny).startswith("waymark/tiny")


@contextmanager
def small_disk(folder, size):
    """A disk of that size at `folder`; needs root."""
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]).returncode:
        pytest.skip("only root can mount a small disk to fill")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("size", ["16k", "1m", "3m"])
def test_a_full_disk_is_one_sentence(tmp_path, note, size, catalogue, environment):
    environment(catalogue.resolve("numpy_ref", "cpu"))
    with small_disk(tmp_path / "small", size) as home:
        (home / "virtualenvs").symlink_to(Home.default().virtualenvs)
        variables = {**os.environ, "WAYMARK_HOME": str(home), "WAYMARK_REPORTS": str(tmp_path / "reports")}
        argv = [sys.executable, "-m", "invoke", "sweep", "--spec=experiments/smoke.json", "--engine=virtualenv"]
        ended = subprocess.run(argv, cwd=REPOSITORY, env=variables, capture_output=True, text=True)
    last = ended.stderr.strip().splitlines()[-1]
    note(f"a disk of {size} is full", "virtualenv", f"exit code {ended.returncode}: {last}"[:130])
    assert "Traceback" not in ended.stderr
    assert ended.returncode in (1, 3, 4), ended.stderr


def test_a_clock_that_jumps_changes_no_outcome(victim, story, note, monkeypatch):
    real, jumps = time.time, iter([0.0, 3600.0, -7200.0, 86400.0])
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps, 0.0))
    story[0]["started_unix"] = real()
    outcome, folder = victim.run("say(*story[:5]); time.sleep(2); say(*story[5:])", story)
    note("the wall clock jumps", victim.name, f"{outcome.status}/{outcome.fault}")
    assert outcome.status == "ok"
    assert folder.exit().wall_seconds < 60


def test_an_orphan_of_a_killed_run_is_ended_before_the_next(world, catalogue, note):  # noqa: F811
    home = world[0]
    job = home.runs / "20200101-000000-old" / "0001-job"
    job.mkdir(parents=True)
    package = home.root.parent / "orphan" / "workers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "run.py").write_text("import time; time.sleep(60)\n")
    argv = [sys.executable, "-m", "workers.run", str(job)]
    with subprocess.Popen(argv, cwd=package.parent, start_new_session=True) as orphan:
        assert until(lambda: running_workers(home.root))
        shutil.rmtree(home.runs / "20200101-000000-old")
        _, said = run(world, catalogue, resume="latest")
        assert orphan.wait(5) == -signal.SIGKILL
    assert f"process {orphan.pid} is a worker of a run that has ended" in said
    note("an orphan works beside the next run", "virtualenv", "it is ended first, and that is said")
