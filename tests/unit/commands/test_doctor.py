"""What doctor says of cards and package indexes: which there are, and which rows they are for."""

import socket
import time

import pytest

from orchestrator.commands.doctor import _leftovers, cards, indexes
from orchestrator.engines import package_index
from orchestrator.home import Home
from orchestrator.host.card import read_cards
from tests.fake_host import machine
from tests.fake_index import serving


@pytest.fixture
def found(nvml, catalogue):
    """found('t4') -> the findings about that machine's cards."""

    def of(name):
        nvml(name)
        gpus, note = read_cards()
        return list(cards(machine(gpus=gpus, gpu_note=note), catalogue))

    return of


def test_doctor_knows_what_a_killed_process_left(tmp_path, monkeypatch):
    monkeypatch.setenv("WAYMARK_REPORTS", str(tmp_path / "reports"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    home = Home(tmp_path / "home")
    assert _leftovers(home).state == "ok"
    left = home.published / f".draft-{'0' * 16}"
    left.mkdir(parents=True)
    finding = _leftovers(home)
    assert (finding.state, str(left) in finding.seen, "invoke reap" in finding.advice) == ("note", True, True)


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


def test_an_index_that_answers_is_named_with_its_rows(catalogue, tmp_path):
    with serving(tmp_path) as index:
        (finding,) = indexes(catalogue.with_indexes({"pytorch": index.url}))
    assert (finding.check, finding.state, finding.advice) == ("index of pytorch", "ok", "")
    assert finding.seen.startswith(f"{index.url} answers; for pytorch:2.13 cpu, pytorch:2.13-tuned cpu, ")


def test_an_index_that_is_not_there_is_a_note_with_the_fix(catalogue):
    (finding,) = indexes(catalogue.with_indexes({"pytorch": "http://127.0.0.1:9/whl/cpu"}))
    assert finding.state == "note"
    assert finding.seen.startswith("http://127.0.0.1:9/whl/cpu does not answer (no connection); for ")
    assert finding.advice.startswith("Asked only for what your own indexes lack. Name a mirror of it, WAYMARK_INDEX=")


def test_a_page_that_is_not_found_is_not_an_answer(tmp_path):
    with serving(tmp_path) as index:
        assert package_index.silence(f"{index.url}/nowhere") == "it says 404 File not found"


def test_indexes_that_say_nothing_are_waited_for_all_at_once():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        started = time.monotonic()
        said = package_index.silences([f"{address}/{name}" for name in "abc"], seconds=0.3)
    assert set(said.values()) == {"no answer in 0.3 s"}
    assert time.monotonic() - started < 0.9


def test_a_password_in_the_address_of_an_index_is_not_shown():
    assert package_index.shown("https://me:secret@mirror.test:8/whl/cpu") == "https://mirror.test:8/whl/cpu"
