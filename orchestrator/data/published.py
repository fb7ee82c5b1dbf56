"""Published sets whose pictures are arrays in archives: idx files (MNIST), and pickled batches (CIFAR)."""

import codecs
import contextlib
import gzip
import io
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orchestrator.data.archive import Files
from orchestrator.data.pictures import Integers, PictureSets
from orchestrator.data.ppm import Pixels
from orchestrator.data.source import (
    Progress,
    Published,
    Source,
    checksum,
    fingerprint_of,
    is_published,
)
from orchestrator.errors import DataError

MOST_BYTES = 256 << 20
"""Of one unpacked idx file; the largest has 47 MB."""

Opener = Callable[[Path], AbstractContextManager[PictureSets]]
"""Opens the pictures of the archives in a folder."""


class ArrayPictures:
    """Pictures in memory, (n, height, width, 3) RGB or (n, height, width) grey."""

    def __init__(self, pixels: Pixels, labels: Integers) -> None:
        self._pixels = pixels
        self.labels = labels
        self.tracks: Integers | None = None

    def sign(self, index: int) -> Pixels:
        """Picture `index`, RGB."""
        picture = self._pixels[index]
        return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


class ArchivesReader:
    """Of a folder that holds the archives of a published set, under their own names."""

    def __init__(self, title: str, archives: Mapping[str, Published], opener: Opener) -> None:
        self._title, self._archives, self._opener = title, archives, opener

    def inspect(self, path: Path, progress: Progress) -> Source:
        folder = self._folder(path)
        is_official = all(is_published(folder / name, known) for name, known in self._archives.items())
        source = Source(
            path=str(folder),
            kind="archives",
            recognised="official" if is_official else "unknown",
            sha256s={name: checksum(folder / name, "sha256") for name in self._archives},
            fingerprint=self.fingerprint(folder),
        )
        with self.opened(source):
            return source

    def fingerprint(self, path: Path) -> str:
        return fingerprint_of(self._folder(path), self._archives)

    def opened(self, source: Source) -> AbstractContextManager[PictureSets]:
        return self._opener(Path(source.path))

    def _folder(self, path: Path) -> Path:
        folder = path.parent if path.name in self._archives else path
        missing = [name for name in self._archives if not (folder / name).is_file()]
        if missing:
            raise DataError(
                f"{folder} lacks {', '.join(missing)}; give the folder that holds the archives of {self._title}, or "
                "fetch them with --download."
            )
        return folder


class Idx(NamedTuple):
    """Names of the four files of a set of MNIST's form."""

    train_pictures: str = "train-images-idx3-ubyte.gz"
    train_labels: str = "train-labels-idx1-ubyte.gz"
    test_pictures: str = "t10k-images-idx3-ubyte.gz"
    test_labels: str = "t10k-labels-idx1-ubyte.gz"


@contextlib.contextmanager
def opened_idx(folder: Path, classes: int) -> Iterator[PictureSets]:
    """The pictures of MNIST's form. Raises DataError for a file that is not what its name says."""
    names = Idx()
    yield PictureSets(
        _idx_pictures(folder / names.train_pictures, folder / names.train_labels, classes),
        _idx_pictures(folder / names.test_pictures, folder / names.test_labels, classes),
    )


def _idx_pictures(pictures: Path, labels: Path, classes: int) -> ArrayPictures:
    pixels, numbers = _idx(pictures, 3), _idx(labels, 1).astype(np.int64)
    if len(pixels) != len(numbers):
        raise DataError(f"{pictures} has {len(pixels)} pictures and {labels} {len(numbers)} labels; fetch both again.")
    if len(numbers) and numbers.max() >= classes:
        raise DataError(f"{labels} has the label {numbers.max()}; there are {classes} classes.")
    return ArrayPictures(pixels, numbers)


def _idx(path: Path, dimensions: int) -> Pixels:
    """The array of an idx file of bytes. Source: LeCun's page of MNIST, "FILE FORMATS"."""
    try:
        with gzip.open(path) as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} does not unpack ({error}); fetch it again.") from None
    head = 4 + 4 * dimensions
    if len(content) < head or content[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(f"{path} is no idx file of bytes in {dimensions} dimensions; fetch it again.")
    shape = struct.unpack(f">{dimensions}I", content[4:head])
    expected = head + int(np.prod([int(side) for side in shape], dtype=object))
    if len(content) != expected or 0 in shape:
        raise DataError(f"{path} declares {shape} and has {len(content) - head} bytes of them; fetch it again.")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


CIFAR_BATCHES = tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6))
CIFAR_TEST = "cifar-10-batches-py/test_batch"


def cifar_sets(files: Files) -> PictureSets:
    """The pictures of CIFAR-10's "python version". Raises DataError for a batch that is not what its name says."""
    parts = [_cifar_batch(files, name) for name in CIFAR_BATCHES]
    train = ArrayPictures(
        np.concatenate([pixels for pixels, _ in parts]), np.concatenate([labels for _, labels in parts])
    )
    return PictureSets(train, ArrayPictures(*_cifar_batch(files, CIFAR_TEST)))


def _cifar_batch(files: Files, name: str) -> tuple[Pixels, Integers]:
    if name not in files.names:
        raise DataError(f"{files.where(name)} is not there; fetch the archive again.")
    try:
        batch = _PlainUnpickler(io.BytesIO(files.read(name)), encoding="bytes").load()
        data, labels = np.asarray(batch[b"data"], np.uint8), np.asarray(batch[b"labels"], np.int64)
        if data.ndim != 2 or data.shape[1] != 3072 or labels.shape != (len(data),):
            raise ValueError(f"arrays of {data.shape} and {labels.shape}")
        if len(labels) and not 0 <= labels.min() <= labels.max() < 10:
            raise ValueError(f"labels from {labels.min()} to {labels.max()}")
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - a pickle may be damaged in any way
        raise DataError(f"{files.where(name)} is no batch of CIFAR-10 ({type(error).__name__}: {error}).") from None
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


class _PlainUnpickler(pickle.Unpickler):  # noqa: S301 - the reason for this class
    """Makes arrays and bytes, and nothing else: a pickle may otherwise run any program."""

    def find_class(self, module: str, name: str) -> Any:
        made = _MADE.get((module.split(".")[0], name))
        if made is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return made


def _reconstruct(kind: type[np.ndarray[Any, Any]], shape: tuple[int, ...], code: bytes) -> np.ndarray[Any, Any]:
    """An empty array, which its state fills then, as numpy's own function of that name makes it."""
    return np.ndarray.__new__(kind, (0,), np.dtype(np.uint8))


_MADE: dict[tuple[str, str], Any] = {
    ("numpy", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}
