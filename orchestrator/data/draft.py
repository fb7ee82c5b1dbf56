"""Folders that are made atomically: filled under a hidden name, moved by one rename, removed if abandoned."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

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
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:  # its owner is running
            pass
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
        fcntl.flock(lock, fcntl.LOCK_EX)
        if draft.exists():
            return draft, lock
        os.close(lock)


def publish(draft: Path, final: Path) -> bool:
    """Move the folder `draft` to `final`; False if another process put its own there first, which is then kept."""
    draft.chmod(0o755)  # temporary folders are private; a worker may run as another user
    try:
        draft.rename(final)
    except OSError:
        if final.is_dir():
            return False
        raise
    return True
