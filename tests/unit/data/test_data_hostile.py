"""Every bad archive ends in one DataError that names the file and the row, and leaves no entry behind."""

import os
import re
import struct
import zipfile

import numpy as np
import pytest

from orchestrator import data
from orchestrator.data import archive, gtsrb_archives
from orchestrator.data.archive import Limits
from orchestrator.dataset import Dataset
from orchestrator.errors import DataError
from orchestrator.networks import InputSize

FIRST = "GTSRB/Final_Training/Images/00000/00000_00000.ppm"
CSV = "GTSRB/Final_Training/Images/00000/GT-00000.csv"


@pytest.fixture
def refused(home, entries):
    """Function: the message with which the pictures in a folder are refused."""

    def register_and_prepare(folder):
        data.register("gtsrb", folder, home)
        data.prepare(Dataset(), [InputSize.square(32), InputSize.square(48)], home, lambda done, total: None)

    def refused(folder):
        with pytest.raises(DataError) as caught:
            register_and_prepare(folder)
        assert entries() == []
        return str(caught.value)

    return refused


def patch_directory(path, member, offset, value):
    """Overwrite a 4-byte field of a member's entry in the directory of a zip archive."""
    content = bytearray(path.read_bytes())
    name_at = content.rindex(member.encode())
    entry_at = content.rindex(b"PK\1\2", 0, name_at)
    struct.pack_into("<I", content, entry_at + offset, value)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["../evil.ppm", "/etc/evil.ppm", "GTSRB/../../evil.ppm", "C:/evil.ppm", "a\\..\\evil.ppm"]
)
def test_name_that_leads_out_of_the_archive_is_refused(world, refused, tmp_path, name):
    world.training[name] = b"x"
    message = refused(world.write())
    assert "evil.ppm" in message
    assert "Training_Images.zip" in message
    assert not list(tmp_path.rglob("evil.ppm"))


def test_member_that_declares_too_much_is_refused(world, refused):
    world.training[FIRST] = b"\0" * (archive.MAX_FILE_BYTES + 1)
    assert re.search(rf"Training_Images.zip: {FIRST} declares 4194305 bytes", refused(world.write()))


def test_archive_that_unpacks_to_many_times_its_size_is_refused(world, refused):
    for number in range(20):
        world.training[f"GTSRB/zeros-{number}"] = b"\0" * 1_000_000
    assert re.search(r"Training_Images.zip .* declares to unpack to 200\d+", refused(world.write()))


def test_member_that_unpacks_to_more_than_declared_is_refused(world, refused):
    world.training[FIRST] = b"\0" * 1_000_000
    world.write()
    patch_directory(world.training_zip, FIRST, offset=24, value=1000)
    assert re.search(rf"{FIRST} unpacks to more bytes, the archive declares 1000", refused(world.folder))


def test_members_that_overlap_are_refused(world, refused):
    world.write()
    patch_directory(world.training_zip, FIRST, offset=20, value=world.training_zip.stat().st_size)
    assert "Training_Images.zip has members that overlap" in refused(world.folder)


def test_archive_of_too_many_files_is_refused(world, refused, monkeypatch):
    monkeypatch.setattr(gtsrb_archives, "LIMITS", Limits(files=9))
    assert "Training_Images.zip holds 10 files" in refused(world.write())


def test_archive_that_is_too_large_is_refused(world, refused, monkeypatch):
    monkeypatch.setattr(gtsrb_archives, "LIMITS", Limits(archive_bytes=5000))
    assert re.search(r"Training_Images.zip has \d+ bytes; at most 5000", refused(world.write()))


def test_truncated_archive_is_refused(world, refused):
    world.write()
    content = world.training_zip.read_bytes()
    world.training_zip.write_bytes(content[: len(content) // 2])
    assert re.search(r"Training_Images.zip is not a whole zip archive .*Fetch it again", refused(world.folder))


def test_damaged_member_is_refused(world, refused):
    world.write()
    content = bytearray(world.training_zip.read_bytes())
    content[200] ^= 0xFF  # within the first member
    world.training_zip.write_bytes(content)
    assert re.search(rf"{FIRST} (does not unpack|fails its checksum|unpacks to)", refused(world.folder))


def test_member_that_lies_elsewhere_is_refused(world, refused):
    world.write()
    patch_directory(world.training_zip, FIRST, offset=42, value=7)
    assert f"{FIRST} is not where the archive's directory says" in refused(world.folder)


def test_encrypted_member_is_refused(world, refused):
    world.write()
    patch_directory(world.training_zip, FIRST, offset=8, value=1 | 8 << 16)
    assert f"Training_Images.zip: {FIRST} is encrypted" in refused(world.folder)


def test_unknown_packing_is_refused(world, refused):
    world.write()
    with zipfile.ZipFile(world.training_zip, "a", zipfile.ZIP_LZMA) as training:
        training.writestr("extra", b"x")
    assert "Training_Images.zip: extra is packed by method 14" in refused(world.folder)


def test_member_that_is_there_twice_is_refused(world, refused):
    world.write()
    with zipfile.ZipFile(world.training_zip, "a") as training, pytest.warns(UserWarning, match="Duplicate"):
        training.writestr(FIRST, b"x")
    assert f"Training_Images.zip: {FIRST} is there twice" in refused(world.folder)


@pytest.mark.parametrize(
    ("corners", "seen"),
    [
        ("5;5;21;17", "columns 5 to 21 and rows 5 to 17 of a picture of 20 x 22"),
        ("5;5;15;23", "columns 5 to 15 and rows 5 to 23"),
        ("15;5;5;17", "columns 15 to 5"),
        ("5;5;15;5", "rows 5 to 5"),
        ("5.5;5;15;17", "'00000_00000.ppm;20;22;5.5;5;15;17;0'"),
        ("-5;5;15;17", "'00000_00000.ppm;20;22;-5;5;15;17;0'"),
        (";5;15;17", "'00000_00000.ppm;20;22;;5;15;17;0'"),
    ],
)
def test_wrong_roi_is_refused(world, refused, corners, seen):
    world.edit(0, "5;5;15;17", corners)
    message = refused(world.write())
    assert f"{CSV}, line 2:" in message
    assert seen in message


def test_row_of_too_few_fields_is_refused(world, refused):
    world.edit(0, "00001_00000.ppm;20;22;", "00001_00000.ppm;")
    assert f"{CSV}, line 4:" in refused(world.write())


def test_missing_csv_is_refused(world, refused):
    del world.training[CSV]
    assert re.search(r"Images/00000/.* has no GT-00000.csv beside it", refused(world.write()))


def test_missing_test_csv_is_refused(world, refused):
    world.truth = {"readme.txt": b""}
    assert re.search(r"Test_GT.zip.* holds 0 files GT-final_test.csv", refused(world.write()))


def test_picture_without_a_row_is_refused(world, refused):
    world.edit(0, "00001_00001.ppm;20;22;5;5;15;17;0\r\n", "")
    assert re.search(rf"{CSV}: no row for 00001_00001.ppm \(1 of 4", refused(world.write()))


def test_test_picture_without_a_row_is_refused(world, refused):
    world.edit(None, "00001.ppm;20;22;5;5;15;17;1\r\n", "")
    assert re.search(r"GT-final_test.csv: no row for 00001.ppm", refused(world.write()))


def test_row_without_a_picture_is_refused(world, refused):
    del world.training[FIRST]
    assert re.search(rf"{CSV}, line 2: the picture '00000_00000.ppm' is not there", refused(world.write()))


def test_row_that_names_a_file_elsewhere_is_refused(world, refused):
    world.edit(0, "00000_00000.ppm", "../00001/00000_00000.ppm")
    assert f"{CSV}, line 2: the picture '../00001/00000_00000.ppm' is not there" in refused(world.write())


def test_duplicate_row_is_refused(world, refused):
    world.edit(0, "00000_00001.ppm", "00000_00000.ppm")
    assert re.search(rf"{CSV}, line 3: the picture '00000_00000.ppm' has a row already", refused(world.write()))


def test_wrong_header_is_refused(world, refused):
    world.edit(0, "Filename;Width;Height", "Filename;Height;Width")
    assert re.search(rf"{CSV}, line 1: the header is 'Filename;Height;Width", refused(world.write()))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0"])
def test_csv_that_is_not_text_is_refused(world, refused, content):
    world.training[CSV] = content
    assert f"{CSV} is not a text of rows" in refused(world.write())


def test_class_out_of_range_is_refused(world, refused):
    world.edit(None, ";15;17;1", ";15;17;43")
    assert re.search(r"GT-final_test.csv, line 3: ClassId is 43", refused(world.write()))


def test_class_of_another_folder_is_refused(world, refused):
    world.edit(0, ";15;17;0", ";15;17;1")
    assert f"{CSV}, line 2: ClassId is 1 in the folder of class 00000" in refused(world.write())


def test_training_picture_without_a_track_is_refused(world, refused):
    world.training[FIRST.replace("00000_00000", "sign")] = world.training.pop(FIRST)
    world.edit(0, "00000_00000.ppm", "sign.ppm")
    assert f"{CSV}, line 2: the name 'sign.ppm' is not <track>_<frame>.ppm" in refused(world.write())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "does not begin with a P6 header"),
        (b"P3\n1 1\n255\n0 0 0", "does not begin with a P6 header"),
        (b"P6\n20 22\n65535\n" + bytes(2640), "go to 65535"),
        (b"P6\n20 22\n255\n" + bytes(1319), "need 1320 bytes, it has 1319"),
        (b"P6\n99999 99999\n255\n", "need 29999400003 bytes, it has 0"),
        (b"P6\n0 0\n255\n", "is 0 x 0 pixels"),
    ],
)
def test_picture_that_does_not_decode_is_refused(world, refused, content, why):
    world.training[FIRST] = content
    message = refused(world.write())
    assert FIRST in message
    assert f"line 2 of {world.training_zip}: {CSV}" in message
    assert why in message


def test_picture_of_another_size_than_its_row_is_refused(world, refused, as_ppm):
    world.training[FIRST] = as_ppm(np.zeros((20, 22, 3), np.uint8))
    message = refused(world.write())
    assert f"{FIRST} is 22 x 20 pixels, line 2 of" in message
    assert "says 20 x 22" in message


def test_first_of_several_bad_pictures_is_told(world, refused):
    for member in list(world.training)[::-1]:
        if member.endswith(".ppm"):
            world.training[member] = b"no picture"
    assert FIRST in refused(world.write())


def test_picture_too_large_in_a_folder_is_refused(world, refused):
    world.training[FIRST] = b"\0" * (archive.MAX_FILE_BYTES + 1)
    assert re.search(rf"{FIRST} is larger than the 4194304 bytes", refused(world.unpack()))


def test_missing_archive_is_named(world, refused):
    world.write()
    (world.folder / "GTSRB_Final_Test_GT.zip").unlink()
    assert f"{world.folder} lacks GTSRB_Final_Test_GT.zip" in refused(world.folder)


def test_folder_without_pictures_is_refused(refused, tmp_path):
    assert f"{tmp_path} holds neither GTSRB_Final_Training_Images.zip" in refused(tmp_path)


def test_path_that_is_no_folder_is_refused(refused, tmp_path):
    assert f"{tmp_path / 'nowhere'} is not a folder" in refused(tmp_path / "nowhere")


def test_archives_without_pictures_are_refused(world, refused):
    world.training = {"readme.txt": b""}
    assert re.search(r"Training_Images.zip.* holds no training picture", refused(world.write()))


@pytest.mark.parametrize("offset", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_member_outside_of_the_archive_is_refused(world, refused, offset):
    world.write()
    patch_directory(world.training_zip, FIRST, 42, offset)
    assert "Training_Images.zip" in refused(world.folder)


def test_a_member_before_the_archive_is_refused(world, monkeypatch):
    world.write()
    members = zipfile.ZipFile.infolist

    def moved(self):
        found = members(self)
        found[0].header_offset = -1
        return found

    monkeypatch.setattr(zipfile.ZipFile, "infolist", moved)
    with pytest.raises(DataError, match="lies outside of the archive"):
        archive.ZipFiles(world.training_zip)


def test_a_link_that_leads_nowhere_is_named(world, refused):
    (world.unpack() / FIRST).unlink()
    (world.folder / FIRST).symlink_to("nowhere")
    assert re.search(rf"{FIRST} cannot be read .*: a link that leads nowhere", refused(world.folder))


@pytest.mark.timeout(20)
def test_a_fifo_among_the_pictures_does_not_block(world, refused):
    (world.unpack() / FIRST).unlink()
    os.mkfifo(world.folder / FIRST)
    assert f"{FIRST} is no regular file" in refused(world.folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"gtsrb": {"path": "\\u0000"}}'])
def test_a_damaged_register_is_one_sentence(home, content):
    home.data.mkdir(parents=True)
    (home.data / "sources.json").write_bytes(content)
    with pytest.raises(DataError, match=r"does not read; run `invoke data --from PATH` again"):
        data.prepare(Dataset(), [InputSize.square(32)], home, lambda done, total: None)
