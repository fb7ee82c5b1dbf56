"""Processor time of a control group, as the kernel counts it for a container."""

from contextlib import suppress
from pathlib import Path

from orchestrator.engines.process import ReadSeconds

_ROOT = Path("/sys/fs/cgroup")


def cgroup_seconds(pid: int) -> ReadSeconds:
    """Gives the processor seconds of the control group of process `pid`, of version 1 or 2 (cgroups(7)).

    The last known value once the group has gone; None if the kernel does not count them where we can read it.
    """
    counter = _counter(pid)
    last: list[float | None] = [None]

    def read() -> float | None:
        if counter is not None:
            with suppress(OSError, ValueError):
                last[0] = _seconds(counter)
        return last[0]

    return read


def _counter(pid: int) -> Path | None:
    fields = (line.split(":", 2) for line in _groups(pid))
    groups = {controllers: path.lstrip("/") for _, controllers, path in fields}
    found = [_ROOT / name / path / "cpuacct.usage" for name, path in groups.items() if "cpuacct" in name.split(",")]
    if "" in groups:
        found += [_ROOT / groups[""] / "cpu.stat", _ROOT / "unified" / groups[""] / "cpu.stat"]
    return next((path for path in found if path.exists()), None)


def _groups(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _seconds(counter: Path) -> float:
    text = counter.read_text(encoding="utf-8")
    if counter.name == "cpuacct.usage":
        return int(text) / 1e9
    fields = dict(line.split(maxsplit=1) for line in text.splitlines())
    return int(fields["usage_usec"]) / 1e6
