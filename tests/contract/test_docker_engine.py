"""What containers and their builds promise beyond what every engine does."""

import io
import json
import os
import platform
import shutil
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from orchestrator.engines import process, seccomp
from orchestrator.engines.docker import OWNER, Daemon
from orchestrator.engines.engine import Launch
from orchestrator.engines.images import ImageBuild
from orchestrator.errors import EngineError
from orchestrator.home import Home
from orchestrator.host import read_host

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]
in_docker = pytest.mark.parametrize("stand", ["docker"], indirect=True)


def forget(reference):
    """Remove an image that a test built."""
    client = docker.from_env()
    with suppress(docker.errors.NotFound):
        client.images.remove(reference, force=True)
    client.close()


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
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(launch, look)
    seen["after"] = client.containers.list(all=True, filters={"label": "waymark.run=inspected"})
    _, option = seen["HostConfig"]["SecurityOpt"]
    path = Path(option.removeprefix("seccomp="))
    seen["profile"] = path.read_text(encoding="utf-8") if len(option) < 4096 and path.is_file() else ""
    seen["owners"] = {path.stat().st_uid for path in folders[1].iterdir()}
    client.close()
    return seen


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ReadonlyRootfs", True),
        ("NetworkMode", "none"),
        ("Privileged", False),
        ("CpusetCpus", "0"),
        ("Memory", 2**28),
        ("PidsLimit", 4096),
        ("Init", True),
    ],
)
def test_a_running_trial_is_confined(inspected, key, value):
    assert inspected["HostConfig"][key] == value


def test_a_running_trial_has_our_profile_and_no_more_rights(inspected):
    rights, profile = inspected["HostConfig"]["SecurityOpt"]
    assert rights in ("no-new-privileges:true", "no-new-privileges")  # podman's word for the same
    said = profile.removeprefix("seccomp=")
    text = said if said.startswith("{") else inspected["profile"]  # podman takes the path of a file
    assert text == seccomp.profile(platform.machine())


@in_docker
def test_a_worker_has_no_capability(stand):
    """Neither now nor by a program that it starts: also where `inspect` lists each that was dropped."""
    ended = stand.run("print(*(line for line in open('/proc/self/status') if line.startswith('Cap')))")
    assert [int(word, 16) for word in ended.log_tail.split() if not word.startswith("Cap")] == [0] * 5


def test_a_running_trial_is_not_root(inspected):
    assert inspected["Config"]["User"].split(":")[0] == str(os.geteuid() or 65532)


def test_a_running_trial_can_write_its_job_folder_only(inspected):
    writable = {mount["Destination"] for mount in inspected["Mounts"] if mount["RW"]}
    assert writable == {"/waymark/job"}


def test_a_running_trial_is_marked_as_ours(inspected):
    labels = inspected["Config"]["Labels"]
    assert (labels["waymark.run"], labels["waymark.job"]) == ("inspected", "0001")


def test_no_container_is_left_when_tick_raised(inspected):
    assert inspected["after"] == []


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
    stand.run("os.mkdir('folder'); open('file', 'w').close(); os.symlink('/etc/passwd', 'link')")
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
def declaring(prepared):
    """declaring(line) -> the id of an image made with that line; all are removed afterwards."""
    _, environment = prepared("docker")
    client, made = docker.from_env(), []

    def declaring(line):
        text = f"FROM {environment.location}\n{line}\n"
        image, _ = client.images.build(fileobj=io.BytesIO(text.encode()), rm=True)
        made.append(image.id)
        return image.id

    yield declaring
    for image_id in made:
        client.images.remove(image_id, force=True)
    client.close()


def test_a_container_whose_image_names_an_owner_is_left_alone(declaring):
    dead = json.dumps([socket.gethostname(), 1, "0"])
    image_id = declaring(f"LABEL {OWNER}={json.dumps(dead)}")
    client = docker.from_env()
    theirs = client.containers.create(image_id)
    assert theirs.labels[OWNER] == dead
    try:
        daemon = Daemon()
        daemon.sweep()
        daemon.close()
        assert client.containers.get(theirs.id).id == theirs.id
    finally:
        theirs.remove(force=True)
        client.close()


VOLUMES = """
kinds = {line.split()[1]: line.split()[2] for line in open('/proc/mounts')}
open('/var/own/file', 'w').write('x')
sys.exit(0 if (kinds['/var/own'], kinds.get('/waymark/job') != 'tmpfs') == ('tmpfs', True) else 1)
"""


@in_docker
def test_a_volume_that_an_image_declares_is_kept_in_memory(stand, declaring):
    location = declaring('VOLUME ["/var/own", "/waymark/job"]')
    launch = stand.launch(VOLUMES)
    launch = replace(launch, environment=launch.environment.model_copy(update={"location": location}))
    ended = stand.engine.run(launch, lambda: None)
    assert ended.code == 0, ended.log_tail


@pytest.fixture
def recipe(tmp_path, tiny, need_base):
    """A recipe with the given RUN line; its image is removed afterwards."""
    need_base()
    daemon = Daemon()

    def make(command):
        (tmp_path / "Dockerfile").write_text(f"FROM python:{tiny.python}-slim-bookworm AS cpu\nRUN {command}\n")
        return (
            daemon,
            ImageBuild(tmp_path, "waymark/contract:0", "cpu", {}, {"waymark.test": "1"}),
            tmp_path / "log.txt",
        )

    yield make
    daemon.close()
    forget("waymark/contract:0")


def test_a_build_past_its_time_is_stopped(recipe):
    daemon, slow, log = recipe("sleep 100")
    started = time.monotonic()
    assert "the build was stopped" in daemon.build(slow, log, 2, print)
    assert time.monotonic() - started < 15


def test_a_stopped_build_leaves_nothing_running(recipe):
    daemon, slow, log = recipe("sleep 101")
    daemon.build(slow, log, 2, print)
    deadline = time.monotonic() + 20
    client = docker.from_env()
    while left := [c for c in client.containers.list(ignore_removed=True) if "sleep 101" in str(c.attrs["Config"])]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    client.close()


def test_a_failed_build_is_told_and_its_words_are_in_the_log(recipe):
    daemon, broken, log = recipe("echo what went wrong; exit 3")
    assert daemon.build(broken, log, 60, print) == "the build failed"
    assert "what went wrong" in log.read_text()
    assert any(words in log.read_text() for words in ("returned a non-zero code: 3", "exit status 3"))


def test_a_builds_lines_come_while_it_runs(recipe):
    daemon, slow, log = recipe(
        f"echo first; sleep 1; echo last; : {time.time_ns()}"
    )  # else the builder has it in its cache
    at = {}
    daemon.build(slow, log, 60, lambda line: at.setdefault(line, time.monotonic()))
    assert at["last"] - at["first"] > 0.5


def test_a_refused_build_is_told_in_the_daemons_words(recipe):
    daemon, build, log = recipe("true")
    said = daemon.build(replace(build, stage="cpux"), log, 60, print)
    assert said.startswith("Docker refused to build it: ") or said == "the build failed"  # podman's comes as a line
    assert "cpux" in log.read_text()


STAGES = """FROM python:{python}-slim-bookworm AS install
LABEL waymark.stage="install"
RUN : {nonce}; touch /made
FROM python:{python}-slim-bookworm AS cpu
RUN : {nonce}; sleep {seconds}
COPY --from=install /made /made
"""


def test_only_what_ones_own_builds_left_is_removed(recipe, tmp_path, tiny):
    """Another user's build may still copy from its first stage."""
    daemon, build, log = recipe("true")
    text = STAGES.format(python=tiny.python, nonce=time.time_ns(), seconds=2)
    (tmp_path / "Dockerfile").write_text(text)
    stranger, said = Daemon(), []
    daemon.build(build, log, 60, lambda line: (stranger.prune_stages(), said.append(line)))
    assert any(line.startswith("Successfully built") for line in said)
    client = docker.from_env()
    dangling = {"dangling": True, "label": "waymark.stage"}
    left = {image.id for image in client.images.list(filters=dangling)}
    daemon.prune_stages()
    removed = left - {image.id for image in client.images.list(filters=dangling)}
    client.close()
    stranger.close()
    assert len(removed) == 1


def test_a_home_that_the_daemon_does_not_see_is_named(prepared, tmp_path):
    """As where waymark runs in a container with its host's socket."""
    engine, environment = prepared("docker")

    class Elsewhere(type(engine)):
        def run(self, launch, tick):
            shutil.rmtree(launch.source)
            return super().run(launch, tick)

    unseen = Elsewhere(Home(tmp_path / "home"), read_host())
    with pytest.raises(EngineError, match=f"the Docker daemon does not see {tmp_path}/home: it runs on"):
        unseen._look_for_home(environment)
    unseen.close()


@in_docker
def test_a_folder_that_the_daemon_does_not_see_is_not_made(stand, tmp_path):
    with pytest.raises(EngineError, match="bind source path does not exist"):
        stand.run("pass", data_dir=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
