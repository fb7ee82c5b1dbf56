"""Folders for a while: those of living processes are left alone, those of killed ones are found."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orchestrator import files, scratch
from orchestrator.home import REPOSITORY, Home

KILLED = """
import os, signal, sys
from pathlib import Path
from orchestrator import files, scratch
from orchestrator.home import Home
parent, home = Path(sys.argv[1]), Home(Path(sys.argv[2]))
with scratch.scratch_folder(home.data) as one, scratch.temporary_folder() as two:
    with scratch.folder_beside(parent / "site", home) as three, files.replacing(parent / "out.json") as draft:
        draft.write(b"half")
        (three / "half").touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return Home(tmp_path / "home")


def left(home, parent):
    found = [*scratch.left_in(home.data), *scratch.left_temporary(), *scratch.left_beside(home)]
    return [*found, *scratch.left_drafts(parent)]


def test_what_a_killed_process_left_is_found(home, tmp_path):
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path, home.root], cwd=REPOSITORY, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    found = left(home, tmp_path)
    assert all(scratch.remove_left(path) for path in found)
    assert len(found) == 5
    everything = [path for path in tmp_path.rglob("*") if path.is_symlink() or not path.is_dir()]
    assert (everything, list((tmp_path / "tmp").iterdir()), left(home, tmp_path)) == ([], [], [])


def test_what_a_living_process_uses_is_left_alone(home, tmp_path):
    beside, draft = scratch.folder_beside(tmp_path / "x", home), files.replacing(tmp_path / "out.json")
    with scratch.scratch_folder(home.data), scratch.temporary_folder(), beside, draft:
        assert left(home, tmp_path) == []
    assert [path for path in (*home.root.iterdir(), *(tmp_path / "tmp").iterdir()) if path != home.data] == []


def test_a_scratch_folder_is_for_its_user_alone(home):
    with scratch.temporary_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_another_folder_of_the_user_is_none_of_them(home, tmp_path):
    for name in ("waymark-home", ".waymark-draft-", ".waymark-draft-mine", f".waymark-draft-{'g' * 16}"):
        (tmp_path / "tmp" / name).mkdir()
    (tmp_path / "tmp" / f".waymark-draft-{'0' * 16}").symlink_to(tmp_path)
    assert scratch.left_temporary() == []


def test_a_folder_swept_away_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    made, plain = [], Path.mkdir

    def mkdir(path, *arguments, **options):
        plain(path, *arguments, **options)
        if path.name.startswith(scratch.INSIDE):
            made.append(path)
            if len(made) == 1:
                assert scratch.left_in(tmp_path) == [path]
                path.rmdir()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with scratch.scratch_folder(tmp_path) as folder:
        assert folder == made[1]


def test_a_folder_locked_after_it_was_listed_is_not_removed(tmp_path, monkeypatch):
    listed, plain = [], Path.mkdir

    def mkdir(path, *arguments, **options):
        plain(path, *arguments, **options)
        if path.name.startswith(scratch.INSIDE):
            listed.extend(scratch.left_in(tmp_path))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with scratch.scratch_folder(tmp_path) as folder:
        assert listed == [folder]
        assert not scratch.remove_left(folder)
        assert folder.is_dir()
    assert not folder.exists()


def test_a_draft_locked_after_it_was_listed_is_not_removed(tmp_path, monkeypatch):
    listed, plain = [], files.create

    def create(path):
        file = plain(path)
        listed.extend(scratch.left_drafts(tmp_path))
        return file

    monkeypatch.setattr(files, "create", create)
    with files.replacing(tmp_path / "out.json") as file:
        assert len(listed) == 1
        assert not scratch.remove_left(listed[0])
        file.write(b"{}")
    assert (tmp_path / "out.json").read_bytes() == b"{}"


def test_a_draft_swept_away_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    made, plain = [], files.create

    def create(path):
        file = plain(path)
        made.append(path)
        if len(made) == 1:
            assert scratch.remove_left(path)
        return file

    monkeypatch.setattr(files, "create", create)
    with files.replacing(tmp_path / "out.json") as file:
        file.write(b"{}")
    assert ((tmp_path / "out.json").read_bytes(), len(made)) == (b"{}", 2)


def test_where_no_locks_are_kept_nothing_is_taken_for_left(home, monkeypatch):
    def refuse(descriptor, path, *, waits=False):
        raise OSError(files.NO_LOCKS[0], os.strerror(files.NO_LOCKS[0]), str(path))

    monkeypatch.setattr(files, "take_lock", refuse)
    with scratch.scratch_folder(home.data) as folder:
        assert (folder.is_dir(), scratch.left_in(home.data)) == (True, [])
