"""Files in folders that a worker may write, or that somebody else has made.

No link is followed, only regular files are read, and none beyond a limit: a worker may leave a link to a file of the
host, a FIFO that blocks for ever, or a link to an endless device. (The folders themselves lie in a folder of ours.)
"""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path

SMALL_BYTES = 64 * 2**20
"""Limit of a JSON file of a record."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system answers that keeps no locks, as NFS and Lustre often do."""


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
    """Replace `path` by `content` in one rename, so that a reader sees the old file or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    with create(draft) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    if path.is_dir() and not path.is_symlink():
        remove(path)
    draft.replace(path)


def copy(source: Path, target: Path, limit_bytes: int) -> None:
    """Copy a regular file to a new file. Raises UnsafeFileError as `read_bytes` does."""
    with opened(source) as file:
        if os.fstat(file.fileno()).st_size > limit_bytes:
            raise UnsafeFileError(errno.EFBIG, f"it is larger than {limit_bytes / 2**20:.0f} MiB", str(source))
        with create(target) as new:
            shutil.copyfileobj(file, new)


def remove(path: Path) -> None:
    """Remove a file, link or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
