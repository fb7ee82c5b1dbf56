"""Folders that are made atomically: filled under a hidden name, moved by one rename, removed if abandoned."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.files import take_lock

_PREFIX = ".draft-"


@contextlib.contextmanager
def draft_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` to fill and then move; what is left of it is removed at the end.

    The owner holds a lock on the folder while its process runs. So folders of processes that have ended are recognised,
    and removed first. Any number of processes may do this in one `parent` at once.
    """
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    draft, lock = _locked_folder(parent)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(lock)


def sweep(parent: Path) -> None:
    """Remove the drafts whose processes have ended: the kernel releases their locks."""
    for left in parent.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(left, os.O_RDONLY)
        except OSError:  # its owner has just removed it
            continue
        try:
            if take_lock(lock, left):  # else its owner is running
                shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    while True:
        draft = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Until it is locked, another process may take the folder for an abandoned one and remove it.
        try:
            lock = os.open(draft, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            take_lock(lock, draft, waits=True)
        except OSError:
            draft.rmdir()
            os.close(lock)
            raise
        if draft.exists():
            return draft, lock
        os.close(lock)


def publish(draft: Path, final: Path) -> bool:
    """Move the folder `draft` to `final`; False if another process put its own there first, which is then kept."""
    open_to_all(draft)
    try:
        draft.rename(final)
    except OSError:
        if final.is_dir():
            return False
        raise
    return True


def open_to_all(folder: Path) -> None:
    """Let every user read the folder and its files, whatever the umask: a worker may run as another user.

    What belongs to somebody else stays as it is.
    """
    for path, mode in ((folder, 0o755), *((path, 0o644) for path in folder.iterdir() if path.is_file())):
        if path.stat().st_mode & mode != mode:
            with contextlib.suppress(PermissionError):
                path.chmod(mode)
