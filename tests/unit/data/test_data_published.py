"""Published sets: recognised by checksum, read from their archives, refused where these are something else."""

import gzip
import hashlib
import io
import os
import pathlib
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from orchestrator import data
from orchestrator.data import datasets
from orchestrator.data.datasets import mnist
from orchestrator.data.published import Idx
from orchestrator.data.source import Published
from orchestrator.dataset import Dataset
from orchestrator.errors import DataError
from orchestrator.networks import InputSize
from tests.unit.data.conftest import HEADER, ppm


def idx(array):
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def write_idx(folder, count=20):
    folder.mkdir(exist_ok=True)
    rng = np.random.RandomState(0)
    for pictures, labels in (Idx()[:2], Idx()[2:]):
        (folder / pictures).write_bytes(idx(rng.randint(0, 256, (count, 28, 28))))
        (folder / labels).write_bytes(idx(np.arange(count) % 10))
    return folder


def write_batches(folder, build=None):
    """CIFAR-10's archive with two pictures a batch. build: makes the pickled value of a batch of its own."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
            pixels = np.random.RandomState(number).randint(0, 256, (2, 3072)).astype(np.uint8)
            content = pickle.dumps(build() if build else {b"data": pixels, b"labels": [number, 9]}, protocol=2)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return folder


def prepared(name, home, size):
    return data.prepare(Dataset(name=name, filters=()), [size], home, lambda done, total: None)[size]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_are_read(tmp_path, home, name):
    data.register(name, write_idx(tmp_path / "idx"), home)
    entry = prepared(name, home, InputSize(1, 28, 28))
    pixels = np.frombuffer(gzip.decompress((tmp_path / "idx" / Idx().test_pictures).read_bytes())[16:], np.uint8)
    assert np.array_equal(np.load(entry.path / "test_x.npy").reshape(-1), pixels)
    assert (entry.recognised, len(entry.classes), entry.train_pictures) == ("unknown", 10, 20)


def test_cifars_batches_are_read(tmp_path, home):
    data.register("cifar10", write_batches(tmp_path / "cifar"), home)
    entry = prepared("cifar10", home, InputSize.square(32))
    first = np.random.RandomState(0).randint(0, 256, (2, 3072)).astype(np.uint8)[0].reshape(3, 32, 32)
    assert np.array_equal(np.load(entry.path / "train_x.npy")[0], first[::-1])
    assert np.load(entry.path / "train_y.npy").tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]


class Hostile:
    def __reduce__(self):
        return os.system, ("touch /tmp/waymark-was-here",)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (Hostile, "it asks for posix.system"),
        (lambda: [1, 2], "is no batch of CIFAR-10"),
        (lambda: {b"data": np.zeros((2, 3), np.uint8), b"labels": [0, 1]}, r"arrays of \(2, 3\) and \(2,\)"),
        (lambda: {b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}, "labels from 10 to 10"),
    ],
    ids=["a program", "a list", "other shapes", "other labels"],
)
def test_a_batch_that_is_something_else_is_refused(tmp_path, home, build, words):
    with pytest.raises(DataError, match=words):
        data.register("cifar10", write_batches(tmp_path / "cifar", build), home)
    assert not pathlib.Path("/tmp/waymark-was-here").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no gzip", "does not unpack"),
        (gzip.compress(b"\0\0\x08\x01"), "is no idx file of bytes in 3 dimensions"),
        (gzip.compress(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**31, 2**31, 2**31)), "declares"),
        (idx(np.zeros((3, 28, 28))), "has 3 pictures and .* 20 labels"),
    ],
    ids=["no gzip", "labels", "gigabytes", "too few"],
)
def test_an_idx_file_that_is_something_else_is_refused(tmp_path, home, content, words):
    folder = write_idx(tmp_path / "idx")
    (folder / Idx().train_pictures).write_bytes(content)
    with pytest.raises(DataError, match=words):
        data.register("mnist", folder, home)


def class_folders(path, place, labels):
    """A zip of one picture for each of these classes, with the table of each."""
    with zipfile.ZipFile(path, "w") as archive:
        for label in labels:
            name = f"{place}/{label:05d}/00001_00000"
            archive.writestr(f"{name}.ppm", ppm(np.full((20, 20, 3), label, np.uint8)))
            rows = f"{HEADER}\r\n00001_00000.ppm;20;20;5;5;15;15;{label}\r\n"
            archive.writestr(f"{place}/{label:05d}/GT-{label:05d}.csv", rows)


def test_the_belgian_signs_are_read(tmp_path, home):
    class_folders(tmp_path / "BelgiumTSC_Training.zip", "Training", (0, 61))
    class_folders(tmp_path / "BelgiumTSC_Testing.zip", "Testing", (61,))
    data.register("btsc", tmp_path, home)
    entry = prepared("btsc", home, InputSize.square(16))
    assert (np.load(entry.path / "test_y.npy").tolist(), len(entry.classes)) == ([61], 62)
    assert np.load(entry.path / "train_track.npy").tolist() == [1, 6_100_001]


def test_torchvisions_gtsrb_is_read(world, home):
    class_folders(world.write() / "GTSRB-Training_fixed.zip", "GTSRB/Training", (0, 42))
    data.register("gtsrb_torchvision", world.folder, home)
    assert prepared("gtsrb_torchvision", home, InputSize.square(16)).train_pictures == 2


def test_a_set_is_recognised_by_its_checksums(tmp_path, monkeypatch):
    folder = write_idx(tmp_path / "idx")
    assert datasets.recognised(folder) is None
    md5s = {name: Published(hashlib.md5((folder / name).read_bytes()).hexdigest()) for name in Idx()}
    for name, published in md5s.items():
        monkeypatch.setitem(mnist.ARCHIVES, name, published)
    assert datasets.recognised(folder) == "mnist"
    assert datasets.recognised(folder / Idx().test_labels) == "mnist"


@pytest.mark.parametrize("name", ["mnist", "cifar10", "btsc", "gtsrb_torchvision"])
def test_a_lacking_archive_is_named(tmp_path, home, name):
    with pytest.raises(DataError, match=r"lacks .*; give the folder that holds the archives of"):
        data.register(name, tmp_path, home)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "btsc", "gtsrb_torchvision"])
def test_a_set_that_is_not_here_says_how_to_get_it(home, name):
    with pytest.raises(DataError, match=f"invoke data --name={name} --download"):
        prepared(name, home, InputSize.square(32))


@pytest.mark.parametrize("name", datasets.names())
def test_every_known_set_has_names_of_its_classes(home, name):
    names = datasets.classes(Dataset(name=name), home)
    assert len(set(names)) == len(names) >= 10
