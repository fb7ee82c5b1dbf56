"""What of a machine makes times untrustworthy, and what does not."""

import pytest

from orchestrator.host import GIB, machine_keys, machine_marks, machine_warnings, read_load
from orchestrator.host import machine as facts
from orchestrator.host.card import read_cards
from orchestrator.records.host_facts import Load, RecordedHost
from tests.fake_host import machine

IDLE = Load(load_1min=0.1, steal_percent=0.0, available_memory_bytes=16 * GIB)


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


@pytest.fixture
def marked(tmp_path, monkeypatch):
    """marked(system, board, boot, ...) -> the marks of a machine on which these files say so; None is no file."""

    def of(system=None, board=None, boot="b1", contained=False):
        for name, text in (("SYSTEM", system), ("BOARD", board), ("BOOT", boot)):
            path = tmp_path / name
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(f"{text}\n")
            monkeypatch.setattr(facts, name, path)
        monkeypatch.setattr(facts, "CONTAINED", (str(tmp_path),) if contained else ())
        return RecordedHost(hostname_sha256="localhost", marks=machine_marks())

    return of


def test_two_machines_of_one_name_are_two(marked):
    assert not marked(system="1", boot="b1").is_same_machine(marked(system="2", boot="b2"))


def test_a_machine_stays_one_over_boots_and_names(marked):
    before, after = marked(system="1", boot="b1"), marked(system="1", boot="b2")
    assert before.model_copy(update={"hostname_sha256": "new"}).is_same_machine(after)
    assert before.key == after.key


def test_a_container_is_its_machine_and_not_its_image(marked):
    host = marked(system="1", board="x", boot="b1")
    assert marked(system="of the image", boot="b1", contained=True).is_same_machine(host)
    assert marked(board="x", boot="b2", contained=True).is_same_machine(host)
    one, other = (marked(system="of the image", boot=boot, contained=True) for boot in ("b3", "b4"))
    assert not one.is_same_machine(other)


@pytest.mark.parametrize("mark", ["", "uninitialized", "Not Settable"])
def test_what_nobody_has_set_is_no_mark(marked, mark):
    assert not marked(system=mark, board=mark, boot="b1").is_same_machine(marked(system=mark, board=mark, boot="b2"))


def test_a_run_of_before_is_known_by_its_name(marked):
    before = RecordedHost(hostname_sha256="localhost")
    assert before.is_same_machine(marked(system="1"))
    assert not RecordedHost().is_same_machine(RecordedHost())


def test_what_is_kept_is_found_by_any_mark_or_the_name():
    assert machine_keys()[:-1] == machine_marks()
    assert len(set(machine_keys())) == len(machine_marks()) + 1
