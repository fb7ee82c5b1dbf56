"""Where the GTSRB pictures are on this machine, which ones they are by checksum, and how to open them."""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from orchestrator import files
from orchestrator.data.archive import MAX_FILES, Files, FolderFiles, ZipFiles
from orchestrator.data.gtsrb import pictures_to_test, pictures_to_train
from orchestrator.data.pictures import PictureSets
from orchestrator.environment import Frozen, digest
from orchestrator.errors import DataError
from orchestrator.home import Home

TRAINING_ZIP = "GTSRB_Final_Training_Images.zip"
TEST_ZIP = "GTSRB_Final_Test_Images.zip"
TRUTH_ZIP = "GTSRB_Final_Test_GT.zip"
ZIPS = (TRAINING_ZIP, TEST_ZIP, TRUTH_ZIP)


class Published(NamedTuple):
    """MD5 and size of an official archive, as published."""

    md5: str
    size_bytes: int


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

Recognised = Literal["official", "sample", "unknown"]


class Source(Frozen):
    """Pictures registered on this machine.

    kind:        the three archives, or a folder into which they were unpacked.
    recognised:  by checksum of the archives. A folder is 'unknown': no checksum of its files has been published.
    sha256s:     of each archive; of all files together for a folder.
    fingerprint: over names, sizes and times of change; while it is unchanged the files are not read again.
    """

    path: str
    kind: Literal["archives", "folder"]
    recognised: Recognised
    sha256s: dict[str, str]
    fingerprint: str

    @property
    def sha256(self) -> str:
        """Over all archives or files."""
        return digest(self.sha256s)


class _Sources(Frozen):
    gtsrb: Source


def register(path: Path, home: Home) -> Source:
    """Remember that the GTSRB pictures are at `path`, a folder with the three archives or their unpacked contents.

    Raises DataError if they are not, or if an archive, a name or a row is damaged. Pixels are checked by `prepare`.
    """
    source = _inspect(path.resolve())
    with opened(source):
        pass
    home.data.mkdir(parents=True, exist_ok=True)
    files.write_atomically(_register_file(home), _Sources(gtsrb=source).model_dump_json(indent=1) + "\n")
    return source


def registered(home: Home) -> Source:
    """The source registered last; read again if its files changed, unchanged if they are gone (the cache may stay)."""
    try:
        content = files.read_bytes(_register_file(home))
    except FileNotFoundError as error:
        raise DataError(
            "No GTSRB pictures are known on this machine. Run `invoke data --from PATH` with the folder of the three "
            "archives, or `invoke data --download`."
        ) from error
    except OSError as error:
        raise DataError(f"{_register_file(home)} cannot be read ({error.strerror}).") from error
    try:
        source = _Sources.model_validate_json(content).gtsrb
    except ValueError as error:
        raise DataError(f"{_register_file(home)} does not read; run `invoke data --from PATH` again.") from error
    try:
        is_as_noted = _fingerprint(Path(source.path), _located(Path(source.path))[1]) == source.fingerprint
    except (DataError, OSError):
        return source
    return source if is_as_noted else register(Path(source.path), home)


@contextlib.contextmanager
def opened(source: Source) -> Iterator[PictureSets]:
    """The pictures of `source`, all rows and names checked. Raises DataError if they are gone or damaged."""
    path = Path(source.path)
    kind, names = _located(path)
    with contextlib.ExitStack() as stack:

        def members(zip_name: str) -> Files:
            files = FolderFiles(path, names) if kind == "folder" else ZipFiles(path / zip_name)
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


def _register_file(home: Home) -> Path:
    return home.data / "sources.json"


def _inspect(path: Path) -> Source:
    kind, names = _located(path)
    fingerprint = _fingerprint(path, names)
    sha256s = {name: _checksum(path / name, "sha256") for name in names}
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
            "holds GTSRB as Kaggle has it (Train.csv and PNG pictures), which waymark does not read. "
            f"Give {wanted}; `invoke data --download` fetches them."
        )
    if any(re.search(r"(^|/)GTSRB/Training/\d{5}/", name) for name in names):
        return (
            "holds GTSRB as torchvision has it (GTSRB/Training), fewer training pictures than the study's, which "
            f"waymark does not read. Give {wanted}; `invoke data --download` fetches them."
        )
    return f"holds neither {', '.join(ZIPS)} nor their unpacked contents (GTSRB/Final_Training/Images/...)."


def _files_below(path: Path) -> list[str]:
    names: list[str] = []
    for folder, folders, here in os.walk(path):
        folders.sort()
        within = Path(folder).relative_to(path)
        names += [(within / file).as_posix() for file in sorted(here) if file.endswith((".ppm", ".csv"))]
        if len(names) > MAX_FILES:
            raise DataError(f"{path} holds more than {MAX_FILES} files; give a folder that holds only GTSRB.")
    return names


def _fingerprint(path: Path, names: tuple[str, ...]) -> str:
    stamps = []
    for name in names:
        try:
            seen = (path / name).stat()
        except OSError as error:
            raise DataError(f"{path / name} cannot be read ({error.strerror}): a link that leads nowhere?") from None
        if not stat.S_ISREG(seen.st_mode):
            raise DataError(f"{path / name} is no regular file.")
        stamps.append([name, seen.st_size, seen.st_mtime_ns])
    return digest(stamps)


def _recognised(path: Path, sha256s: dict[str, str]) -> Recognised:
    if sha256s == SAMPLE_SHA256:
        return "sample"
    if sha256s.keys() == OFFICIAL.keys() and all(is_published(path / name, OFFICIAL[name]) for name in ZIPS):
        return "official"
    return "unknown"


def is_published(path: Path, published: Published) -> bool:
    """Whether the file at `path` has the published size and MD5 (no stronger checksum is published)."""
    return path.stat().st_size == published.size_bytes and _checksum(path, "md5") == published.md5


def _checksum(path: Path, algorithm: Literal["md5", "sha256"]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
