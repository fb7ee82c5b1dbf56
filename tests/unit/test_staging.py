"""Copies on a disk of this machine of what a shared home has."""

import os
import shutil
import time
from collections import namedtuple

import pytest

from orchestrator import staging
from orchestrator.staging import KEPT_DAYS, staged

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def original(tmp_path):
    folder = tmp_path / "home" / "data" / "signs-32-0a1b"
    folder.mkdir(parents=True)
    (folder / "x.npy").write_bytes(b"pictures")
    (folder / "link").symlink_to("x.npy")
    return folder


@pytest.fixture
def disk(tmp_path, monkeypatch):
    monkeypatch.setenv("WAYMARK_STAGING", str(tmp_path / "disk"))
    return tmp_path / "disk"


def ignored(line):
    pass


def test_without_a_folder_for_them_nothing_is_copied(original, monkeypatch):
    monkeypatch.delenv("WAYMARK_STAGING", raising=False)
    assert staged(original, ignored) == original


def test_a_copy_is_made_once(original, disk):
    said = []
    copy = staged(original, said.append)
    assert copy == disk / "data" / "signs-32-0a1b"
    assert ((copy / "x.npy").read_bytes(), (copy / "link").readlink().name) == (b"pictures", "x.npy")
    assert staged(original, said.append) == copy
    assert len(said) == 1


def test_a_copy_that_differs_is_not_put_in_place(original, disk, monkeypatch):
    def tear(source, target, symlinks):
        copytree(source, target, symlinks=symlinks)
        (target / "x.npy").write_bytes(b"pictur")

    copytree, said = shutil.copytree, []
    monkeypatch.setattr(shutil, "copytree", tear)
    assert staged(original, said.append) == original
    assert "what was copied differs from the original" in said[0]
    assert list((disk / "data").iterdir()) == []


def test_what_nobody_used_for_long_is_removed(original, disk):
    old, used = disk / "data" / "old", disk / "virtualenvs" / "used"
    for folder, days in ((old, KEPT_DAYS + 1), (used, 1)):
        folder.mkdir(parents=True)
        then = time.time() - days * 24 * 3600
        os.utime(folder, (then, then))
    staged(original, ignored)
    assert (old.exists(), used.exists()) == (False, True)


def test_a_full_disk_gives_up_its_oldest_copies_first(original, disk, monkeypatch):
    old, used = disk / "data" / "old", disk / "data" / "used"
    for folder, days in ((old, 2), (used, 0.5)):
        folder.mkdir(parents=True)
        then = time.time() - days * 24 * 3600
        os.utime(folder, (then, then))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0 if old.exists() else 2**40))
    assert staged(original, ignored) == disk / "data" / original.name
    assert (old.exists(), used.exists()) == (False, True)


def test_a_copy_that_may_be_in_use_makes_no_room(original, disk, monkeypatch):
    used = disk / "data" / "used"
    used.mkdir(parents=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))
    assert (staged(original, ignored), used.exists()) == (original, True)


def test_where_there_is_no_room_the_original_is_read(original, disk, monkeypatch):
    said = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))
    assert staged(original, said.append) == original
    assert "the disk has no room for it" in said[0]


def test_a_folder_that_cannot_be_made_is_a_note(original, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WAYMARK_STAGING", str(tmp_path / "file"))
    said = []
    assert staged(original, said.append) == original
    assert said[0].startswith(f"note: {original} is read where it is")
    assert staging.KEPT_DAYS > 1
