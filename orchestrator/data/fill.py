"""Writes prepared arrays, block by block on all cores; each picture is read and decoded once for all sizes."""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.pictures import Pictures, PictureSets
from orchestrator.data.pixels import Preparer
from orchestrator.data.ppm import Pixels
from orchestrator.data.source import Progress
from orchestrator.data.threads import one_opencv_thread, threads
from orchestrator.dataset import Dataset
from orchestrator.environment import Frozen
from orchestrator.networks import InputSize
from orchestrator.networks.features import input_of

BLOCK = 32  # pictures a thread prepares at a time
_LOG_SECONDS = 5.0
_COUNTED = 4096  # pictures that are counted at a time


class ArrayFacts(Frozen):
    """One array file: sha256 and size are of the whole file with its header, as `sha256sum` gives them."""

    sha256: str
    size_bytes: int
    shape: tuple[int, ...]


def fill(
    folders: dict[InputSize, Path], sets: PictureSets, dataset: Dataset, log_path: Path, progress: Progress
) -> dict[InputSize, dict[str, float]]:
    """Make the folders and write the arrays of `sets` at each size into them.

    log_path: of the blocks that are done; where one was stopped, the same call later goes on from there.
    Gives, for each size, the milliseconds of one processor that each filter takes for a picture.
    Raises DataError for the first damaged picture, in the order of the set.
    """
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
        np.save(folder / "train_y.npy", sets.train.labels)
        np.save(folder / "test_y.npy", sets.test.labels)
        if sets.train.tracks is not None:
            np.save(folder / "train_track.npy", sets.train.tracks)
        if sets.validates is not None:
            np.save(folder / "train_valid.npy", sets.validates)
    with contextlib.ExitStack() as open_files, one_opencv_thread(), threads() as pool:
        made: list[dict[InputSize, Preparer]] = []
        tools = _ThreadTools(folders, dataset, made)
        files: list[_ArrayFile] = []
        log = _Log(log_path, files)
        blocks: list[tuple[int, Future[None] | None]] = []
        for part, pictures in (("train", sets.train), ("test", sets.test)):
            count = len(pictures.labels)
            arrays = {
                size: _ArrayFile(folder / f"{part}_x.npy", count, input_of(dataset.filters, size))
                for size, folder in folders.items()
            }
            for array in arrays.values():
                open_files.callback(array.close)
            files += arrays.values()
            for start in range(0, count, BLOCK):
                block = range(start, min(start + BLOCK, count))
                is_done = len(blocks) in log.before
                task = None if is_done else pool.submit(_fill_block, pictures, block, arrays, tools)
                blocks.append((len(block), task))
        open_files.callback(log.write)  # before the files are closed
        done, total, new = 0, sum(count for count, _ in blocks), 0
        for number, (count, task) in enumerate(blocks):
            if task is not None:
                task.result()
                log.add(number)
                new += count
            done += count
            progress(done, total)
    return {size: _filter_ms(made, size, new) for size in folders}


def standard_scale(path: Path) -> NDArray[np.float32]:
    """float32 (2, channels), factors and offsets that give each channel of these pictures mean 0 and deviation 1.

    Counted over bytes, so it is exact; a channel of one value only is centred.
    """
    pictures = np.load(path, mmap_mode="r")
    counts = np.zeros((pictures.shape[1], 256), np.int64)
    for start in range(0, len(pictures), _COUNTED):
        for channel in range(pictures.shape[1]):
            part = pictures[start : start + _COUNTED, channel]
            counts[channel] += np.bincount(part.reshape(-1), minlength=256)
    values, total = np.arange(256), np.maximum(counts.sum(1), 1)
    mean = counts @ values / total
    deviation = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 1.0))
    return np.stack([1 / deviation, -mean / deviation]).astype(np.float32)


def array_facts(folders: Iterable[Path]) -> dict[Path, ArrayFacts]:
    """Checksum, size and shape of every array in `folders`, by path."""
    sizes = {path: path.stat().st_size for folder in folders for path in folder.glob("*.npy")}
    paths = sorted(sizes, key=lambda path: sizes[path], reverse=True)  # largest first, so that it does not end last
    with threads() as pool:
        checksums = zip(paths, pool.map(sha256_of, paths), strict=True)
        return {
            path: ArrayFacts(sha256=checksum, size_bytes=sizes[path], shape=np.load(path, mmap_mode="r").shape)
            for path, checksum in checksums
        }


def sha256_of(path: Path) -> str:
    """sha256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _ArrayFile:
    """A .npy file of uint8 (count, channels, height, width), written block by block, in any order and from any thread.

    Not a memory map, which writes more slowly, and on a full disk ends the process instead of raising OSError.
    """

    def __init__(self, path: Path, count: int, size: InputSize) -> None:
        self._file = path.open("r+b" if path.exists() else "wb", buffering=0)
        shape = (count, *size)
        np.lib.format.write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        self._start = self._file.tell()

    def write(self, index: int, block: Pixels) -> None:
        """Put the pictures of `block` at `index` and after."""
        left, at = block.reshape(-1).data, self._start + index * block[0].nbytes
        while left:
            written = os.pwrite(self._file.fileno(), left, at)
            left, at = left[written:], at + written

    def flush(self) -> None:
        """Wait until what was written is on the disk."""
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class _Log:
    """Which blocks are done and on the disk; those of a call that was stopped are `before`."""

    def __init__(self, path: Path, files: Sequence[_ArrayFile]) -> None:
        self._path, self._files = path, files
        known = np.fromfile(path, "<i4") if path.exists() else np.empty(0, "<i4")
        self.before = frozenset(known.tolist())
        self._new: list[int] = []
        self._written_seconds = time.monotonic()

    def add(self, number: int) -> None:
        """Block `number` is done."""
        self._new.append(number)
        if time.monotonic() - self._written_seconds > _LOG_SECONDS:
            self.write()

    def write(self) -> None:
        """The pictures first, so that the log never promises what a power cut has taken."""
        if self._new:
            for file in self._files:
                file.flush()
            with self._path.open("ab") as log:
                log.write(np.array(self._new, "<i4").tobytes())
            self._new = []
        self._written_seconds = time.monotonic()


class _ThreadTools(threading.local):
    """The tools of each thread; `made` gets those of every thread."""

    def __init__(self, sizes: Iterable[InputSize], dataset: Dataset, made: list[dict[InputSize, Preparer]]) -> None:
        self.preparers = {size: Preparer(size, dataset, BLOCK) for size in sizes}
        made.append(self.preparers)


def _filter_ms(made: Sequence[Mapping[InputSize, Preparer]], size: InputSize, pictures: int) -> dict[str, float]:
    """Milliseconds a picture of each filter, over all threads."""
    total: dict[str, float] = {}
    for preparers in made:
        for name, seconds in preparers[size].filter_seconds.items():
            total[name] = total.get(name, 0.0) + seconds
    return {name: 1000 * seconds / max(pictures, 1) for name, seconds in total.items()}


def _fill_block(pictures: Pictures, block: range, arrays: dict[InputSize, _ArrayFile], tools: _ThreadTools) -> None:
    signs = [pictures.sign(index) for index in block]
    for size, array in arrays.items():
        array.write(block.start, tools.preparers[size].prepare(signs))
