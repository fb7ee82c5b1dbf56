"""The Belgian traffic signs, for classification (Timofte, Zimmermann and Van Gool 2009)."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator.data.archive import ZipFiles
from orchestrator.data.datasets import DatasetKind, origin_of
from orchestrator.data.gtsrb import GtsrbPictures, pictures_in_classes
from orchestrator.data.pictures import PictureSets
from orchestrator.data.published import ArchivesReader
from orchestrator.data.source import Publication, Published

NAME, TITLE = "btsc", "BTSC"
TRAINING, TESTING = "BelgiumTSC_Training.zip", "BelgiumTSC_Testing.zip"
CLASSES = tuple(f"{number:05d}" for number in range(62))
"""Its folders; their meaning is not published as text."""

ARCHIVES = {
    TRAINING: Published("c727ca9d00e3964ca676286a1808ccee"),
    TESTING: Published("d208de4566388791c0028da8d6a545cc"),
}


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[PictureSets]:
    with contextlib.ExitStack() as stack:

        def pictures(archive: str, name: str) -> GtsrbPictures:
            files = ZipFiles(folder / archive)
            stack.callback(files.close)
            return pictures_in_classes(files, re.compile(rf"((?:.*/)?{name})/([^/]+)/([^/]+)"), len(CLASSES))

        yield PictureSets(pictures(TRAINING, "Training"), pictures(TESTING, "Testing"))


READER = ArchivesReader(TITLE, ARCHIVES, _opened)

DATASET = DatasetKind(
    title=TITLE,
    counts=lambda _: (4_575, 2_520),
    origin=origin_of(NAME, CLASSES, READER),
    reader=READER,
    published=Publication("https://btsd.ethz.ch/shareddata/BelgiumTSC/", ARCHIVES),
)
