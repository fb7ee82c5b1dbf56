"""Copies on a disk of this machine of what lies in a shared home: prepared pictures, and virtualenvs.

`$WAYMARK_STAGING` names the folder; without it nothing is copied. Each copy has the name of its original, which is a
hash of what is in it; it is compared with the original before it is put in place in one rename. What nobody used for
KEPT_DAYS is removed; a disk that is too small is no fault: then the original is read.

What was used within a day stays, whatever room that takes: another process may read it.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from orchestrator import files
from orchestrator.home import expanded
from orchestrator.scratch import scratch_folder

KEPT_DAYS = 14
_DAY_SECONDS = 24 * 3600.0
_ROOM_BYTES = 2**30
"""Left free, for the temporary files of trials."""

_CHUNK_BYTES = 2**20


def staged(original: Path, say: Callable[[str], None]) -> Path:
    """The copy of a folder on this machine's disk; the folder itself where there is none, or no room for it."""
    named = os.environ.get("WAYMARK_STAGING")
    if not named:
        return original
    place = expanded(named).absolute() / original.parent.name
    copy = place / original.name
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not copy.is_dir():
            _remove_old(place.parent)
            _copy(original, copy)
            say(f"copied {original.name} to {place}, a disk of this machine")
        os.utime(copy)
    except OSError as error:
        reason = error.strerror or str(error)
        say(f"note: {original} is read where it is: {copy} cannot be made ({reason})")
        return original
    return copy


def _copy(original: Path, copy: Path) -> None:
    """Raises OSError if there is no room, or if the copy is not what the original is."""
    size = sum(path.lstat().st_size for path in original.rglob("*"))
    while shutil.disk_usage(copy.parent).free < size + _ROOM_BYTES:
        unused = [known for known in _copies(copy.parent.parent) if time.time() - _last_used(known) > _DAY_SECONDS]
        oldest = min(unused, key=_last_used, default=None)
        if oldest is None:
            raise OSError(f"it takes {size / 2**30:.1f} GiB, and the disk has no room for it")
        files.remove(oldest)
    with scratch_folder(copy.parent) as folder:
        made = folder / original.name
        shutil.copytree(original, made, symlinks=True)
        if _hashed(made) != _hashed(original):
            raise OSError("what was copied differs from the original")
        with suppress(FileExistsError):
            files.move_new(made, copy)


def _remove_old(staging: Path) -> None:
    now = time.time()
    for copy in _copies(staging):
        if now - _last_used(copy) > KEPT_DAYS * _DAY_SECONDS:
            files.remove(copy)


def _copies(staging: Path) -> list[Path]:
    return [path for path in staging.glob("*/*") if path.is_dir() and not path.name.startswith(".")]


def _last_used(copy: Path) -> float:
    return copy.stat().st_mtime


def _hashed(folder: Path) -> str:
    """Over the names, links and bytes of a tree."""
    whole = hashlib.sha256()
    for path in _walked(folder):
        whole.update(f"{path.relative_to(folder)}\0".encode("utf-8", "surrogateescape"))
        if path.is_symlink():
            whole.update(os.fsencode(path.readlink()))
        elif path.is_file():
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    whole.update(chunk)
    return whole.hexdigest()


def _walked(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.rglob("*"))
