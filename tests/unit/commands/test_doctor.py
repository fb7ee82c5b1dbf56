"""What doctor says of cards: which there are, and which rows run on them."""

import pytest

from orchestrator.commands.doctor import cards
from orchestrator.host.card import read_cards
from tests.unit.host.test_machine import machine


@pytest.fixture
def found(nvml, catalogue):
    """found('t4') -> the findings about that machine's cards."""

    def of(name):
        nvml(name)
        gpus, note = read_cards()
        return list(cards(machine(gpus=gpus, gpu_note=note), catalogue))

    return of


def test_without_a_card_doctor_says_what_becomes_of_gpu_cells(found):
    (finding,) = found("none")
    assert (finding.state, finding.seen) == ("note", "no NVIDIA driver: GPU cells will be skipped")


def test_a_card_lists_the_rows_it_runs_and_why_not_the_others(found, catalogue):
    (finding,) = found("h100")
    assert finding.state == "ok"
    assert finding.seen.startswith("GPU 0 (NVIDIA H100 80GB HBM3), 80 GiB, capability 9.0, driver 580.159.04; ")
    assert finding.seen.endswith(f" of {len(catalogue.rows(device='gpu'))} GPU rows run on it")
    assert "cntk:2.7: unsupported: built for sm_30-sm_75, this card is sm_90" in finding.advice


def test_a_card_on_which_nothing_runs_is_a_note(found):
    (finding,) = found("mig")
    assert finding.state == "note"
    assert "; 0 of " in finding.seen


def test_each_card_is_a_finding(found):
    assert [finding.seen[:5] for finding in found("two")] == ["GPU 0", "GPU 1"]
