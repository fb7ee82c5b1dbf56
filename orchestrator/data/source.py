"""Where the pictures of a data set are on this machine, which ones they are by checksum, and what reads them."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import Field, field_validator, model_serializer
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from orchestrator import files
from orchestrator.data.pictures import PictureSets
from orchestrator.environment import Frozen, digest
from orchestrator.errors import DataError
from orchestrator.home import Home
from orchestrator.networks.model import without_default

Recognised = Literal["official", "sample", "unknown", "own"]

Progress = Callable[[int, int], None]
"""Receives pictures done and pictures in all."""


MOST_GROUP = 200
"""Characters of a pattern of groups."""


class Published(NamedTuple):
    """MD5 and size of an official archive, as published; the size is None where only the MD5 is."""

    md5: str
    size_bytes: int | None = None


class Publication(NamedTuple):
    """Where the archives of a set are published: a folder on a server, and the checksum of each."""

    url: str
    archives: Mapping[str, Published]


class Fault(Frozen):
    """A picture that is left out, and why."""

    name: str
    reason: str


class Reading(Frozen):
    """How a user's own pictures are to be read.

    table:       the CSV file that lists them, beside them; '' where folders say the classes.
    group:       a regular expression; pictures of a class in whose names it finds the same text are of one object.
    test_share:  of the pictures, drawn to test where the folder has no test pictures of its own.
    skips_broken: pictures that do not read are left out.
    """

    table: str = ""
    group: Annotated[str, Field(max_length=MOST_GROUP)] = ""
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    skips_broken: bool = False

    @field_validator("group")
    @classmethod
    def _is_pattern(cls, group: str) -> str:
        try:
            re.compile(group)
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from None
        return group


class OwnSet(Frozen):
    """What was found in a user's own pictures: their classes, those left out, and what a user should know."""

    reading: Reading
    classes: tuple[str, ...]
    train: int
    valid: int
    test: int
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


class Source(Frozen):
    """Pictures registered on this machine.

    kind:        archives, or a folder into which they were unpacked; 'own' for a user's own, with `own`.
    recognised:  by checksum of the archives. A folder is 'unknown': no checksum of its files has been published.
    sha256s:     of each archive; of all files together for a folder.
    fingerprint: over names, sizes and times of change; while it is unchanged the files are not read again.
    """

    path: str
    kind: Literal["archives", "folder", "own"]
    recognised: Recognised
    sha256s: dict[str, str]
    fingerprint: str
    own: OwnSet | None = None

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_default(handler(self), "own", None)

    @property
    def sha256(self) -> str:
        """Over all archives or files."""
        return digest(self.sha256s)


class Reader(Protocol):
    """Reads the pictures of one data set."""

    def inspect(self, path: Path, progress: Progress) -> Source:
        """What is at `path`, all rows and names checked. Raises DataError if it is not this data set, or damaged."""
        ...

    def fingerprint(self, path: Path) -> str:
        """Of what is at `path` now. Raises DataError if nothing is."""
        ...

    def opened(self, source: Source) -> AbstractContextManager[PictureSets]:
        """The pictures. Raises DataError if they are gone or damaged."""
        ...


def register(name: str, path: Path, reader: Reader, home: Home, progress: Progress) -> Source:
    """Remember that the pictures of the data set `name` are at `path`.

    Raises DataError if they are not, as `reader` does. Pixels of published sets are checked by `prepare`.
    """
    source = reader.inspect(path.resolve(), progress)
    home.data.mkdir(parents=True, exist_ok=True)
    files.write_atomically(_register_file(name, home), source.model_dump_json(indent=1) + "\n")
    return source


def recorded(name: str, home: Home) -> Source | None:
    """The source registered last under that name, as it was then; None if there is none.

    Raises DataError if its file is damaged.
    """
    for path in (_register_file(name, home), home.data / "sources.json"):
        try:
            content = files.read_bytes(path, 1 << 30)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}).") from error
        try:
            if path.name != "sources.json":
                return Source.model_validate_json(content)
            if name == "gtsrb":  # until 0.7 it was the only one, in a file of that name
                return _Sources.model_validate_json(content).gtsrb
        except ValueError as error:
            raise DataError(f"{path} does not read; run `invoke data --from PATH` again.") from error
    return None


def names(home: Home) -> list[str]:
    """Of the sources that are registered, sorted."""
    return sorted(path.name.removeprefix(_PREFIX).removesuffix(".json") for path in home.data.glob(f"{_PREFIX}*.json"))


def current(name: str, source: Source, reader: Reader, home: Home) -> Source:
    """The source; read again if its files changed, unchanged if they are gone (the prepared pictures may stay)."""
    try:
        is_as_noted = reader.fingerprint(Path(source.path)) == source.fingerprint
    except (DataError, OSError):
        return source
    return source if is_as_noted else register(name, Path(source.path), reader, home, lambda done, total: None)


class _Sources(Frozen):
    gtsrb: Source


_PREFIX = "source-"


def _register_file(name: str, home: Home) -> Path:
    return home.data / f"{_PREFIX}{name}.json"


def fingerprint_of(path: Path, names: Iterable[str]) -> str:
    """Over name, size and time of change of files below `path`. Raises DataError for what is no regular file."""
    total = hashlib.sha256()
    for name in names:
        try:
            seen = os.stat(f"{path}/{name}")  # noqa: PTH116 - a path object for each of a million takes as long again
        except OSError as error:
            raise DataError(f"{path / name} cannot be read ({error.strerror}): a link that leads nowhere?") from None
        if not stat.S_ISREG(seen.st_mode):
            raise DataError(f"{path / name} is no regular file.")
        total.update(os.fsencode(f"{name}\0{seen.st_size}\0{seen.st_mtime_ns}\0"))
    return total.hexdigest()


def is_published(path: Path, published: Published) -> bool:
    """Whether the file at `path` has the published size and MD5 (no stronger checksum is published)."""
    is_of_size = published.size_bytes is None or path.stat().st_size == published.size_bytes
    return is_of_size and checksum(path, "md5") == published.md5


def checksum(path: Path, algorithm: Literal["md5", "sha256"]) -> str:
    """Hex, of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
