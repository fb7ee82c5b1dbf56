"""Runs a command to its end, with a log file and limits, and ends its children. One of two users of subprocess."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator import files
from orchestrator.engines.guard import GROUP, Guard, guarded
from orchestrator.errors import EngineError
from orchestrator.host import ReadSeconds, memory_bytes, oom_kills

GRACE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL to a process group."""

_POLL_SECONDS = 0.02
_TICK_SECONDS = 0.1
_MEMORY_SECONDS = 0.25


@dataclass(frozen=True)
class Command:
    """A command and its limits.

    env:             all of its environment; nothing is inherited.
    log:             file its stdout and stderr are appended to.
    cpus:            logical processors it may use; empty means no pinning.
    timeout_seconds: after this its process group is ended.
    memory_bytes:    its group is killed at more resident memory than this, measured four times a second; None means
                     no limit. (RLIMIT_AS would count the large maps that frameworks reserve and never use.)
    grace_seconds:   between SIGTERM and SIGKILL, when it is ended.
    on_start:        receives, once it runs, a function that gives the processor seconds that its group has used.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: dict[str, str]
    log: Path
    timeout_seconds: float
    cpus: tuple[int, ...] = ()
    memory_bytes: int | None = None
    on_start: Callable[[ReadSeconds], None] | None = None
    grace_seconds: float = GRACE_SECONDS


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code or signal, one of them None; whether a limit ended it; and its times.

    started_seconds: from launched_unix until the program ran; None if not known.
    full_at_bytes:   all memory of the machine, or of the container or control group that waymark itself runs in, where
                     the kernel killed it because that ran out; else None.
    """

    code: int | None
    signal: int | None
    is_timeout: bool
    is_over_memory: bool
    launched_unix: float
    wall_seconds: float
    started_seconds: float | None
    full_at_bytes: int | None = None


def run(command: Command, tick: Callable[[], None]) -> Ended:
    """Run `command` in its own session, calling `tick` ten times a second; all of its session has ended on return.

    Raises EngineError if it cannot be started. If `tick` raises, the group is ended and the exception raised again; if
    this process is killed, a guard ends the group.
    """
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with guarded(GROUP) as guard:
        return _run(command, tick, guard)


def _run(command: Command, tick: Callable[[], None], guard: Guard) -> Ended:
    launched_unix, launched = time.time(), time.monotonic()
    with command.log.open("ab") as log, _pinned(command.cpus):
        try:
            process = subprocess.Popen(  # noqa: S603 - argv is our own tuple, and no shell is used
                command.argv,
                cwd=command.cwd,
                env=command.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"{command.argv[0]} does not start: {error.strerror}.") from None
    guard(str(process.pid))
    started_seconds = time.monotonic() - launched
    is_timeout = is_over_memory = False
    kills_before = oom_kills()
    try:
        if command.on_start is not None:
            command.on_start(lambda: _group_seconds(process.pid))
        next_tick = next_look = launched
        while not _has_ended(process.pid):
            now = time.monotonic()
            if now - launched > command.timeout_seconds:
                is_timeout = True
                break
            if command.memory_bytes is not None and now >= next_look:
                next_look = now + _MEMORY_SECONDS
                is_over_memory = _group_memory(process.pid) > command.memory_bytes
                if is_over_memory:
                    break
            if now >= next_tick:
                next_tick = now + _TICK_SECONDS
                tick()
            time.sleep(_POLL_SECONDS)
    finally:
        _end_group(process, 0.0 if is_over_memory else command.grace_seconds)
    code = process.returncode
    is_killed = code == -signal.SIGKILL and not (is_timeout or is_over_memory)
    return Ended(
        code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        is_timeout=is_timeout,
        is_over_memory=is_over_memory,
        launched_unix=launched_unix,
        wall_seconds=time.monotonic() - launched,
        started_seconds=started_seconds,
        full_at_bytes=memory_bytes() if is_killed and (oom_kills() or 0) > (kills_before or 0) else None,
    )


def output(argv: tuple[str, ...], timeout_seconds: float = 20.0) -> str | None:
    """What a small command prints, stripped; None if it does not exist, fails or takes too long."""
    try:
        finished = subprocess.run(  # noqa: S603 - as above
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_seconds, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout.decode("utf-8", "replace").strip()


def has_library(name: str) -> bool:
    """Whether the loader of this machine finds the shared library `name` ('libgomp.so.1')."""
    listing = output(("/sbin/ldconfig", "-p")) or output(("ldconfig", "-p")) or ""
    return any(line.split()[:1] == [name] for line in listing.splitlines())


def tail(log: Path, lines: int = 40) -> str:
    """The last lines of a log, '' if it does not exist; at most 16 KiB."""
    try:
        with files.opened(log) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:  # it does not exist, or the worker left something else there
        return ""
    return "\n".join(text.splitlines()[-lines:])


class NewLines:
    """Follows a log: each call gives the complete lines that were added since the last call."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = log.stat().st_size if log.exists() else 0

    def __call__(self) -> Iterator[str]:
        """New lines, without their ends."""
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._offset)
            whole, end, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(end)
        for line in whole.decode("utf-8", "replace").splitlines():
            yield line.rstrip()


def birth(pid: int) -> str | None:
    """When a running process began, in clock ticks since boot, or None; with its pid this identifies the process."""
    fields = _stat(pid)
    return None if fields is None or fields[0] == "Z" else fields[19]


def parent(pid: int) -> int | None:
    """The parent of a running process: 1 once that has ended; None if the process itself has."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def _has_ended(pid: int) -> bool:
    # WNOWAIT keeps the zombie, so that no other process can take its pid, which is also the group's id.
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@contextmanager
def _pinned(cpus: tuple[int, ...]) -> Iterator[None]:
    """Let a program that this thread starts in the block use `cpus` alone, from its first instruction on.

    A child takes the affinity of the thread that starts it. Set from outside, it would come after the program has
    begun, perhaps after it has counted its processors; a preexec function is not safe with threads.
    """
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        raise EngineError(f"Processors {', '.join(map(str, cpus))} cannot be used: {error.strerror}.") from None
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _end_group(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End the rest of the group, first with SIGTERM, and reap its leader."""
    try:
        if grace_seconds and not _has_ended(process.pid):
            os.killpg(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + grace_seconds
            while not _has_ended(process.pid) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _group_memory(group: int) -> int:
    """Resident bytes of all processes of a group; shared pages count for each."""
    return sum(int(fields[21]) for fields in _group(group)) * os.sysconf("SC_PAGE_SIZE")


def _group_seconds(group: int) -> float:
    """Processor seconds of all processes of a group, with those of children that have ended."""
    ticks = sum(sum(map(int, fields[11:15])) for fields in _group(group))
    return ticks / os.sysconf("SC_CLK_TCK")


def _group(group: int) -> Iterator[list[str]]:
    """The fields of `_stat` of each process of a group."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields is not None and int(fields[2]) == group:
                yield fields


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the third (state) on; None if the process is gone. Source: proc(5).

    None, too, for a process of another user where /proc hides them (hidepid=1): it is no worker of ours.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return text.rpartition(")")[2].split()
