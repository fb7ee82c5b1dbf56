"""The Docker daemon: the operations that waymark needs. The only user of the Docker SDK.

Only containers and images that carry our labels are ever stopped or removed.
"""

import json
import os
import re
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
import requests
import urllib3
from docker.credentials.errors import StoreError as CredentialsError
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.utils import build as build_context

from orchestrator import files
from orchestrator.engines import docker_config, package_index, process, seccomp
from orchestrator.engines.guard import CONTAINER, guarded
from orchestrator.engines.images import STAGE, ImageBuild, ImageFacts
from orchestrator.errors import EngineError, shortened
from orchestrator.host import ReadSeconds, cgroup_seconds

OWNER = "waymark.owner"

_TICK_SECONDS = 0.1

_STAGE_LEFT = "2h"
"""So old is what a build left that was killed: no build that is going on still needs it."""

_STEP = re.compile(r"(?: -)?--> ([0-9a-f]{11,12})")
"""A line of the builder, Docker's or podman's: the image that a step made or found."""

_GONE = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)
"""Exceptions of the SDK if the daemon refuses, does not answer or stops."""


class Daemon:
    """A connection to a daemon of Docker, or to podman's service, which speaks as one."""

    def __init__(self, address: str = "") -> None:
        """address: '' for the daemon that the user's environment names.

        Raises EngineError if none answers, or if the user's Docker configuration does not read.
        """
        self.address = address or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        has_user = "@" in self.address  # and with it perhaps a password
        self._shown = package_index.shown(self.address) if has_user else self.address
        self._steps: set[str] = set()
        fault = docker_config.fault(docker_config.config_file())
        if fault:
            raise EngineError(fault)
        try:
            _knock(self.address)
            self._client = docker.DockerClient(base_url=address) if address else docker.from_env()
            self._facts: dict[str, Any] = self._client.info()
            parts = self._client.version().get("Components") or ()
            self.is_podman = any(part.get("Name") == "Podman Engine" for part in parts)
        except PermissionError:
            raise EngineError(
                f"You may not use Docker at {self._shown}. Join the group that owns it, or use --engine=virtualenv."
            ) from None
        except (OSError, *_GONE):
            raise EngineError(
                f"Docker does not answer at {self._shown}. Start it, or use --engine=virtualenv."
            ) from None

    @property
    def is_rootless(self) -> bool:
        """Whether its containers' root is the calling user."""
        return any("rootless" in option for option in self._facts.get("SecurityOptions") or ())

    @property
    def fault(self) -> str:
        """Why it cannot hold a worker to its processors and its memory, a sentence; '' if it can."""
        if self.is_podman and self.is_rootless and str(self._facts.get("CgroupVersion")) == "1":
            return (
                "podman without root holds a trial to its processors and its memory by cgroups v2 alone, and this "
                "machine has v1. Run it as root, or use --engine=virtualenv."
            )
        return ""

    @property
    def has_selinux(self) -> bool:
        """Whether a container may read only what carries its label; our mounts carry none."""
        return any("selinux" in option for option in self._facts.get("SecurityOptions") or ())

    @property
    def seccomp(self) -> str | None:
        """The profile for workers, as JSON; None where the kernel has no seccomp, or somebody has set a profile."""
        options = self._facts.get("SecurityOptions") or ()
        is_plain = any(option in ("name=seccomp,profile=default", "name=seccomp,profile=builtin") for option in options)
        return seccomp.profile(str(self._facts.get("Architecture"))) if is_plain else None

    @property
    def folder(self) -> Path | None:
        """The folder of its images; None if it is not on this machine."""
        root = Path(self._facts.get("DockerRootDir") or "/nowhere")
        return root if self.address.startswith("unix:") and root.exists() else None

    def image(self, reference: str) -> ImageFacts | None:
        """The image of that name or id; None if it is not here."""
        with self._asking(f"about image {reference}"):
            try:
                seen: dict[str, Any] = self._client.api.inspect_image(reference)  # type: ignore[no-untyped-call]
            except NotFound:  # ImageNotFound, or podman's other words for it
                return None
        return ImageFacts(
            id=seen["Id"],
            size_bytes=seen["Size"],
            created=seen["Created"],
            labels=seen["Config"].get("Labels") or {},
            volumes=tuple(seen["Config"].get("Volumes") or ()),
            digests=tuple(seen.get("RepoDigests") or ()),
        )

    def pull(self, reference: str) -> None:
        """Fetch an image by its name, tag or digest. Raises EngineError if that fails."""
        with self._asking(f"to pull {reference}"):
            self._client.images.pull(reference)

    def why_absent(self, reference: str) -> str:
        """Why an image is neither here nor in its registry, a clause; '' if one of them has it."""
        if self.image(reference) is not None:
            return ""
        try:
            self._client.api.inspect_distribution(reference)  # type: ignore[no-untyped-call]
        except (APIError, *_GONE) as error:
            said = getattr(error, "explanation", None) or str(error)
            return shortened(said.strip().splitlines()[0] if said.strip() else "no answer", 200)
        return ""

    def share(self, label: str, reference: str, ids: Collection[str]) -> bool:
        """Give an image that carries `label` ('name=value') another name; False if none of those `ids` does."""
        with self._asking(f"to name an image {reference}"):
            containers = [
                container for container in self._client.images.list(filters={"label": label}) if container.id in ids
            ]
            return bool(containers) and containers[0].tag(reference)

    def build(self, recipe: ImageBuild, log: Path, limit_seconds: float, on_line: Callable[[str], None]) -> str:
        """Build an image; its output goes to `log`, and line by line to `on_line`. Returns '' or why it failed.

        limit_seconds: for the whole build, and for any time without output. An exception in `on_line` ends the build.
        """
        deadline = time.monotonic() + limit_seconds
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._asking(f"to build {recipe.reference}"),
            log.open("w", encoding="utf-8") as file,
            tempfile.TemporaryFile() as context,  # without a name, so that nothing is left of it
        ):
            build_context.tar(recipe.folder, fileobj=context)
            stream = self._client.api.build(
                fileobj=context,
                custom_context=True,
                tag=recipe.reference,
                target=recipe.stage,
                buildargs=recipe.args,
                labels=recipe.labels,
                rm=True,
                forcerm=True,
                decode=True,
                timeout=int(limit_seconds) + 1,
            )
            try:
                with closing(stream):
                    for line in _lines(stream):
                        print(line, file=file, flush=True)
                        if step := _STEP.fullmatch(line):
                            self._steps.add(step[1])
                        on_line(line)
                        if time.monotonic() > deadline:
                            return f"the build was stopped after {limit_seconds:.0f} s"
            except APIError as error:  # it is a requests.RequestException, too
                print(error.explanation or error, file=file)
                return f"Docker refused to build it: {error.explanation or error}"
            except (requests.RequestException, urllib3.exceptions.HTTPError):
                return f"the build was stopped: Docker said nothing for {limit_seconds:.0f} s, or went away"
            except _BuildError as error:
                print(error, file=file)
                return "the build failed"
        return ""

    def prune_stages(self) -> None:
        """Remove the images that first stages of this daemon object's own builds left, and those of killed builds.

        Another build, of another user or clone, may still copy from its own.
        """
        with self._asking("to remove what first stages left"):
            for image in self._client.images.list(filters={"dangling": True, "label": STAGE}):
                if str(image.id).removeprefix("sha256:").startswith(tuple(self._steps)):
                    with suppress(APIError):  # another has removed it, or builds upon it
                        self._client.images.remove(str(image.id))
            self._client.images.prune(filters={"dangling": True, "label": STAGE, "until": _STAGE_LEFT})

    def run(
        self,
        options: dict[str, Any],
        log: Path,
        timeout_seconds: float,
        tick: Callable[[], None],
        on_start: Callable[[ReadSeconds], None] | None = None,
    ) -> process.Ended:
        """Run a container to its end and remove it; see process.run. `options` are those of the SDK's create."""
        with guarded(CONTAINER) as guard:
            labels = {**options.get("labels", {}), OWNER: _owner()}
            self._remove(lambda owner: owner == labels[OWNER])  # left running when the daemon went away for a while
            launched_unix, launched = time.time(), time.monotonic()
            kills_before = _oom_kills()
            with self._asking("to create a container"):
                container = self._client.containers.create(**{**options, "labels": labels})
            guard(str(container.id))
            try:
                with self._asking("to start a container"):
                    container.start()
                    if on_start is not None:
                        on_start(self._processor_seconds(container))
                is_timeout = _wait(container, launched + timeout_seconds, tick, self._process_of(container))
                wall_seconds = time.monotonic() - launched
                state = self._state(container, log)
            finally:
                # It is gone already, or the daemon is; then the next `DockerEngine` removes it.
                with suppress(*_GONE):
                    container.remove(force=True, v=True)
        code = state.get("ExitCode")
        # The init process reports a signal of its child as 128 + its number.
        number = code - 128 if code is not None and 128 < code <= 128 + 64 else None
        return process.Ended(
            code=None if number else code,
            signal=number,
            is_timeout=is_timeout,
            is_over_memory=self._is_over_memory(state, kills_before) and code != 0 and not is_timeout,
            launched_unix=launched_unix,
            wall_seconds=wall_seconds,
            started_seconds=_started_seconds(state, launched_unix),
        )

    def sweep(self) -> int:
        """Remove our containers whose process on this machine has ended; returns how many."""
        return self._remove(_is_dead)

    def _remove(self, is_left: Callable[[str], bool]) -> int:
        """Remove those of our containers whose owner `is_left` takes; returns how many."""
        with self._asking("for old containers"):
            containers = self._client.containers.list(all=True, filters={"label": OWNER}, ignore_removed=True)
        left = [
            container
            for container in containers
            if is_left(container.labels.get(OWNER, "")) and not self._is_inherited(container)
        ]
        for container in left:
            with suppress(*_GONE):
                container.remove(force=True, v=True)
        return len(left)

    def _is_inherited(self, container: Container) -> bool:
        """Whether the owner on a container is only that on its image, so that the container is somebody else's."""
        image = self.image(str(container.attrs["Image"]))
        return image is None or image.labels.get(OWNER) == container.labels.get(OWNER)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _state(self, container: Container, log: Path) -> dict[str, Any]:
        """How the container ended ({} if the daemon stopped; killed if it was removed); its output goes to `log`."""
        # The worker may have left a link of that name: a new file takes its place.
        with files.create(log) as file:
            try:
                for chunk in container.logs(stream=True):
                    file.write(chunk)
                state: dict[str, Any] = self._client.api.inspect_container(str(container.id))["State"]
            except NotFound:
                file.write(b"The container was removed while this ran.\n")
                return {"ExitCode": 128 + signal.SIGKILL}
            except _GONE as error:
                file.write(f"Docker went away while this ran: {error}\n".encode())
                return {}
        return state

    def _process_of(self, container: Container) -> int:
        """The first process of a container of podman, which is on this machine; 0 for one of Docker."""
        if not self.is_podman or self.folder is None:
            return 0
        return int(self._client.api.inspect_container(str(container.id))["State"].get("Pid", 0))

    def _is_over_memory(self, state: dict[str, Any], kills_before: int) -> bool:
        """Whether its memory ran out; podman does not tell that under cgroups v1, but the kernel counts it."""
        was_killed = self.is_podman and state.get("ExitCode") == 128 + signal.SIGKILL
        return bool(state.get("OOMKilled")) or (was_killed and _oom_kills() > kills_before)

    def _processor_seconds(self, container: Container) -> ReadSeconds:
        """Gives what the container has used; None if its daemon is not on this machine."""
        pid = self._client.api.inspect_container(str(container.id))["State"].get("Pid", 0)
        return cgroup_seconds(pid) if self.folder is not None and pid else lambda: None

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Raise EngineError if the daemon refuses or does not answer."""
        try:
            yield
        except APIError as error:
            raise EngineError(f"Docker was asked {what} and refused: {error.explanation or error}.") from None
        except CredentialsError as error:
            missing = docker_config.missing_helper(docker_config.config_file())
            raise EngineError(
                missing or f"The credential helper of your Docker configuration failed: {error}."
            ) from None
        except _GONE as error:
            raise EngineError(f"Docker at {self._shown} was asked {what} and did not answer: {error}.") from None


class _BuildError(Exception):
    """A failed build, with the builder's message."""


def _lines(stream: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Whole lines of a build's output. Raises _BuildError."""
    torn = ""
    for chunk in stream:
        if "error" in chunk:
            raise _BuildError(str(chunk["error"]).strip())
        if "status" in chunk and not chunk.get("progressDetail"):
            torn += f"{chunk.get('id', '')} {chunk['status']}\n".lstrip()
        torn += chunk.get("stream", "")
        *whole, torn = torn.split("\n")
        yield from (line.rstrip() for line in whole if line.strip())
    if torn.strip():
        yield torn.rstrip()


def _knock(address: str) -> None:
    """Raises OSError if nobody listens. The SDK would leave its socket open, and give the reason only in a text."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as knocker:
            knocker.settimeout(10)
            knocker.connect(address.removeprefix("unix://"))


def _wait(container: Container, deadline: float, tick: Callable[[], None], pid: int = 0) -> bool:
    """Call `tick` until the container has ended; True if it had to be killed at the deadline.

    pid: its first process, of which the end is awaited before podman is asked: to wait, podman 4 takes a processor.
    """
    ended, born = threading.Event(), process.birth(pid) if pid else None

    def wait() -> None:
        while born is not None and process.birth(pid) == born:
            time.sleep(_TICK_SECONDS / 2)
        with suppress(*_GONE):
            container.wait(timeout=None)
        ended.set()

    threading.Thread(target=wait, daemon=True, name=f"wait-{container.short_id}").start()
    while not ended.wait(_TICK_SECONDS):
        tick()
        if time.monotonic() > deadline:
            with suppress(NotFound, APIError):  # it has just ended by itself
                container.kill()
            ended.wait(10)
            return True
    return False


def _started_seconds(state: dict[str, Any], launched_unix: float) -> float | None:
    """From the launch until the daemon started the process; None if it did not, or if its clock differs."""
    started = state.get("StartedAt", "")
    if not started or started.startswith("0001"):
        return None
    seconds = datetime.fromisoformat(started).timestamp() - launched_unix
    return seconds if seconds >= 0 else None


def _oom_kills() -> int:
    """How many processes of this machine the kernel has killed because their group's memory ran out."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/vmstat").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0


def _owner() -> str:
    """A name of this process that no later process can have."""
    return json.dumps([socket.gethostname(), os.getpid(), process.birth(os.getpid())])


def _is_dead(owner: str) -> bool:
    """Whether that process was on this machine and has ended."""
    try:
        host, pid, born = json.loads(owner)
        return bool(host == socket.gethostname() and process.birth(int(pid)) != born)
    except (TypeError, ValueError, RecursionError):
        return False
