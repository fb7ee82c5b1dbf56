"""A user's own pictures: a folder, an archive, or a table of files; read, checked and opened."""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.archive import OWN, Files, FolderFiles, TarFiles, ZipFiles
from orchestrator.data.decode import decode
from orchestrator.data.layout import Layout, Rows, by_folders, columns, drawn_to_test
from orchestrator.data.pictures import Integers, PictureSets
from orchestrator.data.ppm import Pixels
from orchestrator.data.source import Fault, OwnSet, Progress, Reading, Source, fingerprint_of
from orchestrator.data.tables import by_tables, only_table, tables_of
from orchestrator.data.threads import one_opencv_thread, threads
from orchestrator.environment import digest
from orchestrator.errors import DataError, many, shortened

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
LEAST_CLASSES, MOST_CLASSES = 2, 10_000
MOST_FAULTS = 10_000
"""A folder with more of them holds something else than pictures."""

TOLD = 5
"""Faults that a message names; the rest are counted."""

_BLOCK = 64  # pictures a thread looks at, at a time
_Digests = NDArray[np.uint8]


class FilePictures:
    """Pictures in files of any usual format, cropped to their boxes."""

    def __init__(self, files: Files, rows: Rows) -> None:
        self._files, self._rows = files, rows
        self.labels: Integers = rows.labels
        self.tracks: Integers | None = rows.groups

    def sign(self, index: int) -> Pixels:
        """The picture, cropped to its box."""
        file = self._rows.files[index]
        try:
            return self.cropped(index, decode(self._files.read(file)))
        except ValueError as error:
            raise DataError(f"{self._files.where(file)} is not a picture that can be decoded: {error}.") from None

    def cropped(self, index: int, pixels: Pixels) -> Pixels:
        """Picture `index`, already decoded. Raises ValueError for a box outside of it."""
        if self._rows.boxes is None or not self._rows.boxes[index].any():
            return pixels
        left, top, right, bottom = self._rows.boxes[index].tolist()
        height, width = pixels.shape[:2]
        if right > width or bottom > height:
            raise ValueError(f"its box ends at {right}, {bottom}, and it has {width} x {height} pixels")
        return pixels[top:bottom, left:right]


class OwnReader:
    """Of a folder, an archive or a CSV file. scratch: where a tar.gz is unpacked, into a file without a name."""

    def __init__(self, reading: Reading, scratch: Path) -> None:
        self._reading, self._scratch = reading, scratch

    def inspect(self, path: Path, progress: Progress) -> Source:
        """Every picture is read and decoded once, to name those that are broken and those that are there twice."""
        reading = self._reading
        if path.suffix.lower() == ".csv":
            reading = reading.model_copy(update={"table": path.name})
            path = path.parent
        with self._files(path) as files:
            fingerprint = _fingerprint(path, files.names)  # before the look: a change during it is seen the next time
            layout = _layout(files, reading, path)
            sets = _columns(layout, reading, path)
            digests, broken = _looked_at(files, sets, path, progress)
        faults = [*layout.faults, *broken.values()]
        _require_whole(faults, reading, path)
        is_drawn = "test" not in sets
        sets, digests = _kept(sets, faults, reading, digests)
        own = OwnSet(
            reading=reading,
            classes=layout.classes,
            **_counts(sets),
            faults=tuple(faults),
            notes=(*layout.notes, *_notes(sets, layout, digests, is_drawn=is_drawn)),
        )
        _require_sets(own, path)
        contents = [_content(name, rows, digests[name]) for name, rows in sorted(sets.items())]
        return Source(
            path=str(path),
            kind="own",
            recognised="own",
            sha256s={"pictures": digest([[layout.classes], *contents])},
            fingerprint=fingerprint,
            own=own,
        )

    def fingerprint(self, path: Path) -> str:
        return _fingerprint(path, FolderFiles.below(path, OWN).names if path.is_dir() else ())

    @contextlib.contextmanager
    def opened(self, source: Source) -> Iterator[PictureSets]:
        own, path = source.own, Path(source.path)
        assert own is not None
        with self._files(path) as files:
            layout = _layout(files, own.reading, path)
            sets, _ = _kept(_columns(layout, own.reading, path), own.faults, own.reading, {})
            is_as_known = _counts(sets) == {"train": own.train, "valid": own.valid, "test": own.test}
            if layout.classes != own.classes or not is_as_known:
                raise DataError(f"{path} has changed since it was registered; run `invoke data --from` again.")
            valid = sets.get("valid")
            train = sets["train"] if valid is None else _joined(sets["train"], valid)
            validates = None if valid is None else np.arange(len(train)) >= len(sets["train"])
            keeps_tracks = bool(own.reading.group)
            yield PictureSets(FilePictures(files, train), FilePictures(files, sets["test"]), validates, keeps_tracks)

    @contextlib.contextmanager
    def _files(self, path: Path) -> Iterator[Files]:
        name = path.name.lower()
        if path.is_dir():
            files: Files = FolderFiles.below(path, OWN)
        elif not path.is_file() or not name.endswith(ARCHIVES):
            raise DataError(f"{path} is neither a folder nor an archive ({', '.join(ARCHIVES)}) nor a CSV file.")
        else:
            files = ZipFiles(path, OWN) if name.endswith(".zip") else TarFiles(path, self._scratch, OWN)
        try:
            yield files
        finally:
            files.close()


def _fingerprint(path: Path, names: Sequence[str]) -> str:
    """Of an archive, or of all files of a folder."""
    return fingerprint_of(path, sorted(names)) if path.is_dir() else fingerprint_of(path.parent, [path.name])


def _layout(files: Files, reading: Reading, path: Path) -> Layout:
    tables = tables_of(files, reading.table)
    layout = by_tables(files, tables) if tables else by_folders(files, str(path))
    alone = only_table(files) if len(layout.classes) < LEAST_CLASSES else None
    layout = by_tables(files, {alone: None}) if alone else layout
    if len(layout.classes) > MOST_CLASSES:
        raise DataError(f"{path} has pictures of {len(layout.classes):,} classes; at most {MOST_CLASSES:,} are read.")
    if len(layout.faults) > MOST_FAULTS:
        raise _no_pictures(path, layout.faults)
    if len(layout.classes) < LEAST_CLASSES:
        raise DataError(
            f"{path} has pictures of {len(layout.classes)} class ({', '.join(map(shortened, layout.classes))}); it "
            "needs two or more, each in a folder of its name, <class>/ or train/<class>/ and test/<class>/; or a CSV "
            "file."
        )
    return layout


def _columns(layout: Layout, reading: Reading, path: Path) -> dict[str, Rows]:
    group = re.compile(reading.group) if reading.group else None
    return {name: columns(rows, layout.classes, group, str(path)) for name, rows in layout.sets.items()}


def _looked_at(
    files: Files, sets: dict[str, Rows], path: Path, progress: Progress
) -> tuple[dict[str, _Digests], dict[str, Fault]]:
    """sha256 (n, 32) of the content of each file, and a fault for each that does not decode, by name; on all cores."""
    blocks = [
        (name, range(at, min(at + _BLOCK, len(rows))))
        for name, rows in sets.items()
        for at in range(0, len(rows), _BLOCK)
    ]
    total = sum(len(block) for _, block in blocks)
    digests = {name: np.empty((len(rows), 32), np.uint8) for name, rows in sets.items()}
    broken: dict[str, Fault] = {}
    done = 0

    def look(job: tuple[str, range]) -> list[tuple[int, str]]:
        name, block = job
        return _look(files, sets[name], block, digests[name])

    with one_opencv_thread(), threads() as pool:
        for (name, block), found in zip(blocks, pool.map(look, blocks), strict=True):
            for index, reason in found:
                file = sets[name].files[index]
                broken[file] = Fault(name=file, reason=reason)
            if len(broken) > MOST_FAULTS:
                raise _no_pictures(path, list(broken.values()))
            done += len(block)
            progress(done, total)
    return digests, broken


def _look(files: Files, rows: Rows, block: range, digests: _Digests) -> list[tuple[int, str]]:
    """(number, what is wrong) of each picture of the block that does not decode; fills its digests."""
    pictures, found = FilePictures(files, rows), []
    for index in block:
        content = b""
        try:
            content = files.read(rows.files[index])
            pictures.cropped(index, decode(content))
        except (ValueError, DataError) as error:
            found.append((index, str(error)))
        digests[index] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
    return found


def _kept(
    sets: dict[str, Rows], faults: Sequence[Fault], reading: Reading, digests: dict[str, _Digests]
) -> tuple[dict[str, Rows], dict[str, _Digests]]:
    """The sets without pictures that have a fault, with test pictures; and their digests, where these are given."""
    left_out = {fault.name for fault in faults}
    numbers = {name: np.flatnonzero([file not in left_out for file in rows.files]) for name, rows in sets.items()}
    whole = {name: rows.at(numbers[name]) for name, rows in sets.items()}
    return _with_test(whole, reading, {name: digests[name][numbers[name]] for name in digests})


def _counts(sets: dict[str, Rows]) -> dict[str, int]:
    return {name: len(sets[name]) if name in sets else 0 for name in ("train", "valid", "test")}


def _no_pictures(path: Path, faults: Sequence[Fault]) -> DataError:
    return DataError(
        f"{path} has more than {MOST_FAULTS:,} pictures that cannot be read, {faults[0].name} among them "
        f"({faults[0].reason}); give a folder of pictures."
    )


def _require_whole(faults: Sequence[Fault], reading: Reading, path: Path) -> None:
    if faults and not reading.skips_broken:
        told = "; ".join(f"{fault.name}: {fault.reason}" for fault in faults[:TOLD])
        more = f"; and {len(faults) - TOLD:,} more" if len(faults) > TOLD else ""
        raise DataError(
            f"{path} has {many(len(faults), 'picture')} that cannot be read: {told}{more}. Mend or remove them, or "
            "leave them out with --skip-broken."
        )


def _require_sets(own: OwnSet, path: Path) -> None:
    if not own.train or not own.test:
        raise DataError(
            f"{path} leaves {many(own.train, 'picture')} to train and {own.test:,} to test; each needs one, and a "
            "class of a single picture only trains."
        )


def _with_test(
    sets: dict[str, Rows], reading: Reading, digests: dict[str, _Digests]
) -> tuple[dict[str, Rows], dict[str, _Digests]]:
    """With test pictures drawn from those to train, where there are none; and the digests of each set."""
    if "test" in sets:
        return sets, digests
    is_test = drawn_to_test(sets["train"], reading.test_share)
    drawn = {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}
    parts = {name: sets["train"].at(numbers) for name, numbers in drawn.items()}
    known = {name: digests["train"][numbers] for name, numbers in drawn.items()} if digests else {}
    return {**sets, **parts}, {**digests, **known}


def _joined(first: Rows, second: Rows) -> Rows:
    groups = None
    if first.groups is not None and second.groups is not None:
        groups = np.concatenate([first.groups, second.groups + 1 + first.groups.max(initial=0)])
    boxes = None
    if first.boxes is not None or second.boxes is not None:
        boxes = np.concatenate(
            [np.zeros((len(rows), 4), np.int32) if rows.boxes is None else rows.boxes for rows in (first, second)]
        )
    return Rows(first.files + second.files, np.concatenate([first.labels, second.labels]), groups, boxes)


def _notes(sets: dict[str, Rows], layout: Layout, digests: dict[str, _Digests], *, is_drawn: bool) -> Iterator[str]:
    """What a user should know of the sets: how they were made, lopsided classes, and pictures that are there twice."""
    if is_drawn:
        count = many(len(sets["test"]), "picture")
        yield f"it has no test pictures of its own: {count} of all classes were drawn, always the same"
    counts = {name: np.bincount(rows.labels, minlength=len(layout.classes)) for name, rows in sets.items()}
    for number, label in enumerate(layout.classes):
        names = [name for name in ("train", "valid", "test") if name in sets]
        here = [name for name in names if counts[name][number]]
        if here and len(here) < len(names):
            lacking = ", ".join(name for name in names if name not in here)
            yield f"the class {shortened(label)} has pictures to {' and '.join(here)} only, none to {lacking}"
    yield from _leaks(sets, digests)


def _leaks(sets: dict[str, Rows], digests: dict[str, _Digests]) -> Iterator[str]:
    """Pictures of one content in two sets: an accuracy on them is too high."""
    learnt = [name for name in ("train", "valid") if name in sets]
    known = _whole(np.concatenate([digests[name] for name in learnt]))
    twice = np.flatnonzero(np.isin(_whole(digests["test"]), known))
    if len(twice):
        files = [file for name in learnt for file in sets[name].files]
        first = np.flatnonzero(known == _whole(digests["test"])[twice[0]])[0]
        yield (
            f"the same content is in {many(len(twice), 'test picture')} and in one to train or validate "
            f"({sets['test'].files[twice[0]]} and {files[first]}), so test accuracy is too high"
        )


def _whole(digests: _Digests) -> NDArray[Any]:
    """Each digest as one item."""
    return np.ascontiguousarray(digests).view("S32").reshape(-1)


def _content(name: str, rows: Rows, digests: _Digests) -> list[str]:
    total = hashlib.sha256(np.ascontiguousarray(digests).tobytes())
    total.update(rows.labels.astype("<i8").tobytes())
    for column in (rows.groups, rows.boxes):
        total.update(b"" if column is None else column.astype("<i8").tobytes())
    return [name, total.hexdigest()]
