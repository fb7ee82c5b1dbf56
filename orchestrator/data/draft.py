"""Folders that appear whole or not at all: filled under a hidden name, moved by one rename, swept if abandoned."""

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
    """A new folder in `parent` to fill and then move out of; whatever is left in it goes at the end.

    The owner holds a lock on the folder for as long as it lives, so leftovers of dead owners, and only those, can be
    told apart and are removed first. Any number of processes may do this in one `parent` at once.
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
    """Remove the drafts whose owners are gone: the kernel drops a lock when its process ends, however it ends."""
    for left in parent.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(left, os.O_RDONLY)
        except OSError:  # its owner removed it in this moment
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:  # its owner lives
            pass
        finally:
            os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    while True:
        draft = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Until it is locked, another's sweep takes the folder for a leftover, before or after it is opened.
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
