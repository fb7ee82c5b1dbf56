"""Leases: no two runs of one machine compute on one card."""

import os

import pytest

from orchestrator.environment import Card
from orchestrator.errors import EngineError
from orchestrator.execution import locks

FIRST, SECOND = (
    Card(index=at, uuid=f"GPU-{at}", name="Tesla T4", memory_bytes=1, capability="7.5", driver="550.54")
    for at in (0, 1)
)


@pytest.fixture(autouse=True)
def leases(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "LEASES", tmp_path)
    return tmp_path


def test_a_leased_card_is_refused_in_one_sentence_with_a_remedy():
    with locks.lease([FIRST]), pytest.raises(EngineError) as caught, locks.lease([SECOND, FIRST]):
        pass
    assert str(caught.value) == (
        "GPU 0 (Tesla T4) is leased to another run of this machine. "
        "Wait for it to end, or name another card with --gpus."
    )


def test_another_card_can_be_leased_beside_it():
    with locks.lease([FIRST]), locks.lease([SECOND]):
        pass


def test_a_lease_that_was_refused_holds_nothing_back():
    with locks.lease([FIRST]), pytest.raises(EngineError), locks.lease([SECOND, FIRST]):
        pass
    with locks.lease([SECOND]):
        pass


def test_a_lease_ends_with_the_run():
    for _ in range(2):
        with locks.lease([FIRST, SECOND]):
            pass


def test_a_run_without_cards_leases_none(leases):
    with locks.lease([]):
        assert list(leases.iterdir()) == []


def test_a_link_in_the_place_of_a_lease_is_not_followed(leases):
    (leases / "waymark-GPU-0.lock").symlink_to(leases / "precious")
    with pytest.raises(EngineError, match=r"cannot be leased: .* does not open"), locks.lease([FIRST]):
        pass
    assert not (leases / "precious").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a file from everybody and read it all the same")
def test_a_lease_needs_no_more_than_to_read_the_file(leases):
    (leases / "waymark-GPU-0.lock").touch(mode=0o444)
    with locks.lease([FIRST]):
        pass
