"""What of a machine makes times untrustworthy, and what does not."""

import pytest

from orchestrator.host import GIB, machine_warnings, read_load
from orchestrator.host.card import read_cards
from orchestrator.records.host_facts import HostFacts, Load

IDLE = Load(load_1min=0.1, steal_percent=0.0, available_memory_bytes=16 * GIB)


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


def test_an_idle_machine_gives_no_worry():
    assert machine_warnings(machine(), IDLE, 8 * GIB) == []


def test_a_machine_that_tells_no_governor_gives_no_worry():
    assert machine_warnings(machine(governor=None), IDLE, 8 * GIB) == []


@pytest.mark.parametrize(
    ("facts", "load", "said"),
    [
        ({}, {"load_1min": 2.5}, "busy: load 2.5 on 8 processors"),
        ({}, {"steal_percent": 7.0}, "shared: 7 % of its processors' time"),
        ({}, {"available_memory_bytes": 4 * GIB}, "A trial may use 8 GiB and 4.0 GiB are free"),
        (
            {"memory_bytes": 3 * GIB // 10},
            {"available_memory_bytes": GIB // 10},
            "A trial may use 8 GiB and 0.1 GiB are free (this machine or container has 0.3 GiB in all)",
        ),
        ({"governor": "powersave"}, {}, "governor 'powersave'"),
        ({"cpu_model": "VirtualApple @ 2.50GHz"}, {}, "emulated (VirtualApple"),
    ],
)
def test_each_cause_is_one_sentence_with_its_number(facts, load, said):
    (worry,) = machine_warnings(machine(**facts), IDLE.model_copy(update=load), 8 * GIB)
    assert said in worry


def test_a_busy_card_is_a_warning_for_gpu_runs_only(nvml):
    nvml("busy")
    cards, _ = read_cards()
    asked, unasked = read_load(cards), read_load()
    worry = "GPU 0 (Tesla T4) is busy: 2 other processes compute on it, 10.2 of 15.0 GiB are in use."
    assert worry in machine_warnings(machine(), asked, 1)
    assert worry not in machine_warnings(machine(), unasked, 1)


def test_a_reading_is_of_this_moment():
    load = read_load()
    assert 0 <= load.steal_percent <= 100
    assert load.available_memory_bytes > 0
