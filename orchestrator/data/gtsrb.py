"""The official layout of GTSRB: which picture shows which sign, and where. Rows and files must match exactly.

Training: [GTSRB/]Final_Training/Images/<class>/<track>_<frame>.ppm, with GT-<class>.csv beside the pictures.
Test:     [GTSRB/]Final_Test/Images/<number>.ppm, and GT-final_test.csv (with classes) from an archive of its own.
Both may lie in further folders, as an archive has them that was packed again; in one place each.
"""

import codecs
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from orchestrator.data.archive import Files
from orchestrator.data.labels import SIGNS
from orchestrator.data.pictures import TRACKS_PER_CLASS, Integers
from orchestrator.data.ppm import Pixels, decode_ppm
from orchestrator.errors import DataError

CLASSES = len(SIGNS)

_HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
_TRAINING = re.compile(r"((?:.*/)?Final_Training/Images)/([^/]+)/([^/]+)")
_TEST = re.compile(r"((?:.*/)?Final_Test/Images)/([^/]+)\.ppm")
_TEST_CSV = re.compile(r"(?:.*/)?GT-final_test\.csv")
_FIELDS = re.compile(r"([^;]+)" + 7 * r";(\d{1,5})")
_TRACK = re.compile(r"(\d{5})_(\d{5})\.ppm")


class TruthRow(NamedTuple):
    """One line of a ground-truth file.

    line:          its number in the file, the header being 1.
    width, height: of the picture, in pixels.
    left, top, right, bottom: the sign in it, in pixels; right and bottom are the first column and row outside it (so
        the margins of the official pictures are equal on both sides).
    """

    line: int
    name: str
    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int
    label: int


@dataclass(frozen=True)
class Picture:
    """A row, the file of its picture, and the CSV file of the row (as named in messages)."""

    row: TruthRow
    file: str
    csv: str


class GtsrbPictures:
    """Pictures of one set, in the order of classes and rows."""

    def __init__(self, files: Files, pictures: Sequence[Picture], tracks: Integers | None) -> None:
        self._files = files
        self._pictures = pictures
        self.labels: Integers = np.array([picture.row.label for picture in pictures], np.int64)
        self.tracks = tracks

    def sign(self, index: int) -> Pixels:
        """The picture, cropped to its sign."""
        picture = self._pictures[index]
        row = picture.row
        try:
            pixels = decode_ppm(self._files.read(picture.file))
        except ValueError as error:
            raise DataError(
                f"{self._files.where(picture.file)} (line {row.line} of {picture.csv}) is not a picture that can be "
                f"decoded: {error}. Fetch the archives again."
            ) from error
        height, width = pixels.shape[:2]
        if (width, height) != (row.width, row.height):
            raise DataError(
                f"{self._files.where(picture.file)} is {width} x {height} pixels, line {row.line} of {picture.csv} "
                f"says {row.width} x {row.height}. Fetch the archives again."
            )
        return pixels[row.top : row.bottom, row.left : row.right]


def pictures_to_train(files: Files) -> GtsrbPictures:
    """All training pictures of GTSRB, as `pictures_in_classes`."""
    return pictures_in_classes(files, _TRAINING, CLASSES)


def pictures_in_classes(files: Files, layout: re.Pattern[str], classes: int) -> GtsrbPictures:
    """Pictures in a folder for each class, with a table of them in it. layout: groups place, folder and file.

    Raises DataError if files and rows do not match, or a row is out of bounds.
    """
    folders: dict[str, dict[str, str]] = defaultdict(dict)
    for match in _in_one_place(files, layout):
        folders[match[2]][match[3]] = match[0]
    pictures = [
        picture for folder in sorted(folders) for picture in _class_pictures(files, folder, folders[folder], classes)
    ]
    tracks = [picture.row.label * TRACKS_PER_CLASS + int(picture.row.name[:5]) for picture in pictures]
    return GtsrbPictures(files, pictures, np.array(tracks, np.int64))


def _class_pictures(files: Files, folder: str, contents: dict[str, str], classes: int) -> list[Picture]:
    csv = f"GT-{folder}.csv"
    here = {name: file for name, file in contents.items() if name.endswith(".ppm")}
    if csv not in contents:
        raise DataError(f"{files.where(next(iter(contents.values())))} has no {csv} beside it, which gives its class.")
    pictures = _matched(files, contents[csv], here, classes)
    for picture in pictures:
        place = f"{files.where(contents[csv])}, line {picture.row.line}:"
        if not _TRACK.fullmatch(picture.row.name):
            raise DataError(f"{place} the name {picture.row.name!r} is not <track>_<frame>.ppm, five digits each.")
        if folder != f"{picture.row.label:05d}":
            raise DataError(f"{place} ClassId is {picture.row.label} in the folder of class {folder}.")
    return pictures


def pictures_to_test(files: Files, truth: Files) -> GtsrbPictures:
    """All test pictures, with the classes from `truth`. Raises DataError as `pictures_to_train` does."""
    here = {f"{match[2]}.ppm": match[0] for match in _in_one_place(files, _TEST)}
    if not here:
        raise DataError(f"{files.where('')} holds no test picture in the layout of GTSRB (Final_Test/Images/*.ppm).")
    tables = [name for name in truth.names if _TEST_CSV.fullmatch(name)]
    if len(tables) != 1:
        raise DataError(f"{truth.where('')} holds {len(tables)} files GT-final_test.csv; one is needed.")
    return GtsrbPictures(files, _matched(truth, tables[0], here, CLASSES), tracks=None)


def _in_one_place(files: Files, layout: re.Pattern[str]) -> list[re.Match[str]]:
    """The files of that layout. Raises DataError if they lie in several folders (its first group)."""
    matches = [match for name in files.names if (match := layout.fullmatch(name))]
    places = sorted({match[1] for match in matches})
    if len(places) > 1:
        raise DataError(
            f"{files.where('')} holds pictures of GTSRB in {len(places)} places ({places[0]}, {places[1]}"
            f"{', ...' if len(places) > 2 else ''}); give a folder that holds them once."
        )
    return matches


def _matched(files: Files, csv: str, here: dict[str, str], classes: int) -> list[Picture]:
    """The rows of `csv` with the pictures they name; `here` maps names in rows to files."""
    pictures, where = [], files.where(csv)
    missing = dict(here)
    for row in _rows(where, files.read(csv), classes):
        file = missing.pop(row.name, None)
        if file is None:
            why = "has a row already" if row.name in here else "is not there"
            raise DataError(f"{where}, line {row.line}: the picture {row.name!r} {why}.")
        pictures.append(Picture(row, file, where))
    if missing:
        first = min(missing)
        raise DataError(f"{where}: no row for {first} ({len(missing)} of {len(here)} pictures have none).")
    return pictures


def _rows(where: str, content: bytes, classes: int) -> list[TruthRow]:
    try:
        # Editors add a byte order mark, and empty lines at the end.
        header, *lines = content.removeprefix(codecs.BOM_UTF8).rstrip().decode("ascii").splitlines()
    except (UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{where} is not a text of rows; it must begin with {_HEADER!r}.") from error
    if header != _HEADER:
        raise DataError(f"{where}, line 1: the header is {header[:80]!r}; it must be {_HEADER!r}.")
    return [_row(f"{where}, line {number}:", number, line, classes) for number, line in enumerate(lines, start=2)]


def _row(place: str, number: int, line: str, classes: int) -> TruthRow:
    fields = _FIELDS.fullmatch(line)
    if fields is None:
        raise DataError(f"{place} is {line[:80]!r}; it must be {_HEADER}, with whole numbers after the name.")
    row = TruthRow(number, fields[1], *map(int, fields.groups()[1:]))
    if not (row.left < row.right <= row.width and row.top < row.bottom <= row.height):
        raise DataError(
            f"{place} the sign spans columns {row.left} to {row.right} and rows {row.top} to {row.bottom} of a picture "
            f"of {row.width} x {row.height}; it must lie inside and not be empty."
        )
    if row.label >= classes:
        raise DataError(f"{place} ClassId is {row.label}; there are the classes 0 to {classes - 1}.")
    return row
