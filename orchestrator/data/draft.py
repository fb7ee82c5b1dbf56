"""Folders that are made atomically: filled under a hidden name, moved by one rename, removed if abandoned."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from orchestrator.scratch import left_in, remove_left, scratch_folder


@contextlib.contextmanager
def draft_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` to fill and then move; what is left of it is removed at the end.

    Those of processes that have ended are removed first. Any number of processes may do this in one `parent` at once.
    """
    sweep(parent)
    with scratch_folder(parent) as draft:
        yield draft


def sweep(parent: Path) -> None:
    """Remove the drafts whose processes have ended."""
    for left in left_in(parent):
        remove_left(left)


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
