"""Where the archives of GTSRB are, which ones they are by checksum, and how to open them."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from orchestrator.data.archive import PUBLISHED, Files, FolderFiles, ZipFiles
from orchestrator.data.gtsrb import pictures_to_test, pictures_to_train
from orchestrator.data.pictures import PictureSets
from orchestrator.data.source import Progress, Published, Recognised, Source, checksum, fingerprint_of, is_published
from orchestrator.environment import digest
from orchestrator.errors import DataError

LIMITS = PUBLISHED

TRAINING_ZIP = "GTSRB_Final_Training_Images.zip"
TEST_ZIP = "GTSRB_Final_Test_Images.zip"
TRUTH_ZIP = "GTSRB_Final_Test_GT.zip"
ZIPS = (TRAINING_ZIP, TEST_ZIP, TRUTH_ZIP)


OFFICIAL = {
    TRAINING_ZIP: Published("f33fd80ac59bff73c82d25ab499e03a3", 276_294_756),
    TEST_ZIP: Published("c7e4e6327067d32654124b0fe9e82185", 88_978_620),
    TRUTH_ZIP: Published("fe31e9c9270bbcd7b84b7f21a9d9d9e5", 99_620),
}
"""Source: https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/published-archive.html"""

SAMPLE_SHA256 = {
    TRAINING_ZIP: "6b460f034f1db55b0802c97198ae80aba3693421b4b074e02bd214e1fd38ecee",
    TEST_ZIP: "deefed1bce747152d4c9ceb70775ed8e078c3100788cd5f6988a18439ff6ece5",
    TRUTH_ZIP: "61eb80487cdfca9097b3c4d0d5716830496e586f2a5f7ae7041690b2abdf5dff",
}
"""A sample of the official training pictures (4,506 + 822) under the official names, for trials and tests."""


class GtsrbReader:
    """Of a folder that holds the three archives or their unpacked contents."""

    def inspect(self, path: Path, progress: Progress) -> Source:
        source = _inspect(path)
        with self.opened(source):
            return source

    def fingerprint(self, path: Path) -> str:
        return fingerprint_of(path, _located(path)[1])

    def opened(self, source: Source) -> contextlib.AbstractContextManager[PictureSets]:
        return _opened(source)


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[PictureSets]:
    path = Path(source.path)
    kind, names = _located(path)
    with contextlib.ExitStack() as stack:

        def members(zip_name: str) -> Files:
            files = FolderFiles(path, names) if kind == "folder" else ZipFiles(path / zip_name, LIMITS)
            stack.callback(files.close)
            return files

        training = members(TRAINING_ZIP)
        train = pictures_to_train(training)
        if len(train.labels) == 0:
            raise DataError(
                f"{training.where('')} holds no training picture in the layout of GTSRB "
                "(Final_Training/Images/00000/*.ppm)."
            )
        yield PictureSets(train, pictures_to_test(members(TEST_ZIP), members(TRUTH_ZIP)))


def _inspect(path: Path) -> Source:
    kind, names = _located(path)
    fingerprint = fingerprint_of(path, names)
    sha256s = {name: checksum(path / name, "sha256") for name in names}
    if kind == "folder":
        sha256s = {"unpacked files": digest(sha256s)}
    return Source(
        path=str(path), kind=kind, recognised=_recognised(path, sha256s), sha256s=sha256s, fingerprint=fingerprint
    )


def _located(path: Path) -> tuple[Literal["archives", "folder"], tuple[str, ...]]:
    """Kind of the source at `path`, and the names of all its files."""
    if not path.is_dir():
        raise DataError(f"{path} is not a folder; give the one that holds {', '.join(ZIPS)}.")
    missing = [name for name in ZIPS if not (path / name).is_file()]
    if not missing:
        return "archives", ZIPS
    if len(missing) < len(ZIPS):
        raise DataError(f"{path} lacks {', '.join(missing)}; all three archives are needed.")
    names = tuple(_files_below(path))
    if not any("Final_Training/Images/" in name for name in names):
        raise DataError(f"{path} {_other_layout(path, names)}")
    return "folder", names


def _other_layout(path: Path, names: Sequence[str]) -> str:
    """What a folder holds in place of GTSRB, and what to do, going on after its name."""
    wanted = f"the three official archives ({', '.join(ZIPS)}), or what is in them (GTSRB/Final_Training/Images/...)"
    below = sorted(archive.parent for archive in path.rglob(TRAINING_ZIP))
    if below:
        return f"holds the archives further down; give {below[0]}."
    if any(name.rpartition("/")[2] == "Train.csv" for name in names):
        return (
            "holds GTSRB as Kaggle has it (Train.csv and PNG pictures); read it with a name of its own, "
            f"--name=gtsrb_kaggle. GTSRB itself is {wanted}; `invoke data --download` fetches them."
        )
    if any(re.search(r"(^|/)GTSRB/Training/\d{5}/", name) for name in names):
        return (
            "holds GTSRB as torchvision has it (GTSRB/Training), fewer training pictures than the study's; give the "
            f"zips it came in, with --name=gtsrb_torchvision. GTSRB itself is {wanted}; `invoke data --download` "
            "fetches them."
        )
    return (
        f"holds neither {', '.join(ZIPS)} nor their unpacked contents (GTSRB/Final_Training/Images/...); "
        "pictures of your own need a name: --name=NAME."
    )


def _files_below(path: Path) -> list[str]:
    names: list[str] = []
    for folder, folders, here in os.walk(path):
        folders.sort()
        within = Path(folder).relative_to(path)
        names += [(within / file).as_posix() for file in sorted(here) if file.endswith((".ppm", ".csv"))]
        if len(names) > LIMITS.files:
            raise DataError(f"{path} holds more than {LIMITS.files} files; give a folder that holds only GTSRB.")
    return names


def _recognised(path: Path, sha256s: dict[str, str]) -> Recognised:
    if sha256s == SAMPLE_SHA256:
        return "sample"
    if sha256s.keys() == OFFICIAL.keys() and all(is_published(path / name, OFFICIAL[name]) for name in ZIPS):
        return "official"
    return "unknown"
