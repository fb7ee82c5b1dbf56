"""CIFAR-10, in its "python version" (Krizhevsky 2009)."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.data.archive import OWN, TarFiles
from orchestrator.data.datasets import DatasetKind, origin_of
from orchestrator.data.pictures import PictureSets
from orchestrator.data.published import ArchivesReader, cifar_sets
from orchestrator.data.source import Publication, Published

NAME, TITLE, ARCHIVE = "cifar10", "CIFAR-10", "cifar-10-python.tar.gz"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

ARCHIVES = {ARCHIVE: Published("c58f30108f718f92721af3b95e74349a", 170_498_071)}
"""Source: https://www.cs.toronto.edu/~kriz/cifar.html"""


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[PictureSets]:
    files = TarFiles(folder / ARCHIVE, Path(tempfile.gettempdir()), OWN)
    try:
        yield cifar_sets(files)
    finally:
        files.close()


READER = ArchivesReader(TITLE, ARCHIVES, _opened)

DATASET = DatasetKind(
    title=TITLE,
    counts=lambda _: (50_000, 10_000),
    origin=origin_of(NAME, CLASSES, READER),
    reader=READER,
    published=Publication("https://www.cs.toronto.edu/~kriz/", ARCHIVES),
)
