"""Locks: one run at a time on this machine, and one run on each card."""

import os
import signal
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from orchestrator.environment import Card
from orchestrator.errors import EngineError, LockedError
from orchestrator.files import NO_LOCKS, take_lock
from orchestrator.home import Home, expanded
from orchestrator.host import boot_key


@contextmanager
def exclusive_run(home: Home) -> Iterator[Callable[[], None]]:
    """Hold this machine's lock, since two runs at once would disturb each other, and its lock in this home.

    The second keeps apart containers of one machine, whose folders of temporary files differ. Other machines that share
    the home have others.

    A lock ends with its process, however that ends. Raises LockedError if one of them is held.
    Gives what is to be called before each job: a file can be removed while it is locked, and then another run can make
    and lock its own. It takes such a lock again, or raises LockedError.
    """
    folder = home.locks / boot_key()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        raise EngineError(f"{home.root}, waymark's folder, cannot be made ({reason}). Set WAYMARK_HOME.") from None
    paths = (_lock_folder() / "waymark.lock", folder / "sweep.lock")
    with ExitStack() as stack:
        held = {path: _taken(path, stack) for path in paths}
        if not _is_folder_ours(folder, stack):
            raise _other_run()

        def hold_on() -> None:
            for path, file in held.items():
                if not _is_at(path, file):
                    held[path] = _taken(path, stack)

        yield hold_on


def _is_folder_ours(folder: Path, stack: ExitStack) -> bool:
    """Whether no other run holds the folder of the lock, which outlives a lock that was removed."""
    try:
        return take_lock(stack.enter_context(_opened_folder(folder)), folder)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return True  # NFS locks files alone


def _taken(path: Path, stack: ExitStack) -> int:
    """The file at `path`, locked until `stack` ends."""
    file = stack.enter_context(_opened(path, f"{path}, which keeps runs apart, cannot be used"))
    if not take_lock(file, path):
        raise _other_run()
    return file


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except OSError:
        return False


def _other_run() -> LockedError:
    return LockedError(
        "another run is going on on this machine, and two at once would disturb each other's times. "
        "Wait for it to end, or stop it with Ctrl-C."
    )


@contextmanager
def lease(cards: Iterable[Card]) -> Iterator[None]:
    """Hold these cards, so that no other run of this machine, of any home or user, uses them at the same time.

    Raises EngineError if one is held.
    """
    with ExitStack() as held:
        for card in cards:
            path = _lock_folder() / f"waymark-{card.uuid}.lock"
            if not take_lock(held.enter_context(_opened(path, f"{card.label} cannot be leased")), path):
                raise EngineError(
                    f"{card.label} is leased to another run of this machine. Wait for it to end, or name another "
                    "card with --gpus."
                )
        yield


def _lock_folder() -> Path:
    """`$WAYMARK_LOCKS`, else the one folder that all users of a machine share."""
    return expanded(os.environ.get("WAYMARK_LOCKS") or "/tmp")  # noqa: S108 - see _opened


@contextmanager
def _opened(path: Path, what: str) -> Iterator[int]:
    """A lock file. Any user may have made it, so nothing is written, and no link is followed.

    Whoever makes it lets all others open it, whatever the umask: only its owner could do that later. The rights of a
    file that was there are left alone: it may be another's, linked to this name.
    """
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        try:
            file = os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            os.fchmod(file, 0o644)
        except FileExistsError:
            try:
                file = os.open(path, flags | os.O_RDWR)  # NFS locks only what may be written
            except (PermissionError, IsADirectoryError):
                file = os.open(path, flags | os.O_RDONLY)
    except FileNotFoundError:
        raise EngineError(f"{what}: there is no folder {path.parent}. Make it, or set WAYMARK_LOCKS.") from None
    except OSError as error:
        raise EngineError(
            f"{what}: {path} does not open ({error.strerror}). Remove it, if no run is going on."
        ) from None
    try:
        seen = os.fstat(file)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size or seen.st_nlink > 1:
            raise EngineError(f"{what}: {path} is no empty file with one name. Remove it, if no run is going on.")
        yield file
    finally:
        os.close(file)


@contextmanager
def _opened_folder(path: Path) -> Iterator[int]:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """Let `kill`, a CI's timeout and a closed terminal end a run as Ctrl-C does: the worker is stopped, the rest kept.

    Under `nohup` a closed terminal changes nothing.
    """

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    asked = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in asked}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
