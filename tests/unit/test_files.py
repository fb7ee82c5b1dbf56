"""Files of a folder that a worker may write: no link is followed, and nothing but a regular file is read."""

import os

import pytest

from orchestrator import files
from orchestrator.home import REPOSITORY


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


@pytest.fixture
def job(tmp_path):
    folder = tmp_path / "job"
    folder.mkdir()
    return folder


def put(job, victim, kind):
    """Something that a worker may leave at job/file."""
    path = job / "file"
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "endless device":
        path.symlink_to("/dev/zero")
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
        (path / "more").touch()
    return path


KINDS = ["link", "endless device", "FIFO", "folder"]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", KINDS)
def test_only_a_regular_file_is_read(job, victim, kind):
    path = put(job, victim, kind)
    with pytest.raises(OSError, match=r"it is a link|it is no regular file"):
        files.read_bytes(path)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", KINDS)
def test_only_a_regular_file_is_copied(job, victim, kind, tmp_path):
    path = put(job, victim, kind)
    with pytest.raises(OSError, match=r"it is a link|it is no regular file"):
        files.copy(path, tmp_path / "copy", 100)
    assert not (tmp_path / "copy").exists()


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", KINDS)
def test_writing_replaces_what_is_there_and_follows_nothing(job, victim, kind):
    path = put(job, victim, kind)
    files.write_atomically(path, "ours")
    assert (path.read_text(), path.is_symlink(), victim.read_text()) == ("ours", False, "precious")


def test_two_processes_may_replace_one_file(job):
    with files.replacing(job / "out.json") as one, files.replacing(job / "out.json") as other:
        one.write(b"one")
        other.write(b"other")
    assert ((job / "out.json").read_text(), [path.name for path in job.iterdir()]) == ("one", ["out.json"])


def test_a_draft_that_fails_is_removed(job):
    with pytest.raises(ValueError, match="no"), files.replacing(job / "out.json"):
        raise ValueError("no")
    assert list(job.iterdir()) == []


def nested(folder, depth):
    """Folders in folders, deeper than a path may name."""
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


def test_a_folder_of_any_depth_is_removed(job):
    nested(job, 3_500)
    files.remove(job)
    assert not job.exists()


def test_a_folder_whose_owner_closed_it_is_removed(job, victim):
    inner = job / "closed" / "more"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    (inner / "link").symlink_to(victim)
    inner.chmod(0)
    inner.parent.chmod(0)
    job.chmod(0)
    files.remove(job)
    assert (job.exists(), victim.read_text()) == (False, "precious")


def test_a_folder_that_comes_back_holds_plain_files_alone(job, victim):
    for kind in KINDS:
        put(job, victim, kind).rename(job / kind)
    nested(job / "folder", 3_500)
    (job / "second").hardlink_to(victim)
    shell = job / "shell"
    shell.write_text("#!/bin/sh")
    shell.chmod(0o6777)
    job.chmod(0o2777)
    rights = victim.stat().st_mode
    files.take_back(job)
    assert {path.name: path.stat().st_mode & 0o7777 for path in job.iterdir()} == {"shell": 0o644}
    assert (job.stat().st_mode & 0o7777, victim.stat().st_mode, victim.read_text()) == (0o755, rights, "precious")


def test_a_folder_in_whose_place_is_a_link_does_not_come_back(job, tmp_path):
    (tmp_path / "link").symlink_to(job)
    with pytest.raises(OSError, match="it is a link"):
        files.take_back(tmp_path / "link")


def test_what_a_folder_takes_is_counted_to_a_limit(job):
    (job / "inner").mkdir()
    (job / "inner" / "file").write_bytes(bytes(100_000))
    assert 100_000 <= files.size_bytes(job, 10) < 200_000
    assert files.size_bytes(job, 1) is None
    nested(job, 3_500)
    assert files.size_bytes(job, 100_000) is None
    files.remove(job)  # pytest's own way would fail


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_name_that_is_taken_is_not_taken_again(tmp_path, kind):
    made, to = tmp_path / "made", tmp_path / "to"
    for path in (made, to):
        path.mkdir() if kind == "folder" else path.touch()
    (made / "x").touch() if kind == "folder" else made.write_text("x")
    if kind == "folder":
        (to / "theirs").touch()
    with pytest.raises(FileExistsError):
        files.move_new(made, to)
    files.remove(to)
    files.move_new(made, to)
    assert (to / "x").exists() if kind == "folder" else to.read_text() == "x"


def test_a_file_beyond_the_limit_is_refused(job):
    (job / "file").write_bytes(b"x" * 101)
    assert len(files.read_bytes(job / "file", 101)) == 101
    with pytest.raises(files.UnsafeFileError, match="larger than"):
        files.read_bytes(job / "file", 100)
    with pytest.raises(files.UnsafeFileError, match="larger than"):
        files.copy(job / "file", job / "copy", 100)


def test_a_copy_has_the_permissions_of_a_new_file(job):
    (job / "file").write_text("text")
    (job / "file").chmod(0o600)
    files.copy(job / "file", job / "copy", 100)
    assert (job / "copy").read_text() == "text"


def test_a_clone_keeps_the_bytes_of_every_file():
    """Hashes are over them, and shells in images want no carriage returns."""
    assert "\n* -text\n" in (REPOSITORY / ".gitattributes").read_text()
