"""Runs workers in containers: no network, not root, nothing writable but the job folder and two tmpfs."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from orchestrator.engines import images, podman
from orchestrator.engines.docker import Daemon
from orchestrator.engines.engine import Launch, Say
from orchestrator.engines.environment import declared, exit_of, frozen
from orchestrator.engines.source import snapshot
from orchestrator.environment import Card, Environment, digest
from orchestrator.errors import EngineError
from orchestrator.files import write_atomically
from orchestrator.home import Home
from orchestrator.planning.image_row import Cores, ImageRow
from orchestrator.records.run_folder import LOG
from orchestrator.scratch import scratch_folder
from orchestrator.trial import Exit

ENVIRONMENT = "/environment"
"""The environment's folder in all of our Dockerfiles."""

SOURCE, JOB, DATA, HOME = "/waymark/source", "/waymark/job", "/waymark/data", "/waymark/home"

NOBODY = 65532
"""The user of the images, who runs the worker if the caller is root."""

_TMPFS = "rw,exec,nosuid,nodev,mode=1777"  # exec: graph compilers load libraries that they write there
_MAX_PROCESSES = 4096  # threads count, and a framework starts several per core
_SHARED_MEMORY_BYTES = 2**28
_LOOK_MEMORY_BYTES, _LOOK_SECONDS = 2**28, 60.0
_UNSEEN = "bind source path does not exist"  # what the daemon answers


def _require_mounts(options: dict[str, Any]) -> None:
    """Raises EngineError for a folder that is not there; podman would make it."""
    for mount in options["mounts"]:
        if not Path(mount["Source"]).exists():
            raise EngineError(f"podman was asked to start a container and refused: {_UNSEEN}: {mount['Source']}.")


class DockerEngine:
    """See Engine."""

    name = "docker"
    is_local = True

    def __init__(self, home: Home, cores: Cores, address: str = "") -> None:
        """address: of the daemon; '' for that of the user's environment.

        Raises EngineError if none answers, or if it cannot hold a worker to its limits. Removes containers that a
        killed sweep left behind.
        """
        self._home = home
        self._cores = cores
        self._daemon = Daemon(address)
        if self._daemon.fault:
            fault = self._daemon.fault
            self._daemon.close()
            raise EngineError(fault)
        self._daemon.sweep()
        self._is_home_seen = False

    def prepare(self, row: ImageRow, say: Say) -> Environment:
        """The image of `row`; built if it does not exist or its recipe has changed."""
        facts = images.ensure(self._daemon, row, self._home, say)
        bare = declared(self.name, row, self._cores, ENVIRONMENT)
        bare = bare.model_copy(update={"identity": facts.id, "location": facts.id})
        if not self._is_home_seen:
            self._look_for_home(bare)
        return frozen(bare, self.run, snapshot(self._home), self._home)

    def run(self, launch: Launch, tick: Callable[[], None]) -> Exit:
        """Run one worker in a container of its own; its stdout and stderr go to <job>/log.txt once it has ended."""
        log = launch.job_dir / LOG
        caller = (os.geteuid(), os.getegid())
        user = worker_user(caller, self._daemon.is_rootless)
        with _lent(launch.job_dir, user, caller):
            image = self._daemon.image(launch.environment.location)
            options = container_options(launch, user, image.volumes if image else (), self._seccomp())
            if self._daemon.is_podman:
                _require_mounts(options)
            if self._daemon.has_selinux:
                options["security_opt"].append("label=disable")
            ended = self._daemon.run(options, log, launch.timeout_seconds, tick, launch.on_start)
        return exit_of(ended, log)

    def _seccomp(self) -> str | None:
        """The profile as the daemon takes it: Docker its text, podman the path of a file."""
        profile = self._daemon.seccomp
        if profile is None or not self._daemon.is_podman:
            return profile
        path = self._home.root / f"seccomp-{digest(profile)[:12]}.json"
        if not path.exists():
            write_atomically(path, profile)
        return str(path)

    def _look_for_home(self, environment: Environment) -> None:
        """Read a new file of the home from a container.

        Raises EngineError if that is not there: the daemon's file system is not the one that waymark sees.
        """
        with scratch_folder(self._home.root) as folder:
            source, job = folder / "source", folder / "job"
            for path in (source, job):
                path.mkdir()
                path.chmod(0o755)
            (source / "seen.py").write_text("", encoding="utf-8")
            launch = Launch(
                environment=environment,
                module="seen",
                source=source,
                job_dir=job,
                data_dir=None,
                cpus=(),
                memory_bytes=_LOOK_MEMORY_BYTES,
                timeout_seconds=_LOOK_SECONDS,
                labels={"run": "prepare", "job": "seen"},
            )
            unseen = EngineError(
                f"the Docker daemon does not see {self._home.root}: it runs on another machine, in another container "
                "or with another file system. Mount that folder at the same path where the daemon runs, set "
                "WAYMARK_HOME to one that it sees, or use --engine=virtualenv."
            )
            try:
                ended = self.run(launch, lambda: None)
            except EngineError as error:
                if _UNSEEN in str(error):
                    raise unseen from None
                raise
            if ended.code == 1 and "No module named seen" in ended.log_tail:
                raise unseen
        self._is_home_seen = True

    def close(self) -> None:
        """Close the connection; no container outlives `run`."""
        self._daemon.close()


class PodmanEngine(DockerEngine):
    """The same by podman's service, which is started if none is there."""

    name = "podman"

    def __init__(self, home: Home, cores: Cores) -> None:
        """Raises EngineError as DockerEngine does, AbsentError without podman."""
        self._held = ExitStack()
        with ExitStack() as held:
            super().__init__(home, cores, held.enter_context(podman.socket_address()))
            self._held = held.pop_all()

    def close(self) -> None:
        """Close the connection, and end the service that was started."""
        super().close()
        self._held.close()


def worker_user(caller: tuple[int, int], is_rootless: bool) -> tuple[int, int]:
    """User and group of the worker: the caller, or nobody if that is root.

    Under a rootless daemon user 0 of a container is the calling user; no other user can access its files.
    """
    if is_rootless:
        return (0, 0)
    return caller if caller[0] != 0 else (NOBODY, NOBODY)


def bind_mount(folder: Path, target: str, *, is_writable: bool = False) -> dict[str, Any]:
    """As docker.types.Mount makes it. (The older form, `volumes`, makes a folder that the daemon does not see.)"""
    return {"Type": "bind", "Source": str(folder), "Target": target, "ReadOnly": not is_writable}


def container_options(
    launch: Launch, user: tuple[int, int], volumes: Sequence[str] = (), seccomp: str | None = None
) -> dict[str, Any]:
    """Options of the SDK's containers.create: mounts, limits and permissions of a worker.

    volumes: those that the image declares; they are kept in memory, within the limit, and not on the machine's disk.
    seccomp: the profile, as JSON; None for the daemon's own.
    """
    mounts = [bind_mount(launch.source, SOURCE), bind_mount(launch.job_dir, JOB, is_writable=True)]
    card = launch.environment.card
    if launch.data_dir is not None:
        mounts.append(bind_mount(launch.data_dir, DATA))
    mounted = {mount["Target"] for mount in mounts}
    return {
        "image": launch.environment.location,
        "entrypoint": ["python"],
        "command": ["-m", launch.module, JOB, *([] if launch.data_dir is None else [DATA])],
        "working_dir": JOB,
        "environment": {
            "HOME": HOME,
            "TMPDIR": "/tmp",  # noqa: S108 - the container's own tmpfs
            "LANG": "C.UTF-8",
            "PYTHONPATH": SOURCE,
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # Some images request all cards from a default NVIDIA runtime; a trial without a card must see none.
            **({} if card else {"NVIDIA_VISIBLE_DEVICES": "void"}),
            **launch.environment.env,
        },
        "mounts": mounts,
        "tmpfs": {path: _TMPFS for path in ("/tmp", HOME, *volumes) if path not in mounted},  # noqa: S108
        "user": f"{user[0]}:{user[1]}",
        "read_only": True,
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true", *([f"seccomp={seccomp}"] if seccomp else [])],
        "pids_limit": _MAX_PROCESSES,
        "cpuset_cpus": ",".join(map(str, launch.cpus)) or None,
        "mem_limit": launch.memory_bytes,
        "memswap_limit": launch.memory_bytes,  # memory and swap together: no swap
        "shm_size": _SHARED_MEMORY_BYTES,
        "device_requests": [_request(card)] if card else [],
        "init": True,  # reaps zombies, forwards signals
        "log_config": {"Type": "json-file", "Config": {"max-size": "8m", "max-file": "2"}},
        "labels": {f"waymark.{key}": value for key, value in launch.labels.items()},
        "detach": True,
    }


def _request(card: Card) -> dict[str, Any]:
    """As docker.types.DeviceRequest makes it, for one card, with the driver's compute libraries and NVML."""
    return {
        "Driver": "nvidia",
        "Count": 0,
        "DeviceIDs": [card.uuid],
        "Capabilities": [["gpu", "compute", "utility"]],
        "Options": {},
    }


@contextmanager
def _lent(folder: Path, user: tuple[int, int], caller: tuple[int, int]) -> Iterator[None]:
    """Let `user` own the job folder while the worker runs, if the caller is root and can change owners."""
    if caller[0] != 0 or user[0] == 0:
        yield
        return
    _give(folder, user)
    try:
        yield
    finally:
        _give(folder, caller)


def _give(folder: Path, owner: tuple[int, int]) -> None:
    """Change the owner of a folder and of what lies in it; of links themselves, not of their targets.

    Folders in it are not looked into: a worker may have nested thousands, and whoever removes them is root.
    """
    for path in (folder, *folder.iterdir()):
        os.chown(path, *owner, follow_symlinks=False)
