import hashlib

import pytest

from orchestrator import data
from orchestrator.data import gtsrb_archives, source
from orchestrator.data.gtsrb_archives import GtsrbReader
from orchestrator.data.source import Published
from orchestrator.errors import DataError


@pytest.fixture
def sha256s(world):
    world.write()
    return {name: hashlib.sha256((world.folder / name).read_bytes()).hexdigest() for name in gtsrb_archives.ZIPS}


def test_official_names_alone_prove_nothing(world, home):
    assert data.register("gtsrb", world.write(), home).recognised == "unknown"


def test_official_archives_are_recognised_by_size_and_md5(world, home, monkeypatch):
    world.write()
    published = {
        name: Published(hashlib.md5(content).hexdigest(), len(content))
        for name, content in ((name, (world.folder / name).read_bytes()) for name in gtsrb_archives.ZIPS)
    }
    monkeypatch.setattr(gtsrb_archives, "OFFICIAL", published)
    assert data.register("gtsrb", world.folder, home).recognised == "official"


def test_sample_is_recognised_by_sha256(world, home, monkeypatch, sha256s):
    monkeypatch.setattr(gtsrb_archives, "SAMPLE_SHA256", sha256s)
    assert data.register("gtsrb", world.folder, home).recognised == "sample"


def test_one_other_archive_makes_it_unknown(world, home, monkeypatch, sha256s):
    monkeypatch.setattr(gtsrb_archives, "SAMPLE_SHA256", {**sha256s, gtsrb_archives.TEST_ZIP: "0" * 64})
    assert data.register("gtsrb", world.folder, home).recognised == "unknown"


def test_sha256_of_every_archive_is_recorded(world, home, sha256s):
    data.register("gtsrb", world.folder, home)
    assert source.recorded("gtsrb", home).sha256s == sha256s


def test_unpacked_folder_is_unknown(world, home):
    assert data.register("gtsrb", world.unpack(), home).recognised == "unknown"


def test_folder_may_be_the_inner_one(world, home):
    world.test |= {"GTSRB/GT-final_test.csv": world.truth["GT-final_test.csv"]}
    assert data.register("gtsrb", world.unpack() / "GTSRB", home).kind == "folder"


def test_files_are_read_once_while_they_stand(world, home, monkeypatch):
    registered = data.register("gtsrb", world.write(), home)
    monkeypatch.setattr(gtsrb_archives, "checksum", lambda path, algorithm: pytest.fail(f"{path} was read again"))
    assert source.current("gtsrb", registered, GtsrbReader(), home) == registered


def renamed(members, name):
    return {name(member): content for member, content in members.items()}


@pytest.mark.parametrize(
    "name",
    [
        lambda member: member.replace("/", "\\"),
        lambda member: f"./{member}",
        lambda member: f"GTSRB_Final_Training_Images/{member}",
    ],
    ids=["backslashes, as PowerShell 5 writes them", "dot-slash", "one folder deeper"],
)
def test_archives_that_were_packed_again_are_read(world, home, name):
    world.training, world.test = renamed(world.training, name), renamed(world.test, name)
    data.register("gtsrb", world.write(), home)


@pytest.mark.parametrize("left", ["__MACOSX/GTSRB/._Final_Training", "{}/._00000_00000.ppm", "{}/.DS_Store"])
def test_what_file_managers_leave_is_passed_over(world, home, left):
    world.training[left.format("GTSRB/Final_Training/Images/00000")] = b"\0\5\x16\7"
    data.register("gtsrb", world.write(), home)


def test_a_folder_further_up_is_read(world, home):
    world.test |= {"GTSRB/GT-final_test.csv": world.truth.pop("GT-final_test.csv")}
    world.folder = world.folder / "Downloads" / "a"
    world.folder.parent.mkdir(parents=True)
    assert data.register("gtsrb", world.unpack().parent, home).kind == "folder"


def test_archives_further_down_are_named(world, home):
    with pytest.raises(DataError, match=f"holds the archives further down; give {world.folder}"):
        data.register("gtsrb", world.write().parent, home)


def test_pictures_in_two_places_are_refused(world, home):
    world.training |= renamed(world.training, lambda member: f"copy/{member}")
    with pytest.raises(DataError, match="holds pictures of GTSRB in 2 places"):
        data.register("gtsrb", world.write(), home)


@pytest.mark.parametrize(
    ("member", "words"), [("Train.csv", "as Kaggle has it"), ("GTSRB/Training/00000/a.ppm", "as torchvision has it")]
)
def test_another_layout_is_named(tmp_path, home, member, words):
    (tmp_path / member).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / member).touch()
    with pytest.raises(DataError, match=words):
        data.register("gtsrb", tmp_path, home)


def test_a_table_saved_by_an_editor_is_read(world, home):
    world.truth = {name: b"\xef\xbb\xbf" + content + b"\r\n" for name, content in world.truth.items()}
    data.register("gtsrb", world.write(), home)
