"""Which processors a trial takes: one of each physical core first, as the kernel's topology tells."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

CPUS = Path("/sys/devices/system/cpu")


class Place(NamedTuple):
    """Where a logical processor is. capacity: of its core beside others, in any unit; 0 if not known."""

    package: int
    core: int
    capacity: int = 0


def read_places(cpus: Iterable[int], root: Path = CPUS) -> dict[int, Place] | None:
    """The places of these processors; None if the kernel does not tell that of each."""
    places = {}
    for cpu in cpus:
        folder = root / f"cpu{cpu}"
        package = _number(folder / "topology" / "physical_package_id")
        core = _number(folder / "topology" / "core_id")
        if package is None or core is None:
            return None
        capacity = _number(folder / "cpu_capacity") or _number(folder / "cpufreq" / "cpuinfo_max_freq") or 0
        places[cpu] = Place(package, core, capacity)
    return places


def in_order_of_use(places: Mapping[int, Place]) -> tuple[int, ...]:
    """The processors in the order in which a trial takes them.

    First one of each core, then the siblings; large cores before small ones (hybrid processors), package by package.
    """
    siblings: dict[tuple[int, int], int] = {}
    keys = {}
    for cpu in sorted(places):
        package, core, capacity = places[cpu]
        rank = siblings[package, core] = siblings.get((package, core), -1) + 1
        keys[cpu] = (rank, -capacity, package, core, cpu)
    return tuple(sorted(keys, key=lambda cpu: keys[cpu]))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
