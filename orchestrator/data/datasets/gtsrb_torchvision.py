"""GTSRB as torchvision has it: the training pictures of the first phase, 26,640, and the official test pictures."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator.data.archive import ZipFiles
from orchestrator.data.datasets import DatasetKind, origin_of
from orchestrator.data.gtsrb import pictures_in_classes, pictures_to_test
from orchestrator.data.gtsrb_archives import OFFICIAL, TEST_ZIP, TRUTH_ZIP
from orchestrator.data.labels import SIGNS
from orchestrator.data.pictures import PictureSets
from orchestrator.data.published import ArchivesReader
from orchestrator.data.source import Publication, Published

NAME, TITLE, TRAINING = "gtsrb_torchvision", "GTSRB (torchvision)", "GTSRB-Training_fixed.zip"

ARCHIVES = {
    TRAINING: Published("513f3c79a4c5141765e10e952eaa2478"),
    TEST_ZIP: OFFICIAL[TEST_ZIP],
    TRUTH_ZIP: OFFICIAL[TRUTH_ZIP],
}

_LAYOUT = re.compile(r"((?:.*/)?GTSRB/Training)/([^/]+)/([^/]+)")


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[PictureSets]:
    with contextlib.ExitStack() as stack:
        training, test, truth = (ZipFiles(folder / name) for name in ARCHIVES)
        for files in (training, test, truth):
            stack.callback(files.close)
        yield PictureSets(pictures_in_classes(training, _LAYOUT, len(SIGNS)), pictures_to_test(test, truth))


READER = ArchivesReader(TITLE, ARCHIVES, _opened)

DATASET = DatasetKind(
    title=TITLE,
    counts=lambda _: (26_640, 12_630),
    origin=origin_of(NAME, SIGNS, READER),
    reader=READER,
    published=Publication("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/", ARCHIVES),
)
