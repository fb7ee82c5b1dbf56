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
    """What waymark knows of one data set.

    title:   what people call it, 'GTSRB'.
    classes: that its pictures show.
    origin:  where its pictures come from on this machine. Raises DataError if they are not here.
    """

    title: str
    classes: int
    origin: Callable[[Dataset, Home], Origin]


def names() -> list[str]:
    """Sorted names, as a spec writes them."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


def named(name: str) -> DatasetKind:
    """The data set of that name. Raises DataError, naming the known ones, for another."""
    if name not in names():
        raise DataError(f"there is no data set '{name}'. Known: {', '.join(names())}.{did_you_mean(name, names())}")
    found: DatasetKind = importlib.import_module(f"{__name__}.{name}").DATASET
    return found


def title(name: str) -> str:
    """What people call it; the name itself of one that is not here any more (an old run may be of it)."""
    return named(name).title if name in names() else name
