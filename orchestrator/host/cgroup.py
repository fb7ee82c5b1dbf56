"""Control groups, versions 1 and 2 (cgroups(7)): processor time of a group, its limit of memory, kills at that limit.

A container sees its own group as the root, or the path that the group has on its host; both are tried.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/sys/fs/cgroup")

_UNLIMITED = 2**60  # version 1 writes the largest number of pages there is

ReadSeconds = Callable[[], float | None]
"""Gives the processor seconds that something has used so far; None once that is not known any more."""


class Memory(NamedTuple):
    """What the groups around a process leave to it: the lowest limit, and the least that is left of one."""

    limit_bytes: int
    available_bytes: int


def cgroup_seconds(pid: int) -> ReadSeconds:
    """Gives the processor seconds of the control group of process `pid`.

    The last known value once the group has gone; None if the kernel does not count them where we can read it.
    """
    folders = list(_own(f"{pid}", "cpuacct"))
    counters = (folder / name for name in ("cpuacct.usage", "cpu.stat") for folder in folders)
    counter = next((path for path in counters if path.exists()), None)
    last: list[float | None] = [None]

    def read() -> float | None:
        if counter is not None:
            with suppress(OSError, ValueError, KeyError):
                last[0] = _seconds(counter)
        return last[0]

    return read


def memory() -> Memory | None:
    """What the groups around this process leave to it; None if none limits it."""
    limits = [limit for folder in _around("memory") if (limit := _memory(folder))]
    return Memory(*map(min, zip(*limits, strict=True))) if limits else None


def oom_kills() -> int | None:
    """How many processes of this process's group the kernel has killed because memory ran out; None if not counted."""
    for folder in _mine("memory"):
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError, ValueError, KeyError):
                return _fields(folder / name)["oom_kill"]
    return None


def _memory(folder: Path) -> Memory | None:
    """The limit of one group and what is free below it: the cache of files can be given back."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # 'max' is no number
            bound, now = int((folder / limit).read_text()), int((folder / used).read_text())
            kept = 0
            with suppress(OSError, ValueError):
                kept = _fields(folder / "memory.stat").get(cache, 0)
            if bound < _UNLIMITED:
                return Memory(bound, max(0, bound - max(0, now - kept)))
    return None


def _around(controller: str) -> Iterator[Path]:
    """The folders of this process's group and of those above it."""
    for folder in _mine(controller):
        yield folder
        yield from (parent for parent in folder.parents if parent.is_relative_to(_ROOT))


def _mine(controller: str) -> Iterator[Path]:
    """Where this process's own group may be found: also as the root, as a container sees it."""
    yield from _own("self", controller)
    yield from (_ROOT / controller, _ROOT)


def _own(process: str, controller: str) -> Iterator[Path]:
    """The folder of a process's group, of version 1 (with that controller) and of version 2, if it has one."""
    groups = {names: path.lstrip("/") for _, names, path in (line.split(":", 2) for line in _groups(process))}
    for names, path in groups.items():
        if controller in names.split(","):
            yield from (_ROOT / names / path, _ROOT / controller / path)
    if "" in groups:
        yield from (_ROOT / groups[""], _ROOT / "unified" / groups[""])


def _groups(process: str) -> list[str]:
    try:
        return Path(f"/proc/{process}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _seconds(counter: Path) -> float:
    if counter.name == "cpuacct.usage":
        return int(counter.read_text(encoding="utf-8")) / 1e9
    return _fields(counter)["usage_usec"] / 1e6


def _fields(file: Path) -> dict[str, int]:
    """'name number' in each line -> {name: number}."""
    return {name: int(value) for name, value in (line.split() for line in file.read_text("utf-8").splitlines())}
