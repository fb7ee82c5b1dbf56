"""The data sets: one file each, found by listing; a file defines DATASET."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.data.pictures import Origin
from orchestrator.errors import DataError, did_you_mean
from orchestrator.home import Home
from orchestrator.trial import Dataset


@dataclass(frozen=True)
class DatasetKind:
    """One data set.

    title:   its usual name, 'GTSRB'.
    origin:  its classes, and where its pictures are.
    counts:  how many pictures it has to train and validate, and how many to test; None if that is not known before.
    """

    title: str
    origin: Callable[[Dataset, Home], Origin]
    counts: Callable[[Dataset], tuple[int, int]] | None = None


def names() -> list[str]:
    """Sorted names, as a spec writes them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def named(name: str) -> DatasetKind:
    """The data set of that name. Raises DataError, naming the known ones, for another."""
    if name not in names():
        raise DataError(f"there is no data set '{name}'. Known: {', '.join(names())}.{did_you_mean(name, names())}")
    kind: DatasetKind = importlib.import_module(f"{__name__}.{name}").DATASET
    return kind


def classes(dataset: Dataset, home: Home) -> int:
    """How many classes it has."""
    return len(named(dataset.name).origin(dataset, home).classes)


def title(name: str) -> str:
    """Its usual name; the given name for a data set that does not exist any more, as an old run may have."""
    return named(name).title if name in names() else name
