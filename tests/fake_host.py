"""Facts of a machine that is nobody's."""

from orchestrator.host import GIB
from orchestrator.records.host_facts import HostFacts


def machine(**changes):
    facts = {
        "hostname_sha256": "0",
        "system": "Debian",
        "kernel": "6",
        "machine": "x86_64",
        "python": "3.11",
        "cpu_model": "AMD EPYC",
        "cpu_flags": (),
        "physical_cores": 4,
        "logical_cores": 8,
        "cpus": tuple(range(8)),
        "threads_per_core": 2,
        "numa_nodes": 1,
        "governor": "performance",
        "microcode": None,
        "is_virtual": False,
        "memory_bytes": 32 * GIB,
        "gpus": (),
        "gpu_note": "",
    }
    return HostFacts(**{**facts, **changes})
