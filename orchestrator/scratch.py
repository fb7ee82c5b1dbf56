"""Folders and drafts for a while, of which `invoke reap` finds those whose process was killed.

Each is locked while its process runs, and the kernel releases the lock of a process that ends in whatever way.
"""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator import files
from orchestrator.files import DRAFT
from orchestrator.home import Home

INSIDE = ".draft-"
"""Begins the name of such a folder among waymark's own."""

OUTSIDE = ".waymark-draft-"
"""The same where other programs have theirs: beside what a user names, and in the folder of temporary files."""

_BESIDE = ".beside-"
_TOKEN_BYTES = 8
_IS_TOKEN = "[0-9a-f]" * 2 * _TOKEN_BYTES


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str = INSIDE, token: str = "") -> Iterator[Path]:
    """A new folder in `parent`, for this user alone; what is left of it is removed at the end.

    Any number of processes may do this in one `parent` at once. token: the rest of its name, if that must be known.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder, lock = _locked_folder(parent, prefix, token)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            files.remove(folder)
        os.close(lock)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """The same in the user's folder of temporary files."""
    with scratch_folder(Path(tempfile.gettempdir()), OUTSIDE) as folder:
        yield folder


@contextlib.contextmanager
def folder_beside(target: Path, home: Home) -> Iterator[Path]:
    """The same beside `target`, so that a rename makes it that. A link in `home` tells `invoke reap` where it is."""
    token = secrets.token_hex(_TOKEN_BYTES)
    home.root.mkdir(parents=True, exist_ok=True)
    link = home.root / f"{_BESIDE}{token}"
    link.symlink_to(target.absolute().parent)
    try:
        with scratch_folder(target.absolute().parent, OUTSIDE, token) as folder:
            yield folder
    finally:
        link.unlink(missing_ok=True)


def left_in(parent: Path) -> list[Path]:
    """The folders of `scratch_folder` in `parent` whose processes have ended."""
    return sorted(path for path in parent.glob(f"{INSIDE}*") if _is_left(path))


def left_temporary() -> list[Path]:
    """The folders of `temporary_folder` of this user whose processes have ended."""
    paths = Path(tempfile.gettempdir()).glob(f"{OUTSIDE}{_IS_TOKEN}")
    return sorted(path for path in paths if _is_own(path) and _is_left(path))


def left_beside(home: Home) -> list[Path]:
    """The folders of `folder_beside` whose processes have ended, each followed by its link; and links without one."""
    paths = []
    for link in sorted(home.root.glob(f"{_BESIDE}{_IS_TOKEN}")):
        if link.is_symlink():
            folder = link.readlink() / f"{OUTSIDE}{link.name.removeprefix(_BESIDE)}"
            is_there = folder.is_dir() and _is_own(folder)
            if is_there and _is_left(folder):
                paths += [folder, link]
            elif not is_there:
                paths.append(link)
    return paths


def left_drafts(folder: Path) -> list[Path]:
    """The drafts of `files.write_atomically` in `folder` whose processes have ended."""
    return [path for path in folder.glob(f".*{DRAFT}") if _is_left(path)]


def remove_left(path: Path) -> bool:
    """Remove what was listed as left; False if its owner lives: it may have been listed before it was locked.

    It stays locked until it is gone, so that nobody takes it for a new one of its own meanwhile.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # gone, closed to us, or a link, none of which anybody locks
        files.remove(path)
        return True
    try:
        with contextlib.suppress(OSError):  # its file system keeps no locks
            if not files.take_lock(descriptor, path):
                return False
        files.remove(path)
    finally:
        os.close(descriptor)
    return True


def _is_own(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.lstat().st_uid == os.geteuid()
    return False


def _is_left(path: Path) -> bool:
    """Whether its owner, which held a lock on it, has ended. Where no locks are kept nobody knows, so it is not."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:  # a worker closed it, and nobody holds what cannot be opened
        return _is_own(path)
    except OSError:  # its owner has just removed it, or it is a link
        return False
    try:
        return files.take_lock(descriptor, path)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _locked_folder(parent: Path, prefix: str, token: str) -> tuple[Path, int]:
    while True:
        folder = parent / f"{prefix}{token or secrets.token_hex(_TOKEN_BYTES)}"
        folder.mkdir(mode=0o700)
        # Until it is locked, another process may take the folder for an abandoned one and remove it.
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        with contextlib.suppress(OSError):  # the file system keeps no locks, so nobody takes it for abandoned
            files.take_lock(lock, folder, waits=True)
        if folder.exists():
            return folder, lock
        os.close(lock)
