"""What is read of NVIDIA cards, on every machine of the recorded fleet."""

import json
import os

import pynvml
import pytest

from orchestrator.environment import Card, Environment
from orchestrator.host.card import Meter, card_warning, open_meter, read_card_loads, read_cards

BARE = Environment(
    engine="docker", framework="pytorch", variant="2.13", device="gpu", identity="0", location="", python="", freeze=()
)
SILENT = Card(index=7, name="gone", memory_bytes=0, capability="9.0", driver="580.1")


@pytest.mark.parametrize(
    ("machine", "seen"),
    [
        ("gtx1060", ["GPU 0 (NVIDIA GeForce GTX 1060 6GB) 6.1 470.82.01"]),
        ("h100", ["GPU 0 (NVIDIA H100 80GB HBM3) 9.0 580.159.04"]),
        ("two", ["GPU 0 (Tesla V100-SXM2-16GB) 7.0 535.104.05", "GPU 1 (NVIDIA A100-SXM4-40GB) 8.0 535.104.05"]),
    ],
)
def test_cards_are_known_by_number_name_capability_and_driver(nvml, machine, seen):
    nvml(machine)
    cards, note = read_cards()
    assert [f"{card.label} {card.capability} {card.driver}" for card in cards] == seen
    assert note == ""


def test_a_card_is_mig_only_where_mig_is_on(nvml):
    divided = {}
    for machine in ("mig", "a100", "v100"):
        nvml(machine)
        divided[machine] = [card.is_mig for card in read_cards()[0]]
    assert divided == {"mig": [True], "a100": [False], "v100": [False]}


def test_a_machine_without_driver_says_so_in_one_clause(nvml):
    nvml("none")
    assert read_cards() == ((), "no NVIDIA driver: GPU cells will be skipped")


def test_a_driver_that_does_not_answer_is_told_apart_from_none(nvml):
    nvml("t4").is_lost = True
    cards, note = read_cards()
    assert cards == ()
    assert note == "the NVIDIA driver does not answer (GPU is lost): GPU cells will be skipped"


@pytest.mark.parametrize("machine", ["h100", "gtx1060", "two", "mig"])
def test_an_idle_card_gives_no_warning(nvml, machine):
    nvml(machine)
    assert [card_warning(load) for load in read_card_loads(read_cards()[0])] == [""] * len(read_cards()[0])


def test_a_busy_card_is_one_sentence_with_its_numbers(nvml):
    nvml("busy")
    (load,) = read_card_loads(read_cards()[0])
    assert card_warning(load) == (
        "GPU 0 (Tesla T4) is busy: 2 other processes compute on it, 10.2 of 15.0 GiB are in use."
    )


def test_a_meter_reads_what_the_card_tells(nvml):
    nvml("h200")
    meter = Meter(read_cards()[0][0])
    read = meter.read()
    assert (read.busy_percent, read.clock_mhz, read.memory_clock_mhz, read.celsius) == (0, 345, 3201, 30)
    assert (read.watts, read.joules) == (74.53, 3344556.677)


def test_a_card_without_energy_counter_tells_all_else(nvml):
    nvml("gtx1060")
    read = Meter(read_cards()[0][0]).read()
    assert (read.joules, read.watts) == (None, 6.12)


@pytest.mark.parametrize(
    ("bits", "words"),
    [(0x1, ()), (0x4, ("software power cap",)), (0x48, ("hardware slowdown", "hardware thermal"))],
    ids=["idle", "power cap", "heat"],
)
def test_what_holds_a_clock_down_is_named(nvml, bits, words):
    nvml("t4").cards[0]["sample"]["throttle_bits"] = bits
    assert Meter(read_cards()[0][0]).read().throttled == words


def test_a_card_that_is_lost_during_a_trial_gives_empty_samples(nvml):
    fake = nvml("t4")
    meter = Meter(read_cards()[0][0])
    fake.is_lost = True
    assert meter.read().model_dump(exclude_defaults=True) == {}


def test_a_card_that_is_gone_has_no_meter_and_nvml_is_closed(nvml):
    fake = nvml("t4")
    assert open_meter(SILENT) is None
    assert fake.opened == 0


@pytest.mark.parametrize("machine", ["t4", "two"])
def test_the_library_is_closed_as_often_as_it_is_opened(nvml, machine):
    fake = nvml(machine)
    read_card_loads(read_cards()[0])
    meter = open_meter(read_cards()[0][0])
    meter.read()
    meter.close()
    assert fake.opened == 0


def test_a_cards_own_number_is_in_no_record(nvml):
    fake = nvml("t4")
    (card,) = read_cards()[0]
    text = BARE.on(card).model_dump_json()
    assert card.uuid == fake.cards[0]["uuid"]
    assert card.uuid not in text
    assert json.loads(text)["card"]["name"] == "Tesla T4"


def test_another_make_of_card_or_driver_is_another_environment(nvml):
    nvml("h100")
    (card,) = read_cards()[0]
    same = card.model_copy(update={"index": 3, "uuid": "GPU-another"})
    others = [card.model_copy(update=change) for change in ({"driver": "590.1"}, {"name": "NVIDIA H200"})]
    assert BARE.on(same).identity == BARE.on(card).identity
    assert BARE.identity not in {BARE.on(card).identity}
    assert len({BARE.on(one).identity for one in (card, *others)}) == 3


def test_an_old_driver_is_asked_for_the_older_list_of_processes(nvml):
    """Drivers before R510."""
    fake = nvml("two")
    fake.lacks("nvmlDeviceGetComputeRunningProcesses")
    fake.nvmlDeviceGetComputeRunningProcesses_v2 = lambda handle: [1, 2]
    assert [load.processes for load in read_card_loads(read_cards()[0])] == [2, 2]


def test_processes_that_no_driver_tells_are_one_sentence(nvml):
    fake = nvml("h100")
    for version in ("", "_v2"):
        fake.lacks(f"nvmlDeviceGetComputeRunningProcesses{version}")
    (load,) = read_card_loads(read_cards()[0])
    assert card_warning(load).endswith("its driver does not tell how many processes compute on it.")


def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(nvml):
    fake = nvml("two")
    fake.nvmlDeviceGetName = lambda handle: b"NVIDIA \xa6 card".decode()
    assert [card.name for card in read_cards()[0]] == ["NVIDIA \ufffd card"] * 2


def test_a_card_without_own_memory_is_listed_with_the_machines(nvml):
    """As a Jetson or a GB10."""
    nvml("h100").lacks("nvmlDeviceGetMemoryInfo", pynvml.NVMLError_NotSupported)
    ((card,), note) = read_cards()
    assert (card.memory_bytes, note) == (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "")


def test_one_card_that_does_not_answer_hides_no_other(nvml):
    fake = nvml("two")
    ask = fake.nvmlDeviceGetHandleByIndex

    def handle(index):
        if index == 0:
            raise pynvml.NVMLError_GpuIsLost
        return ask(index)

    fake.nvmlDeviceGetHandleByIndex = handle
    cards, note = read_cards()
    assert ([card.index for card in cards], note) == ([1], "GPU 0 does not answer (GPU is lost)")


@pytest.mark.parametrize(
    ("visible", "indices"),
    [("1", [1]), ("1,0", [1, 0]), ("0,7,1", [0]), ("GPU-", [0]), ("", []), ("-1", []), ("NoDevFiles", [])],
)
def test_only_the_cards_that_a_scheduler_gave_are_used(nvml, visible, indices):
    nvml("two")
    cards, note = read_cards(visible)
    assert [card.index for card in cards] == indices
    assert note == "" if visible == "1,0" else note.startswith(f"CUDA_VISIBLE_DEVICES is '{visible}', so of this")
