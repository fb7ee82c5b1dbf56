"""Locks: one run at a time on this machine, and one run on each card."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from orchestrator.environment import Card
from orchestrator.errors import EngineError
from orchestrator.home import Home

LEASES = Path("/tmp")  # noqa: S108 - the one folder that all users of a machine share; see _lock_of


@contextmanager
def exclusive_run(home: Home) -> Iterator[None]:
    """Hold this machine's lock, since two runs at once would disturb each other. Raises EngineError if it is held."""
    home.root.mkdir(parents=True, exist_ok=True)
    with (home.root / "sweep.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(
                "another run is going on on this machine, and two at once would disturb each other's times. "
                "Wait for it to end, or stop it with Ctrl-C."
            ) from None
        yield


@contextmanager
def lease(cards: Iterable[Card]) -> Iterator[None]:
    """Hold these cards, so that no other run of this machine, of any home or user, uses them at the same time.

    Raises EngineError if one is held.
    """
    with ExitStack() as held:
        for card in cards:
            file = held.enter_context(_lock_of(card))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EngineError(
                    f"{card.label} is leased to another run of this machine. Wait for it to end, or name another "
                    "card with --gpus."
                ) from None
        yield


@contextmanager
def _lock_of(card: Card) -> Iterator[int]:
    """The lock file of the card. Any user may have made it, so nothing is written, and no link is followed."""
    path, flags = LEASES / f"waymark-{card.uuid}.lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(path, flags) if path.exists() else os.open(path, flags | os.O_CREAT, 0o644)
    except OSError as error:
        raise EngineError(f"{card.label} cannot be leased: {path} does not open ({error.strerror}).") from None
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let `kill` and a CI's timeout end a run as Ctrl-C does: the container is stopped, what is done is kept."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
