"""What every engine promises (see Engine), tried on workers that misbehave; and what containers promise beyond it."""

import json
import os
import platform
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version

import docker
import pytest

from orchestrator.engines import open_engine, process
from orchestrator.engines.docker import OWNER, Daemon
from orchestrator.engines.engine import Launch
from orchestrator.engines.images import Recipe
from orchestrator.engines.virtualenv import worker_env
from orchestrator.errors import EngineError
from orchestrator.host import read_host
from orchestrator.trial import Card

pytestmark = pytest.mark.timeout(120)

DOCKER = pytest.param("docker", marks=pytest.mark.docker)
every_engine = pytest.mark.parametrize("stand", [DOCKER, "virtualenv", "host"], indirect=True)
in_docker = pytest.mark.parametrize("stand", [DOCKER], indirect=True)

STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); open('alive', 'w').close(); time.sleep(60)"
FERTILE = """
child = "import time\\nwhile True: open('beat', 'a').write('.'); time.sleep(.02)"
subprocess.Popen([sys.executable, "-c", child])
while not os.path.exists("beat"): time.sleep(.02)
"""


class Enough(Exception):  # noqa: N818 - it is not an error
    """What tick raises when the user has had enough."""


def when(path):
    """A tick that raises once the worker has made that file."""

    def tick():
        if path.exists():
            raise Enough

    return tick


def forget(reference):
    """Remove an image that a test built."""
    client = docker.from_env()
    with suppress(docker.errors.ImageNotFound):
        client.images.remove(reference, force=True)
    client.close()


def beats_on(folder):
    """Whether something still writes in the job folder."""
    time.sleep(0.2)
    before = (folder / "job" / "beat").stat().st_size
    time.sleep(0.3)
    return (folder / "job" / "beat").stat().st_size > before


@every_engine
def test_a_job_that_ends_well_has_code_0(stand):
    assert stand.run("pass").code == 0


@every_engine
def test_an_exit_code_is_passed_on(stand):
    assert stand.run("sys.exit(66)").code == 66


@every_engine
def test_a_signal_is_told_and_is_no_exit_code(stand):
    ended = stand.run("os.kill(os.getpid(), signal.SIGSEGV)")
    assert (ended.code, ended.signal) == (None, 11)


@every_engine
def test_a_worker_that_ignores_its_time_limit_is_ended(stand):
    ended = stand.run(STUBBORN, timeout_seconds=1.5)
    assert (ended.is_timeout, ended.code) == (True, None)


@every_engine
def test_a_worker_past_its_memory_is_ended_and_that_is_told(stand):
    ended = stand.run("x = bytearray(400_000_000); time.sleep(60)", memory_bytes=150_000_000)
    assert (ended.is_out_of_memory, ended.is_timeout) == (True, False)


@every_engine
def test_what_tick_raises_leaves_run(stand):
    launch = stand.launch(STUBBORN)
    with pytest.raises(Enough):
        stand.engine.run(launch, when(launch.job_dir / "alive"))


@every_engine
def test_children_are_gone_when_tick_raised(stand, tmp_path):
    launch = stand.launch(FERTILE + "time.sleep(60)")
    with pytest.raises(Enough):
        stand.engine.run(launch, when(launch.job_dir / "beat"))
    assert not beats_on(tmp_path)


@every_engine
def test_children_are_gone_when_the_worker_ended(stand, tmp_path):
    stand.run(FERTILE)
    assert not beats_on(tmp_path)


@every_engine
def test_tick_is_called_five_times_a_second_while_the_worker_lives(stand):
    ticks = []
    stand.engine.run(stand.launch("time.sleep(2)"), lambda: ticks.append(1))
    assert len(ticks) >= 10


@every_engine
def test_events_can_be_followed_while_the_worker_runs(stand):
    launch = stand.launch("open('events.jsonl', 'w').write('{}\\n'); time.sleep(60)")
    with pytest.raises(Enough):
        stand.engine.run(launch, when(launch.job_dir / "events.jsonl"))


@every_engine
def test_the_last_words_are_kept(stand):
    ended = stand.run("print('what it said', flush=True); sys.exit('why it died')")
    # stdout and stderr are two pipes: Docker promises no order between lines written to both at once.
    assert sorted(ended.log_tail.splitlines()) == ["what it said", "why it died"]


@every_engine
def test_the_start_is_dated(stand):
    ended = stand.run("time.sleep(.3)")
    assert 0 <= ended.started_seconds < ended.wall_seconds - 0.3


@every_engine
def test_the_worker_sees_its_row_and_nothing_of_the_users(stand, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    stand.run("json.dump(dict(os.environ), open('seen', 'w'))")
    seen = json.loads((stand.folder / "job" / "seen").read_text())
    assert seen["CORES"] == str(read_host().physical_cores)
    assert "SECRET" not in seen


@every_engine
def test_home_and_temporary_folder_can_be_written(stand):
    assert stand.run("[open(os.path.join(os.environ[k], 'x'), 'w') for k in ('HOME', 'TMPDIR')]").code == 0


@every_engine
def test_pictures_are_where_the_second_argument_says(stand, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "manifest.json").write_text("{}")
    found = "sys.exit(0 if os.listdir(sys.argv[2]) == ['manifest.json'] else 1)"
    assert stand.run(found, data_dir=tmp_path / "pictures").code == 0


@every_engine
def test_processors_are_those_asked_for(stand):
    last = max(read_host().cpus)
    assert stand.run(f"sys.exit(0 if os.sched_getaffinity(0) == {{{last}}} else 1)", cpus=(last,)).code == 0


@every_engine
def test_an_environment_knows_its_python_and_its_packages(stand):
    assert stand.environment.python.startswith(("3.",))
    assert stand.environment.engine == stand.engine.name


@every_engine
def test_preparing_again_makes_nothing_and_gives_the_same(stand, tiny):
    said = []
    assert stand.engine.prepare(tiny, said.append) == stand.environment
    assert said == []


@pytest.mark.parametrize("name", ["dcoker", "replay", "ray"])
def test_an_unknown_engine_is_answered_with_the_known_ones(name, home):
    with pytest.raises(EngineError, match=r"Known: docker, virtualenv, host\[:PYTHON\], replay:FOLDER"):
        open_engine(name, home, read_host())


def test_a_silent_daemon_is_one_sentence_with_a_way_on(home, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(EngineError) as caught:
        open_engine("docker", home, read_host())
    assert str(caught.value) == (
        f"Docker does not answer at unix://{tmp_path}/docker.sock. Start it, or use --engine=virtualenv."
    )


@pytest.mark.parametrize("name", ["host:/nowhere/python", "host:/etc/passwd", "host:ls"])
def test_a_host_python_that_is_none_is_one_sentence_with_a_way_on(name, home):
    with pytest.raises(EngineError, match=r"that is no Python that runs\. Name one: --engine=host:/path/of/python"):
        open_engine(name, home, read_host())


def test_the_host_python_is_the_one_that_runs_waymark_unless_another_is_named(home, monkeypatch, tiny, tmp_path):
    monkeypatch.delenv("WAYMARK_HOST_PYTHON", raising=False)
    assert open_engine("host", home, read_host()).prepare(tiny, print).location == sys.executable
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.setenv("WAYMARK_HOST_PYTHON", str(tmp_path / "python"))
    assert open_engine("host", home, read_host()).prepare(tiny, print).location == str(tmp_path / "python")
    named = open_engine(f"host:{sys.executable}", home, read_host())
    assert named.prepare(tiny, print).location == sys.executable


def test_a_host_environment_is_what_is_installed(prepared):
    _, environment = prepared("host")
    assert f"numpy=={version('numpy')}" in environment.freeze
    assert environment.python == platform.python_version()


def test_another_package_beside_it_makes_a_host_environment_another(home, tiny, tmp_path, monkeypatch):
    engine = open_engine("host", home, read_host())
    before = engine.prepare(tiny, print)
    (tmp_path / "seal-1.0.dist-info").mkdir()
    (tmp_path / "seal-1.0.dist-info" / "METADATA").write_text("Name: seal\nVersion: 1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    after = engine.prepare(tiny, print)
    assert set(after.freeze) - set(before.freeze) == {"seal==1.0"}
    assert after.identity != before.identity


def test_a_workers_own_card_is_the_only_one_it_sees(prepared, tmp_path):
    card = Card(index=1, uuid="GPU-1", name="Tesla T4", memory_bytes=1, capability="7.5", driver="550.54")
    for name in ("virtualenv", "host"):
        _, environment = prepared(name)
        launch = Launch(environment, "workers.run", tmp_path, tmp_path, None, (), 2**30, 60.0)
        assert worker_env(launch, "/")["CUDA_VISIBLE_DEVICES"] == ""
        on_card = replace(launch, environment=environment.on(card))
        assert worker_env(on_card, "/")["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def test_a_virtualenv_left_unfinished_is_made_again(prepared, tiny):
    engine, environment = prepared("virtualenv")
    folder = next(path for path in (engine._home.virtualenvs).iterdir() if path.is_dir())
    (folder / "waymark-complete").unlink()
    assert engine.prepare(tiny, print) == environment
    assert (folder / "waymark-complete").exists()


@pytest.fixture(scope="module")
def inspected(prepared, tmp_path_factory):
    """`docker inspect` of a running trial."""
    engine, environment = prepared("docker")
    folders = [tmp_path_factory.mktemp(name) for name in ("source", "job", "pictures")]
    (folders[0] / "workers").mkdir()
    (folders[0] / "workers" / "run.py").write_text("import time; open('alive', 'w').close(); time.sleep(60)")
    for folder in folders:
        folder.chmod(0o755)
    launch = Launch(
        environment=environment,
        module="workers.run",
        source=folders[0],
        job_dir=folders[1],
        data_dir=folders[2],
        cpus=(0,),
        memory_bytes=2**28,
        timeout_seconds=30,
        labels={"run": "inspected", "job": "0001"},
    )
    client, seen = docker.from_env(), {}

    def look():
        if (folders[1] / "alive").exists():
            (container,) = client.containers.list(filters={"label": "waymark.run=inspected"})
            seen.update(container.attrs)
            raise Enough

    with pytest.raises(Enough):
        engine.run(launch, look)
    seen["after"] = client.containers.list(all=True, filters={"label": "waymark.run=inspected"})
    seen["owners"] = {path.stat().st_uid for path in folders[1].iterdir()}
    client.close()
    return seen


@pytest.mark.docker
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ReadonlyRootfs", True),
        ("NetworkMode", "none"),
        ("CapDrop", ["ALL"]),
        ("CapAdd", None),
        ("Privileged", False),
        ("SecurityOpt", ["no-new-privileges:true"]),
        ("CpusetCpus", "0"),
        ("Memory", 2**28),
        ("PidsLimit", 4096),
        ("Init", True),
    ],
)
def test_a_running_trial_is_confined(inspected, key, value):
    assert inspected["HostConfig"][key] == value


@pytest.mark.docker
def test_a_running_trial_is_not_root(inspected):
    assert inspected["Config"]["User"].split(":")[0] == str(os.geteuid() or 65532)


@pytest.mark.docker
def test_a_running_trial_can_write_its_job_folder_only(inspected):
    writable = {mount["Destination"] for mount in inspected["Mounts"] if mount["RW"]}
    assert writable == {"/waymark/job"}


@pytest.mark.docker
def test_a_running_trial_is_marked_as_ours(inspected):
    labels = inspected["Config"]["Labels"]
    assert (labels["waymark.run"], labels["waymark.job"]) == ("inspected", "0001")


@pytest.mark.docker
def test_no_container_is_left_when_tick_raised(inspected):
    assert inspected["after"] == []


@pytest.mark.docker
def test_the_job_folder_belongs_to_the_caller_afterwards(inspected):
    assert inspected["owners"] == {os.geteuid()}


@in_docker
def test_the_root_file_system_cannot_be_written(stand):
    assert "Read-only file system" in stand.run("open('/usr/x', 'w')").log_tail


@in_docker
def test_source_and_pictures_cannot_be_written(stand, tmp_path):
    (tmp_path / "pictures").mkdir()
    blocked = "sys.exit(any(os.access(path, os.W_OK) for path in ('/waymark/source', '/waymark/data')))"
    assert stand.run(blocked, data_dir=tmp_path / "pictures").code == 0


@in_docker
def test_there_is_no_network_but_the_loopback(stand):
    assert stand.run("sys.exit(0 if os.listdir('/sys/class/net') == ['lo'] else 1)").code == 0


@in_docker
def test_no_new_privileges_can_be_had(stand):
    assert stand.run("sys.exit(0 if 'NoNewPrivs:\\t1' in open('/proc/self/status').read() else 1)").code == 0


@in_docker
def test_what_the_worker_wrote_belongs_to_the_caller(stand):
    stand.run("os.makedirs('a/b'); open('a/b/c', 'w').close(); os.symlink('/etc/passwd', 'a/link')")
    paths = [stand.folder / "job", *(stand.folder / "job").rglob("*")]
    assert {path.lstat().st_uid for path in paths} == {os.geteuid()}


@in_docker
def test_a_link_in_the_job_folder_gives_nothing_away(stand, tmp_path):
    precious = tmp_path / "precious"
    precious.touch()
    precious.chmod(0o600)
    before = precious.stat()
    stand.run(f"os.symlink({str(precious)!r}, 'link')")
    assert precious.stat() == before


@pytest.mark.docker
def test_only_containers_of_dead_sweeps_are_swept(prepared):
    _, environment = prepared("docker")
    client, owners = docker.from_env(), {"dead": ["", 1, "0"], "alive": None, "stranger": ["another-host", 1, "0"]}
    owners["dead"][0] = socket.gethostname()
    owners["alive"] = [socket.gethostname(), os.getpid(), process.birth(os.getpid())]
    made = {
        name: client.containers.create(environment.location, labels={OWNER: json.dumps(owner), "waymark.test": "1"})
        for name, owner in owners.items()
    }
    try:
        daemon = Daemon()
        daemon.sweep()
        daemon.close()
        left = {c.id for c in client.containers.list(all=True, filters={"label": "waymark.test=1"})}
        assert left == {made["alive"].id, made["stranger"].id}
    finally:
        for container in client.containers.list(all=True, filters={"label": "waymark.test=1"}):
            container.remove(force=True)
        client.close()


@pytest.fixture
def recipe(tmp_path, tiny):
    """A recipe with the given RUN line; its image is removed afterwards."""
    daemon = Daemon()

    def make(command):
        (tmp_path / "Dockerfile").write_text(f"FROM python:{tiny.python}-slim-bookworm AS cpu\nRUN {command}\n")
        return daemon, Recipe(tmp_path, "waymark/contract:0", "cpu", {}, {"waymark.test": "1"}), tmp_path / "log.txt"

    yield make
    daemon.close()
    forget("waymark/contract:0")


@pytest.mark.docker
def test_a_build_past_its_time_is_stopped(recipe):
    daemon, slow, log = recipe("sleep 100")
    started = time.monotonic()
    assert "the build was stopped" in daemon.build(slow, log, 2, print)
    assert time.monotonic() - started < 15


@pytest.mark.docker
def test_a_stopped_build_leaves_nothing_running(recipe):
    daemon, slow, log = recipe("sleep 101")
    daemon.build(slow, log, 2, print)
    deadline = time.monotonic() + 20
    client = docker.from_env()
    while left := [c for c in client.containers.list() if "sleep 101" in str(c.attrs["Config"]["Cmd"])]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    client.close()


@pytest.mark.docker
def test_a_failed_build_is_told_and_its_words_are_in_the_log(recipe):
    daemon, broken, log = recipe("echo what went wrong; exit 3")
    assert daemon.build(broken, log, 60, print) == "the build failed"
    assert "what went wrong" in log.read_text()
    assert "returned a non-zero code: 3" in log.read_text()


@pytest.mark.docker
def test_a_builds_lines_come_while_it_runs(recipe):
    daemon, slow, log = recipe(
        f"echo first; sleep 1; echo last; : {time.time_ns()}"
    )  # else the builder has it in its cache
    at = {}
    daemon.build(slow, log, 60, lambda line: at.setdefault(line, time.monotonic()))
    assert at["last"] - at["first"] > 0.5
