"""Facts and load of this machine and its cards, and telemetry during a trial.

The only user of psutil, cpuinfo and pynvml; changes no setting.
"""

from orchestrator.host.card import GIB
from orchestrator.host.cgroup import ReadSeconds, cgroup_seconds, oom_kills
from orchestrator.host.machine import (
    STEAL_PERCENT,
    boot_key,
    free_disk_bytes,
    load_warnings,
    machine_keys,
    machine_marks,
    machine_warnings,
    memory_bytes,
    read_host,
    read_load,
    yield_processors,
)
from orchestrator.host.shared import file_system_of, is_local
from orchestrator.host.telemetry import Telemetry

__all__ = [
    "GIB",
    "STEAL_PERCENT",
    "ReadSeconds",
    "Telemetry",
    "boot_key",
    "cgroup_seconds",
    "file_system_of",
    "free_disk_bytes",
    "is_local",
    "load_warnings",
    "machine_keys",
    "machine_marks",
    "machine_warnings",
    "memory_bytes",
    "oom_kills",
    "read_host",
    "read_load",
    "yield_processors",
]
