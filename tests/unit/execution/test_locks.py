"""Locks: one run at a time on a machine, and on each of its cards."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.environment import Card
from orchestrator.errors import EngineError, LockedError
from orchestrator.execution import locks
from orchestrator.files import NO_LOCKS
from orchestrator.home import Home
from orchestrator.host import boot_key, machine

FIRST, SECOND = (
    Card(index=at, uuid=f"GPU-{at}", name="Tesla T4", memory_bytes=1, capability="7.5", driver="550.54")
    for at in (0, 1)
)


@pytest.fixture(autouse=True)
def leases(tmp_path, monkeypatch):
    monkeypatch.setenv("WAYMARK_LOCKS", str(tmp_path))
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


def test_a_folder_of_locks_that_is_missing_is_named(leases, monkeypatch):
    monkeypatch.setenv("WAYMARK_LOCKS", str(leases / "none"))
    with pytest.raises(EngineError) as caught, locks.lease([FIRST]):
        pass
    assert str(caught.value) == (
        f"GPU 0 (Tesla T4) cannot be leased: there is no folder {leases / 'none'}. Make it, or set WAYMARK_LOCKS."
    )


def test_the_rights_of_a_file_that_another_made_are_not_changed(leases):
    precious = leases / "precious"
    precious.touch(mode=0o600)
    os.link(precious, leases / "waymark-GPU-0.lock")
    with pytest.raises(EngineError, match="is no empty file with one name"), locks.lease([FIRST]):
        pass
    assert precious.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("made", [lambda path: path.write_text("theirs"), os.mkfifo, Path.mkdir])
def test_what_is_no_lock_file_is_refused_in_its_place(leases, made):
    made(leases / "waymark-GPU-0.lock")
    with pytest.raises(EngineError, match=r"is no empty file with one name\. Remove it"), locks.lease([FIRST]):
        pass


def test_a_home_has_one_run_though_its_lock_was_removed(tmp_path, leases, monkeypatch):
    home = Home(tmp_path / "a")
    with locks.exclusive_run(home):
        (home.locks / boot_key() / "sweep.lock").unlink()
        (leases / "waymark.lock").unlink()
        with pytest.raises(LockedError), locks.exclusive_run(home):
            pass


@pytest.mark.parametrize("name", ["waymark.lock", f"home/locks/{boot_key()}/sweep.lock"])
def test_a_lock_that_was_removed_is_taken_again(leases, tmp_path, name):
    with locks.exclusive_run(Home(tmp_path / "home")) as hold_on:
        hold_on()
        (leases / name).unlink()
        hold_on()
        with pytest.raises(LockedError), locks.exclusive_run(Home(tmp_path / "other")):
            pass
        hold_on()


def test_a_run_that_came_in_by_a_removed_lock_ends_the_first(leases, tmp_path):
    with locks.exclusive_run(Home(tmp_path / "a")) as hold_on:
        (leases / "waymark.lock").unlink()
        with locks.exclusive_run(Home(tmp_path / "b")), pytest.raises(LockedError, match="another run is going on"):
            hold_on()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a file from everybody and read it all the same")
def test_a_lease_needs_no_more_than_to_read_the_file(leases):
    (leases / "waymark-GPU-0.lock").touch(mode=0o444)
    with locks.lease([FIRST]):
        pass


def test_two_homes_do_not_run_at_once(tmp_path):
    with (
        locks.exclusive_run(Home(tmp_path / "a")),
        pytest.raises(EngineError, match="another run is going on on this machine"),
        locks.exclusive_run(Home(tmp_path / "b")),
    ):
        pass


def test_one_home_has_one_run_even_with_other_locks(tmp_path, monkeypatch):
    with locks.exclusive_run(Home(tmp_path / "a")):
        monkeypatch.setenv("WAYMARK_LOCKS", str(tmp_path / "a"))  # as in another container of this machine
        with pytest.raises(EngineError), locks.exclusive_run(Home(tmp_path / "a")):
            pass


def test_another_machine_that_shares_the_home_runs_beside(tmp_path, monkeypatch):
    with locks.exclusive_run(Home(tmp_path / "a")):
        (tmp_path / "boot").write_text("another")
        monkeypatch.setattr(machine, "BOOT", tmp_path / "boot")
        monkeypatch.setenv("WAYMARK_LOCKS", str(tmp_path / "a"))
        with locks.exclusive_run(Home(tmp_path / "a")):
            pass


def test_a_home_whose_file_system_locks_no_folders_has_one_run(tmp_path, monkeypatch):
    def flock(file, how):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")  # NFS emulates flock on files that may be written
        return take(file, how)

    take = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        locks.exclusive_run(Home(tmp_path / "a")),
        pytest.raises(LockedError),
        locks.exclusive_run(Home(tmp_path / "a")),
    ):
        pass


def test_a_lock_can_be_opened_by_all_users_whatever_the_umask(leases, tmp_path):
    before = os.umask(0o077)
    try:
        with locks.exclusive_run(Home(tmp_path / "a")), locks.lease([FIRST]):
            modes = {path.name: path.stat().st_mode & 0o777 for path in leases.glob("waymark*.lock")}
    finally:
        os.umask(before)
    assert modes == {"waymark.lock": 0o644, "waymark-GPU-0.lock": 0o644}


def test_a_lock_ends_with_a_process_that_is_killed(tmp_path):
    holds = f"""
import os, signal
from pathlib import Path
from orchestrator.execution import locks
from orchestrator.files import NO_LOCKS
from orchestrator.home import Home
with locks.exclusive_run(Home(Path({str(tmp_path / "a")!r}))):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", holds]).returncode == -signal.SIGKILL
    with locks.exclusive_run(Home(tmp_path / "a")):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_and_kill_end_a_run_as_ctrl_c_does(number):
    before = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        with locks.signals_as_interrupt(), pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)


def test_under_nohup_a_closed_terminal_changes_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with locks.signals_as_interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_file_system_without_locks_is_named_with_its_file(tmp_path, monkeypatch, number):
    def flock(file, how):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="no locks") as caught, locks.exclusive_run(Home(tmp_path / "a")):
        pass
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "waymark.lock"))
