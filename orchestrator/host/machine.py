"""Facts and load of this machine."""

import hashlib
import os
import platform
import shutil
import sys
from functools import lru_cache
from pathlib import Path

import cpuinfo
import psutil

from orchestrator.environment import Card
from orchestrator.host import cgroup
from orchestrator.host.card import GIB, card_warning, read_card_loads, read_cards
from orchestrator.host.topology import in_order_of_use, read_places
from orchestrator.records.host_facts import HostFacts, Load

SYSTEM = Path("/etc/machine-id")
BOARD = Path("/sys/class/dmi/id/product_uuid")
BOOT = Path("/proc/sys/kernel/random/boot_id")
CONTAINED = ("/.dockerenv", "/run/.containerenv")
NO_MARKS = (
    "uninitialized",
    "Not Settable",
    "00000000-0000-0000-0000-000000000000",
    "03000200-0400-0500-0006-000700080009",
)
"""What stands there where nobody has set it, for boards of many makers alike."""

BUSY = 0.25  # load, as a share of the processors, above which other work affects times
STEAL_PERCENT = 1.0
_SAMPLE_SECONDS = 0.5


@lru_cache(maxsize=1)
def read_host() -> HostFacts:
    """Facts of this machine; read once a process, because cpuinfo takes a second."""
    cpus = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else _all_cpus()
    info = cpuinfo.get_cpu_info()
    gpus, gpu_note = read_cards(os.environ.get("CUDA_VISIBLE_DEVICES"))
    cores = _physical_cores(cpus)
    return HostFacts(
        hostname_sha256=_hashed(platform.node()),
        marks=machine_marks(),
        system=_pretty_system(),
        kernel=platform.release(),
        machine=platform.machine(),
        python=platform.python_version(),
        cpu_model=str(info.get("brand_raw", "unknown")),
        cpu_flags=tuple(sorted(info.get("flags", []))),
        physical_cores=cores,
        logical_cores=len(cpus),
        cpus=in_order_of_use(places) if (places := read_places(cpus)) else cpus,
        threads_per_core=max(1, len(cpus) // cores),
        numa_nodes=max(1, len(list(Path("/sys/devices/system/node").glob("node[0-9]*")))),
        governor=_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        microcode=_cpuinfo_field("microcode"),
        is_virtual="hypervisor" in info.get("flags", []),
        memory_bytes=memory_bytes(),
        gpus=gpus,
        gpu_note=gpu_note,
    )


def read_load(cards: tuple[Card, ...] = ()) -> Load:
    """The current load, and that of `cards`; takes half a second, because steal is a share of time."""
    return Load(
        load_1min=os.getloadavg()[0],
        steal_percent=float(getattr(psutil.cpu_times_percent(interval=_SAMPLE_SECONDS), "steal", 0.0)),
        available_memory_bytes=_available_memory_bytes(),
        throttle_count=_throttle_count(),
        cards=read_card_loads(cards),
    )


def machine_warnings(host: HostFacts, load: Load, memory_bytes: int) -> list[str]:
    """Why times measured on this machine now would not be reliable, a sentence each.

    memory_bytes: what one trial may use.
    """
    warnings = load_warnings(host, load)
    free, all_, asked = load.available_memory_bytes / GIB, host.memory_bytes / GIB, memory_bytes / GIB
    if free < asked:
        here = "" if all_ >= asked else f" (this machine or container has {all_:.1f} GiB in all)"
        warnings.append(
            f"A trial may use {asked:.0f} GiB and {free:.1f} GiB are free{here}: it may swap, or be killed."
        )
    return warnings + [warning for card in load.cards if (warning := card_warning(card))]


def load_warnings(host: HostFacts, load: Load, when: str = "") -> list[str]:
    """Why times measured under this load are not reliable, a sentence each: for a note, a finding or a caveat.

    when: ' when the run began', if the load was read then; '' for now.
    """
    warnings = []
    if load.load_1min > BUSY * host.logical_cores:
        is_ = "was" if when else "is"
        warnings.append(f"The machine {is_} busy{when}: load {load.load_1min:.1f} on {host.logical_cores} processors.")
    if load.steal_percent > STEAL_PERCENT:
        warnings.append(f"The machine is shared: {load.steal_percent:.0f} % of its processors' time goes to others.")
    if host.governor not in (None, "performance"):
        warnings.append(f"The processors' clock is left to the governor '{host.governor}'.")
    if "virtualapple" in host.cpu_model.lower() or "qemu" in host.cpu_model.lower():
        warnings.append(f"The processor is emulated ({host.cpu_model}): its times are those of an emulator.")
    return warnings


def yield_processors() -> None:
    """Have the kernel run this thread, and what it starts, only where a processor is idle: trials keep their speed."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def free_disk_bytes(folder: Path) -> int:
    """Free bytes of the file system that holds `folder` or its nearest existing parent."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _all_cpus() -> tuple[int, ...]:
    return tuple(range(psutil.cpu_count() or 1))


def _physical_cores(cpus: tuple[int, ...]) -> int:
    """Number of cores that hold `cpus`: siblings of one core count once; from the kernel's topology, else psutil."""
    siblings = {_line(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") for cpu in cpus}
    if None not in siblings:
        return len(siblings)
    return min(len(cpus), psutil.cpu_count(logical=False) or len(cpus))


def _throttle_count() -> int | None:
    """Sum over all cores; the kernel counts per core on bare metal, and not at all in most virtual machines."""
    counts = [
        _line(str(path)) for path in Path("/sys/devices/system/cpu").glob("cpu*/thermal_throttle/core_throttle_count")
    ]
    numbers = [int(count) for count in counts if count is not None and count.isdigit()]
    return sum(numbers) if numbers else None


def _available_memory_bytes() -> int:
    group = cgroup.memory()
    return min(psutil.virtual_memory().available, group.available_bytes if group else sys.maxsize)


def memory_bytes() -> int:
    """Physical memory, or the limit of the container or control group that this process is in."""
    group = cgroup.memory()
    return min(psutil.virtual_memory().total, group.limit_bytes if group else sys.maxsize)


def machine_marks() -> tuple[str, ...]:
    """What tells machines apart without naming them, the most lasting first; two that share one are one machine.

    A container has the boot and, for root, the board of its machine, whatever its host name; an id that its image
    brought is that of many. Source: machine-id(5), which asks for a hash of one's own.
    """
    is_contained = any(Path(path).exists() for path in CONTAINED)
    board = _line(str(BOARD))
    system = None if is_contained else _line(str(SYSTEM))
    marks = {"system": system, "board": board, "boot": _line(str(BOOT))}
    return tuple(_hashed(f"waymark {what} {mark}") for what, mark in marks.items() if mark and mark not in NO_MARKS)


def machine_keys() -> tuple[str, ...]:
    """By which what is kept of this machine is found: its marks, and the hash of its name, as before 0.6."""
    return (*machine_marks(), _hashed(platform.node()))


def boot_key() -> str:
    """Tells one running system from all others: a hash of its boot, which its containers share, or of its name."""
    boot = _line(str(BOOT))
    return _hashed(f"waymark boot {boot}") if boot else _hashed(platform.node())


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pretty_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _cpuinfo_field(name: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)


def _line(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
