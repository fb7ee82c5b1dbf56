"""Downloads the archives of a set from their publisher's server, and checks each."""

from collections.abc import Callable
from pathlib import Path

import pooch

from orchestrator.data.draft import draft_folder
from orchestrator.data.source import Publication, Published, is_published
from orchestrator.errors import DataError
from orchestrator.home import Home

Say = Callable[[str], None]
"""Receives one line of progress."""

_CHUNK_BYTES = 1 << 18
_TIMEOUT_SECONDS = 60
_SAID_BYTES = 20 << 20
MOST_BYTES = 4 << 30
"""Of an archive whose size is not published."""


def download(name: str, published: Publication, home: Home, say: Say) -> Path:
    """Fetch the archives that are missing; gives their folder, to `register` next.

    An archive gets its name once its size and MD5 are right, so only complete archives are kept. Raises DataError if
    the server does not answer or sends anything else.
    """
    folder = home.data / "archives" if name == "gtsrb" else home.data / "archives" / name
    folder.mkdir(parents=True, exist_ok=True)
    for archive, known in published.archives.items():
        if (folder / archive).exists() and is_published(folder / archive, known):
            say(f"{archive} is there.")
            continue
        with draft_folder(folder) as draft:
            _fetch(f"{published.url}{archive}", known, draft / archive, say)
            (draft / archive).replace(folder / archive)
    return folder


def _fetch(url: str, published: Published, path: Path, say: Say) -> None:
    pooch.get_logger().setLevel("WARNING")  # progress is printed by us
    progress = _Progress(path.name, published.size_bytes, say)
    downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_SECONDS)
    try:
        pooch.retrieve(url, f"md5:{published.md5}", fname=path.name, path=path.parent, downloader=downloader)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{url} could not be fetched: {error}. Try again later, or fetch the archives by other means and run "
            "`invoke data --from PATH`."
        ) from error
    if published.size_bytes is not None and path.stat().st_size != published.size_bytes:
        raise DataError(
            f"{url} has {path.stat().st_size} bytes, {published.size_bytes} are published. Try again later."
        )


class _Progress:
    """Prints pooch's progress at every tenth; raises if the server sends too many bytes."""

    total = 0  # set by pooch

    def __init__(self, name: str, size_bytes: int | None, say: Say) -> None:
        self._name = name
        self._size_bytes = size_bytes
        self._say = say
        self._done = 0
        self._steps_said = 0

    def update(self, size_bytes: int) -> None:
        self._done += size_bytes
        if self._size_bytes is None:
            self._say_bytes()
            return
        if self._done > self._size_bytes + _CHUNK_BYTES:  # pooch counts the last chunk as a whole one
            raise DataError(f"The server sends more than the {self._size_bytes} bytes that {self._name} has.")
        done = min(self._done, self._size_bytes)
        if 10 * done // self._size_bytes > self._steps_said:
            self._steps_said = 10 * done // self._size_bytes
            self._say(f"{self._name}: {done / 1e6:.1f} of {self._size_bytes / 1e6:.1f} MB")

    def _say_bytes(self) -> None:
        """Of an archive whose size is not known."""
        if self._done > MOST_BYTES:
            raise DataError(f"The server sends more than {MOST_BYTES} bytes for {self._name}.")
        if self._done // _SAID_BYTES > self._steps_said:
            self._steps_said = self._done // _SAID_BYTES
            self._say(f"{self._name}: {self._done / 1e6:.1f} MB")

    def reset(self) -> None:
        """Part of pooch's protocol, which reports the whole size once more at the end."""
        self._done = 0

    def close(self) -> None:
        """Part of pooch's protocol."""
