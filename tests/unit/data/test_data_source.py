import hashlib

import pytest

from orchestrator import data
from orchestrator.data import source
from orchestrator.data.source import Published


@pytest.fixture
def sha256s(world):
    world.write()
    return {name: hashlib.sha256((world.folder / name).read_bytes()).hexdigest() for name in source.ZIPS}


def test_official_names_alone_prove_nothing(world, home):
    assert data.register(world.write(), home).recognised == "unknown"


def test_official_archives_are_recognised_by_size_and_md5(world, home, monkeypatch):
    world.write()
    published = {
        name: Published(hashlib.md5(content).hexdigest(), len(content))
        for name, content in ((name, (world.folder / name).read_bytes()) for name in source.ZIPS)
    }
    monkeypatch.setattr(source, "OFFICIAL", published)
    assert data.register(world.folder, home).recognised == "official"


def test_sample_is_recognised_by_sha256(world, home, monkeypatch, sha256s):
    monkeypatch.setattr(source, "SAMPLE_SHA256", sha256s)
    assert data.register(world.folder, home).recognised == "sample"


def test_one_other_archive_makes_it_unknown(world, home, monkeypatch, sha256s):
    monkeypatch.setattr(source, "SAMPLE_SHA256", {**sha256s, source.TEST_ZIP: "0" * 64})
    assert data.register(world.folder, home).recognised == "unknown"


def test_sha256_of_every_archive_is_recorded(world, home, sha256s):
    data.register(world.folder, home)
    assert source.registered(home).sha256s == sha256s


def test_unpacked_folder_is_unknown(world, home):
    assert data.register(world.unpack(), home).recognised == "unknown"


def test_folder_may_be_the_inner_one(world, home):
    world.test |= {"GTSRB/GT-final_test.csv": world.truth["GT-final_test.csv"]}
    assert data.register(world.unpack() / "GTSRB", home).kind == "folder"


def test_files_are_read_once_while_they_stand(world, home, monkeypatch):
    registered = data.register(world.write(), home)
    monkeypatch.setattr(source, "_checksum", lambda path, algorithm: pytest.fail(f"{path} was read again"))
    assert source.registered(home) == registered
