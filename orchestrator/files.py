"""Files in folders that a worker may write, or that somebody else has made.

No link is followed, only regular files are read, and none beyond a limit: a worker may leave a link to a file of the
host, a FIFO that blocks for ever, or a link to an endless device. (The folders themselves lie in a folder of ours.)
"""

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from pathlib import Path

SMALL_BYTES = 64 * 2**20
"""Limit of a JSON file of a record."""

DRAFT = ".draft"
"""Ends the name of a draft of `replacing`."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)
"""What a file system answers that keeps no locks, as NFS and Lustre often do; the last, NFS for a file of others."""


class UnsafeFileError(OSError):
    """It is a link, no regular file, or too large. `strerror` says which; `filename` is its path."""


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """`path` for reading. Raises UnsafeFileError unless it is a regular file; other errors are those of `open`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFileError(errno.ELOOP, "it is a link", str(path)) from None
        if error.errno == errno.ENXIO:
            raise UnsafeFileError(errno.ENXIO, "it is no regular file", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeFileError(errno.EINVAL, "it is no regular file", str(path))
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_bytes(path: Path, limit_bytes: int = SMALL_BYTES) -> bytes:
    """The bytes of a regular file. Raises UnsafeFileError for any other, and for more than `limit_bytes`."""
    with opened(path) as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise UnsafeFileError(errno.EFBIG, f"it is larger than {limit_bytes / 2**20:.0f} MiB", str(path))
    return content


def create(path: Path) -> FileIO:
    """A new file for writing in place of whatever stands at `path`."""
    remove(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return FileIO(os.open(path, flags, 0o644), "wb")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one rename, so that a reader sees the old file or the new one.

    Several processes may do so at once: each has a draft of its own, and the last one stands.
    """
    with replacing(path) as draft:
        draft.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[FileIO]:
    """A draft to write, which replaces `path` at the end; it is removed if that fails.

    It is locked meanwhile: one that is not is of a process that was killed (orchestrator/scratch.py).
    """
    draft, open_draft = _locked_draft(path)
    with open_draft as file:
        try:
            yield file
            file.flush()
            if path.is_dir() and not path.is_symlink():
                remove(path)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _locked_draft(path: Path) -> tuple[Path, FileIO]:
    while True:
        draft = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}{DRAFT}")
        file = create(draft)
        # Until it is locked, another process may take it for an abandoned one and remove it.
        with suppress(OSError):  # its file system keeps no locks, so nobody takes it for abandoned
            take_lock(file.fileno(), draft, waits=True)
        if draft.exists():
            return draft, file
        file.close()


def copy(source: Path, target: Path, limit_bytes: int) -> None:
    """Copy a regular file, in place of what is at `target`. Raises UnsafeFileError as `read_bytes` does."""
    with opened(source) as file:
        if os.fstat(file.fileno()).st_size > limit_bytes:
            raise UnsafeFileError(errno.EFBIG, f"it is larger than {limit_bytes / 2**20:.0f} MiB", str(source))
        with replacing(target) as new:
            shutil.copyfileobj(file, new)


def move_new(source: Path, target: Path) -> None:
    """Rename a file or folder to a name that nobody has. Raises FileExistsError if somebody has it.

    An empty folder gives way to another.
    """
    if source.is_dir():
        try:
            source.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # its file system has no second names
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)


def remove(path: Path) -> None:
    """Remove a file, link or folder, if it is there; a folder of any depth, and whatever its rights."""
    if path.is_dir() and not path.is_symlink():
        _remove_folder(path)
    else:
        path.unlink(missing_ok=True)


def _remove_folder(top: Path) -> None:
    """A folder in a folder is moved up before it is emptied: thousands of them would exceed what a path may hold."""
    moved = 0
    top.chmod(stat.S_IRWXU)
    while inner := _emptied_of_files(top):
        for folder in inner:
            for path in _emptied_of_files(folder):
                moved += 1
                path.rename(top / f".moved-{moved}-{secrets.token_hex(4)}")
            folder.rmdir()
    top.rmdir()


def _emptied_of_files(folder: Path) -> list[Path]:
    """The folders in a folder, each open to us now; all else is removed."""
    inner = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, stat.S_IRWXU)  # noqa: PTH101 - strings of a walk
                inner.append(Path(entry.path))
            else:
                os.unlink(entry.path)  # noqa: PTH108
    return inner


def take_back(folder: Path) -> None:
    """Make a folder that a worker wrote ours again: plain files stay, readable and without the right to run as us.

    What else is there (folders, links, pipes, devices, files with a second name elsewhere) is removed.
    Raises OSError if the folder is gone, or closed to us.
    """
    _set_rights(folder, 0o755)
    with os.scandir(folder) as entries:
        for entry in entries:
            seen = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1:
                _set_rights(Path(entry.path), 0o644)
            else:
                remove(Path(entry.path))


def _set_rights(path: Path, mode: int) -> None:
    """Through a descriptor: what it is of cannot be exchanged between the two calls."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_ISLNK(os.fstat(descriptor).st_mode):
            raise UnsafeFileError(errno.ELOOP, "it is a link", str(path))
        os.chmod(f"/proc/self/fd/{descriptor}", mode)  # noqa: PTH101
    finally:
        os.close(descriptor)


def size_bytes(folder: Path, most_entries: int) -> int | None:
    """What a folder takes on disk, with those in it; None if it holds more entries, or deeper ones, than we count."""
    total, left, waiting = 0, most_entries, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    left -= 1
                    seen = entry.stat(follow_symlinks=False)
                    total += seen.st_blocks * 512
                    if stat.S_ISDIR(seen.st_mode):
                        waiting.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):  # its owner has just removed it
            continue
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None
            continue  # closed to us, and so to be counted by nobody
        if left < 0:
            return None
    return total


def take_lock(descriptor: int, path: Path, *, waits: bool = False) -> bool:
    """Lock an open file or folder until it is closed; False if another process holds it and `waits` is not set.

    Raises OSError with `path` and an errno of NO_LOCKS if its file system keeps no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return True
