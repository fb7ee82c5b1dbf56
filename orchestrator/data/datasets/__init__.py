"""The data sets: one file each, found by listing; a file defines DATASET. And those that a user has registered."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.data import source
from orchestrator.data.own import OwnReader
from orchestrator.data.pictures import Located, Origin
from orchestrator.data.source import Progress, Publication, Reader, Reading, Source
from orchestrator.dataset import Dataset
from orchestrator.errors import DataError, did_you_mean
from orchestrator.home import Home


@dataclass(frozen=True)
class DatasetKind:
    """One data set.

    title:   its usual name, 'GTSRB'.
    origin:  its classes, and where its pictures are.
    counts:  how many pictures it has to train and validate, and how many to test; None if that is not known before.
    reader:  of its files on this machine; None for pictures that are drawn.
    published: where its archives can be fetched; None for a set that nobody publishes.
    """

    title: str
    origin: Callable[[Dataset, Home], Origin]
    counts: Callable[[Dataset], tuple[int, int]] | None = None
    reader: Reader | None = None
    published: Publication | None = None


def names() -> list[str]:
    """Of the data sets that waymark knows, sorted, as a spec writes them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def named(name: str, home: Home) -> DatasetKind:
    """The data set of that name, waymark's or the user's. Raises DataError, naming the known ones, for another."""
    if name in names():
        return _shipped(name)
    found = source.recorded(name, home)
    if found is None:
        known = [*names(), *(own for own in source.names(home) if own not in names())]
        raise DataError(
            f"there is no data set '{name}'. Known: {', '.join(known)}.{did_you_mean(name, known)} "
            f"`invoke data --from=FOLDER --name={name}` registers pictures of your own."
        )
    return _own(name, found, home)


def _shipped(name: str) -> DatasetKind:
    kind: DatasetKind = importlib.import_module(f"{__name__}.{name}").DATASET
    return kind


def _own(name: str, found: Source, home: Home) -> DatasetKind:
    if found.own is None:
        raise DataError(f"the data set '{name}' was registered as another; run `invoke data --from PATH` again.")
    reader, own = OwnReader(found.own.reading, home.data), found.own
    return DatasetKind(
        title=name,
        origin=origin_of(name, own.classes, reader),
        counts=lambda _: (own.train + own.valid, own.test),
        reader=reader,
    )


def origin_of(name: str, classes: tuple[str, ...], reader: Reader) -> Callable[[Dataset, Home], Origin]:
    """What a set that lies in files gives for `DatasetKind.origin`."""

    def origin(dataset: Dataset, home: Home) -> Origin:
        return Origin(classes, lambda: _located(name, reader, home))

    return origin


def _located(name: str, reader: Reader, home: Home) -> Located:
    """The source registered under that name, as `prepare` takes it. Raises DataError if there is none."""
    found = source.recorded(name, home)
    if found is None:
        flag = "" if name == "gtsrb" else f"--name={name} "
        raise DataError(
            f"No pictures of '{name}' are known on this machine. Run `invoke data {flag}--from PATH` with the folder "
            f"of its archives, or `invoke data {flag}--download`."
        )
    here = source.current(name, found, reader, home)
    return Located(here.recognised, here.sha256, here.sha256s, lambda: reader.opened(here))


def register(
    name: str, path: Path, home: Home, reading: Reading | None = None, progress: Progress | None = None
) -> Source:
    """Remember that the pictures of the data set `name`, waymark's or of the user's own, are at `path`.

    reading: of a user's own. Raises DataError if they are not there or do not read.
    """
    if name in names():
        reader = _shipped(name).reader
        if reader is None:
            raise DataError(f"the pictures of '{name}' are drawn by waymark; give yours another name.")
    else:
        reader = OwnReader(reading or Reading(), home.data)
    return source.register(name, path, reader, home, progress or (lambda done, total: None))


def recognised(path: Path) -> str | None:
    """The set whose archives lie at `path`: by their names, and by checksums where several sets have such names."""
    folder = path.parent if path.is_file() else path
    archives = {name: kind.published.archives for name in names() if (kind := _shipped(name)).published}
    there = [name for name, known in archives.items() if all((folder / archive).is_file() for archive in known)]
    if len(there) > 1:
        there = [
            name
            for name in there
            if all(source.is_published(folder / archive, known) for archive, known in archives[name].items())
        ]
    return there[0] if there else None


def classes(dataset: Dataset, home: Home) -> tuple[str, ...]:
    """The names of its classes."""
    return named(dataset.name, home).origin(dataset, home).classes


def title(name: str) -> str:
    """Its usual name; the given name for one of a user's own, or that does not exist any more."""
    return _shipped(name).title if name in names() else name
