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


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_in_the_place_of_the_draft_is_not_followed(job, victim, kind):
    put(job, victim, kind).rename(job / ".out.json.draft")
    files.write_atomically(job / "out.json", "ours")
    assert ((job / "out.json").read_text(), victim.read_text()) == ("ours", "precious")


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
