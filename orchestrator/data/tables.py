"""Tables of pictures in CSV: a path, a class, and where the object is, as GTSRB's and Kaggle's files have them.

Training pictures are ordered by class and path, test pictures by path, as in the official archives of GTSRB.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.data.archive import Files, plain
from orchestrator.data.layout import Layout, Row, SetName, set_named
from orchestrator.data.source import Fault
from orchestrator.errors import DataError, shortened

_PATHS = ("path", "filename", "file", "image", "image_path", "filepath", "file_name")
_LABELS = ("classid", "class", "label", "class_id", "category", "target")
MOST_LABEL = 200
"""Characters of the name of a class; a folder's has 255 bytes at most."""

_SETS = ("split", "set", "subset", "partition")
_BOXES = (
    ("roi.x1", "roi.y1", "roi.x2", "roi.y2"),
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
)
_ALLOWED = f"one of {', '.join(_PATHS)} for the path and one of {', '.join(_LABELS)} for the class"


def tables_of(files: Files, table: str) -> dict[str, SetName | None]:
    """CSV file -> the set it lists, None for one that lists all; {} where folders say the classes.

    table: the one that the user named. Else train.csv, valid.csv and test.csv are taken, in any case of letters.
    """
    if table:
        return {table: None}
    sets = {name: set_named(name.rpartition("/")[2][:-4]) for name in _at_the_top(files)}
    named = {name: set_ for name, set_ in sets.items() if set_}
    return dict(named) if "train" in named.values() else {}


def only_table(files: Files) -> str | None:
    """The CSV file at the top, of any name; None if there are several or none."""
    found = _at_the_top(files)
    return found[0] if len(found) == 1 else None


def _at_the_top(files: Files) -> list[str]:
    found = sorted(name for name in files.names if name.lower().endswith(".csv"))
    depth = min((name.count("/") for name in found), default=0)
    return [name for name in found if name.count("/") == depth]


def by_tables(files: Files, tables: Mapping[str, SetName | None]) -> Layout:
    """The layout that tables say. Raises DataError for a table that lacks a column or does not read."""
    sets: dict[SetName, list[Row]] = {}
    faults: list[Fault] = []
    names = set(files.names)
    folded = {name.casefold(): name for name in files.names}
    for table, set_ in tables.items():
        folder = table.rpartition("/")[0]
        for place, record in _records(files.where(table), files.read(table)):
            asked = set_ or (set_named(record["set"]) if "set" in record else "train")
            path = _within(folder, record["path"])
            file = path if path in names else folded.get(path.casefold(), "")
            box = _box(record)
            if asked is None:
                faults.append(
                    Fault(name=place, reason=f"the set {shortened(record['set'])} is no train, valid or test")
                )
            elif not record["label"]:
                faults.append(Fault(name=place, reason="it names no class"))
            elif len(record["label"]) > MOST_LABEL:
                reason = f"its class has {len(record['label']):,} characters; at most {MOST_LABEL} are read"
                faults.append(Fault(name=place, reason=reason))
            elif not file:
                reason = files.refused.get(path, "is not there")
                faults.append(Fault(name=place, reason=f"the picture {shortened(record['path'])}: {reason}"))
            elif box == ():
                faults.append(Fault(name=place, reason="its box is not four whole numbers, left < right, top < bottom"))
            else:
                sets.setdefault(asked, []).append(Row(file, record["label"], box or None))
    if not sets.get("train"):
        first = f" The first fault: {faults[0].name}: {faults[0].reason}." if faults else ""
        raise DataError(f"{files.where(next(iter(tables)))} lists no picture to train on.{first}")
    labels = {row.label for rows in sets.values() for row in rows}
    are_numbers = all(label.isdecimal() for label in labels)
    classes = sorted(labels, key=lambda label: (int(label) if are_numbers else 0, label))
    order = {label: number for number, label in enumerate(classes)}
    for name, rows in sets.items():
        rows.sort(key=lambda row: (0 if name == "test" else order[row.label], row.file))
    return Layout(sets, tuple(classes), faults)


def _records(where: str, content: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    """(place, {path, label, set, left, top, right, bottom}) of each row; one at a time: there may be a million."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8.") from None
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    try:
        columns = _columns(where, next(reader, []))
        for row in reader:
            place = f"{where}, line {reader.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if len(row) <= max(columns.values()):
                raise DataError(f"{place} has {len(row)} columns; the header has {max(columns.values()) + 1} or more.")
            yield place, {name: row[at].strip() for name, at in columns.items()}
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num}: {error}; it is not the CSV that its header says.") from None


def _columns(where: str, header: Sequence[str]) -> dict[str, int]:
    seen = [cell.strip().casefold() for cell in header]
    found: dict[str, int] = {}
    for name, words in (("path", _PATHS), ("label", _LABELS), ("set", _SETS)):
        at = next((seen.index(word) for word in words if word in seen), None)
        if at is not None:
            found[name] = at
    if "path" not in found or "label" not in found:
        raise DataError(f"{where}, line 1: the columns are {shortened(', '.join(header))}; it needs {_ALLOWED}.")
    for box in _BOXES:
        if all(word in seen for word in box):
            return found | {name: seen.index(word) for name, word in zip(_SIDES, box, strict=True)}
    return found


_SIDES = ("left", "top", "right", "bottom")


def _box(record: Mapping[str, str]) -> tuple[int, int, int, int] | tuple[()] | None:
    """The box; None where the table has none or leaves it empty, () for one that is none."""
    cells = [record.get(side, "") for side in _SIDES]
    if not any(cells):
        return None
    if not all(cell.isascii() and cell.isdecimal() and len(cell) <= 6 for cell in cells):
        return ()
    left, top, right, bottom = map(int, cells)
    return (left, top, right, bottom) if left < right and top < bottom else ()


def _within(folder: str, path: str) -> str:
    """A path of a table as a name of `Files`; it stays as it is where it leads out, and then no file has it."""
    inside = plain(path.strip())
    return f"{folder}/{inside}" if folder else inside
