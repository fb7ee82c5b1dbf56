"""Which files of a user's own pictures are of which set and class: by their folders, as torchvision's ImageFolder.

    train/<class>/...  valid/<class>/...  test/<class>/...      or      <class>/...

Classes are the names of the folders, sorted as text; the pictures of a class are sorted by folder and name (source:
torchvision.datasets.folder, `find_classes` and `make_dataset`). Folders whose names begin with a dot are passed over.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.archive import LINK_TO_FOLDER, Files
from orchestrator.data.decode import SUFFIXES, is_picture
from orchestrator.data.pictures import Integers
from orchestrator.data.source import Fault
from orchestrator.errors import DataError, many, shortened

SetName = Literal["train", "valid", "test"]

_SETS: dict[str, SetName] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


def set_named(text: str) -> SetName | None:
    """The set that a folder, a table or a column calls so; None for another word."""
    return _SETS.get(text.strip().casefold())


class Row(NamedTuple):
    """One picture: its file, the name of its class, and the part of it that shows the object.

    box: (left, top, right, bottom) in pixels; right and bottom are the first column and row outside, as in GTSRB.
    """

    file: str
    label: str
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Layout:
    """The pictures of each set, in order. faults: what is left out. notes: what a user should know."""

    sets: dict[SetName, list[Row]]
    classes: tuple[str, ...]
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Rows:
    """The pictures of one set, as columns: a set may have a million.

    groups: number of the object that each shows, or None. boxes: (n, 4), or None where whole pictures are taken.
    """

    files: tuple[str, ...]
    labels: Integers
    groups: Integers | None = None
    boxes: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def at(self, numbers: Integers) -> "Rows":
        """Those rows only."""
        return Rows(
            tuple(self.files[number] for number in numbers),
            self.labels[numbers],
            None if self.groups is None else self.groups[numbers],
            None if self.boxes is None else self.boxes[numbers],
        )


def by_folders(files: Files, where: str) -> Layout:
    """The layout that folders say. Raises DataError where there is none. where: the source, for messages."""
    faults = [
        Fault(name=shown(name), reason=why)
        for name, why in sorted(files.refused.items())
        if _is_shown(name) and (is_picture(name) or why == LINK_TO_FOLDER)
    ]
    here: dict[str, list[str]] = {}  # folder -> its pictures: a set may have a million, in few folders
    for name in files.names:
        if is_picture(name) and _is_shown(name):
            if is_text(name):
                here.setdefault(name.rpartition("/")[0], []).append(name)
            else:
                faults.append(Fault(name=shown(name), reason="its name is not UTF-8"))
    if not here:
        raise DataError(f"{where} holds no picture ({', '.join(SUFFIXES)}) that can be read.")
    others = [name for name in files.folders if _is_shown(name) and is_text(name)]
    root = _root(here, others)
    pictures = [(_parts(folder, root), names) for folder, names in here.items()]
    empty = [_parts(folder, root) for folder in others if folder.startswith(root)]
    tops = {parts[0]: set_named(parts[0]) for parts, _ in pictures if parts}
    known = [name for name in tops.values() if name]
    if len(set(known)) < len(known):
        twice = next(name for name in known if known.count(name) > 1)
        both = sorted(top for top, name in tops.items() if name == twice)
        raise DataError(f"{where} holds {' and '.join(both)}, which both mean the {twice} set; leave one.")
    if "train" in known and len(known) > 1:
        return _of_sets(pictures, tops, empty, faults, where)
    rows, loose = _in_classes(pictures)
    labels = {parts[0] for parts in empty if len(parts) == 1} - {row.label for row in rows}
    return Layout({"train": rows}, _classes(rows, labels), faults, _notes_of(loose, labels))


_Folders = Sequence[tuple[list[str], list[str]]]
"""Of each folder its path, as parts, and the names of its pictures."""


def _of_sets(
    pictures: _Folders, tops: dict[str, SetName | None], empty: list[list[str]], faults: list[Fault], where: str
) -> Layout:
    sets: dict[SetName, list[Row]] = {}
    loose = [name for parts, names in pictures if not parts for name in names]
    notes = []
    for top, name in sorted(tops.items()):
        here = [(parts[1:], names) for parts, names in pictures if parts and parts[0] == top]
        if name is None:
            count = sum(len(names) for _, names in here)
            notes.append(f"the folder {top} with {many(count, 'picture')} is no train, valid or test, and is left out")
            continue
        sets[name], loose_here = _in_classes(here)
        loose += loose_here
    rows = [row for set_ in sets.values() for row in set_]
    if not sets.get("train"):
        raise DataError(f"{where} has a folder for training without a picture in a folder of its class.")
    labels = {parts[1] for parts in empty if len(parts) == 2 and set_named(parts[0])} - {row.label for row in rows}
    return Layout(sets, _classes(rows, labels), faults, notes + _notes_of(sorted(loose), labels))


def _in_classes(pictures: _Folders) -> tuple[list[Row], list[str]]:
    """Rows in ImageFolder's order, and the files that lie in no folder of a class."""
    # A class, then its folders by their paths, then their files by name: in one folder, paths compare as names do.
    ordered = sorted((parts[0], "/".join(parts), names) for parts, names in pictures if parts)
    rows = [Row(name, label) for label, _, names in ordered for name in sorted(names)]
    return rows, sorted(name for parts, names in pictures if not parts for name in names)


def _classes(rows: Iterable[Row], empty: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({row.label for row in rows} | set(empty)))


def _notes_of(loose: Sequence[str], empty: Iterable[str]) -> list[str]:
    notes = [f"the class {shortened(label)} has no picture" for label in sorted(empty)]
    if loose:
        notes.append(f"in no folder of a class: {many(len(loose), 'picture')}, {loose[0]} among them, left out")
    return notes


def _root(here: Iterable[str], others: Iterable[str]) -> str:
    """The folders, with / at the end, that all others share above those of the classes: archives often have one."""
    root = ""
    while True:
        tops = {folder[len(root) :].split("/", 1)[0] for folder in (*here, *others) if len(folder) > len(root)}
        inside = f"{root}{tops.pop()}/" if len(tops) == 1 else ""
        if not inside or not all(folder.startswith(inside) for folder in here):
            return root
        root = inside


def _parts(folder: str, root: str) -> list[str]:
    """The path of a folder below `root`; [] of what lies in it."""
    return folder[len(root) :].split("/") if len(folder) > len(root) else []


def _is_shown(name: str) -> bool:
    return not any(part.startswith(".") for part in name.split("/"))


def is_text(name: str) -> bool:
    """Whether it is UTF-8: Linux takes any bytes for a name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: str) -> str:
    """A name that is not UTF-8, as text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def columns(rows: Sequence[Row], classes: Sequence[str], group: re.Pattern[str] | None, where: str) -> Rows:
    """Rows as columns; groups are numbered class by class, in the order of their texts.

    Raises DataError for a name in which `group` finds nothing.
    """
    numbers = {label: number for number, label in enumerate(classes)}
    labels = np.array([numbers[row.label] for row in rows], np.int64)
    boxes = np.array([row.box or (0, 0, 0, 0) for row in rows], np.int32) if any(row.box for row in rows) else None
    groups = None if group is None else _groups(rows, group, where)
    return Rows(tuple(row.file for row in rows), labels, groups, boxes)


def _groups(rows: Sequence[Row], group: re.Pattern[str], where: str) -> Integers:
    keys = []
    for row in rows:
        found = group.search(row.file.rpartition("/")[2])
        if found is None or (text := found[1] if group.groups else found[0]) is None:
            raise DataError(
                f"--group finds nothing in the name {row.file} of {where}; it must match the name of every picture."
            )
        keys.append((row.label, text))
    numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
    return np.array([numbers[key] for key in keys], np.int64)


def drawn_to_test(rows: Rows, share: float) -> NDArray[np.bool_]:
    """(n,) which pictures test: of each class this share, whole objects where they are known; the same at every call.

    A class of a single object or picture only trains.
    """
    rng = np.random.RandomState(0)
    units = np.arange(len(rows)) if rows.groups is None else rows.groups
    drawn: list[int] = []
    for label in np.unique(rows.labels):
        here = np.unique(units[rows.labels == label])
        count = min(max(round(len(here) * share), 1), len(here) - 1)
        drawn += rng.permutation(here)[:count].tolist()
    return np.isin(units, np.array(drawn, np.int64))
