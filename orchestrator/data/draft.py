"""Folders that are made atomically: filled under a hidden name, moved by one rename, removed if abandoned."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator import files
from orchestrator.scratch import left_in, remove_left, scratch_folder

PART = ".part-"
"""Begins the name of a folder that is filled in several calls."""

KEPT_SECONDS = 7 * 86400.0


@contextlib.contextmanager
def draft_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` to fill and then move; what is left of it is removed at the end.

    Those of processes that have ended are removed first. Any number of processes may do this in one `parent` at once.
    """
    sweep(parent)
    with scratch_folder(parent) as draft:
        yield draft


@contextlib.contextmanager
def part_folder(parent: Path, token: str) -> Iterator[Path]:
    """A folder to fill in several calls: it stays if the user stops one, and the next one with `token` finds it.

    After any other error it is removed; so are those of others that nobody has gone on with for KEPT_SECONDS. While
    another process has it, or where the file system keeps no locks, it is a new one as of `draft_folder`.
    """
    sweep(parent)
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{PART}{token}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        try:
            is_ours = files.take_lock(lock, folder)
        except OSError:
            is_ours = False
        if not is_ours or not folder.exists():
            with scratch_folder(parent) as draft:
                yield draft
            return
        try:
            yield folder
        except KeyboardInterrupt:
            raise
        except BaseException:
            files.remove(folder)
            raise
        files.remove(folder)
    finally:
        os.close(lock)


def sweep(parent: Path) -> None:
    """Remove the drafts whose processes have ended, and parts that are too old."""
    for left in left_in(parent):
        remove_left(left)
    for part in parent.glob(f"{PART}*"):
        with contextlib.suppress(OSError):
            if time.time() - max(path.stat().st_mtime for path in (part, *part.iterdir())) > KEPT_SECONDS:
                remove_left(part)


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
