"""What this machine is, what it is busy with and what it does during a trial.

The only user of psutil, cpuinfo and pynvml; changes no setting.
"""

from orchestrator.host.card import GIB, CardLoad
from orchestrator.host.machine import (
    BUSY,
    STEAL_PERCENT,
    HostFacts,
    Load,
    free_disk_bytes,
    read_host,
    read_load,
    worries,
)
from orchestrator.host.telemetry import Telemetry

__all__ = [
    "BUSY",
    "GIB",
    "STEAL_PERCENT",
    "CardLoad",
    "HostFacts",
    "Load",
    "Telemetry",
    "free_disk_bytes",
    "read_host",
    "read_load",
    "worries",
]
