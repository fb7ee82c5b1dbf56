"""Pictures of one's own: which files are of which set and class, and every fault said."""

import io
import os
import resource
import tarfile
import zipfile
import zlib

import cv2
import numpy as np
import pytest

from orchestrator import data
from orchestrator.data import fill, own
from orchestrator.data.decode import decode
from orchestrator.data.source import Reading
from orchestrator.dataset import Dataset
from orchestrator.errors import DataError
from orchestrator.networks import InputSize
from tests.unit.data.odd_pictures import CMYK, PALETTE, TURNED
from tests.unit.data.own_pictures import arrays, encoded, named, picture, prepared, registered, written


def packed(folder, path, mode="w:gz"):
    """An archive of all below `folder`, under one more folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, f"top/{file.relative_to(folder)}")
    else:
        with tarfile.open(path, mode) as archive:
            archive.add(folder, "top")
    return path


@pytest.fixture
def whole(tmp_path):
    """train, valid and test, of the classes a and b, three pictures each."""
    return written(tmp_path / "whole", named("train", "valid", "test"))


def test_folders_say_sets_and_classes(whole, home):
    found = registered(whole, home).own
    assert (found.classes, found.train, found.valid, found.test, found.notes) == (("a", "b"), 6, 6, 6, ())


def test_the_validation_folder_validates(whole, home):
    registered(whole, home)
    entry = prepared(home)
    split = data.split(entry, Dataset(name="mine"))
    assert (split.train.tolist(), split.valid.tolist()) == ([*range(6)], [*range(6, 12)])
    assert "As the set has it" in split.note


def test_pictures_are_ordered_as_imagefolder_has_them(tmp_path, home):
    names = ["B/2.png", "B/10.png", "B/deep/0.png", "B/deep-er/0.png", "a/1.PNG", "a/é.png", "10/1.png", "9/1.png"]
    registered(written(tmp_path / "set", [f"{part}/{name}" for part in ("train", "test") for name in names]), home)
    kind = data.datasets.named("mine", home)
    with kind.origin(Dataset(name="mine"), home).locate().open() as sets:
        files = [name.removeprefix("train/") for name in sets.train._rows.files]
    assert files == [
        "10/1.png",
        "9/1.png",
        "B/10.png",
        "B/2.png",
        "B/deep/0.png",
        "B/deep-er/0.png",
        "a/1.PNG",
        "a/é.png",
    ]
    assert data.datasets.classes(Dataset(name="mine"), home) == ("10", "9", "B", "a")


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz", "set.tgz", "set.tar"])
def test_an_archive_gives_the_pictures_of_its_folder(whole, home, tmp_path, name):
    registered(whole, home)
    expected = arrays(prepared(home))
    path = packed(whole, tmp_path / name, "w" if name.endswith("tar") else "w:gz")
    registered(path, home)
    found = arrays(prepared(home))
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert not [left for left in home.data.iterdir() if left.name.startswith(("tmp", ".draft"))]


def test_one_folder_of_classes_is_split_by_class(tmp_path, home):
    found = registered(written(tmp_path / "set", named("", count=10)), home).own
    assert (found.train, found.test) == (16, 4)
    assert "it has no test pictures of its own: 4 pictures of all classes were drawn, always the same" in found.notes
    labels = arrays(prepared(home))["test_y"]
    assert labels.tolist() == [0, 0, 1, 1]


def test_objects_stay_together(tmp_path, home):
    names = [f"{label}/{sign}_{frame}.png" for label in "ab" for sign in ("x", "y", "z", "w") for frame in range(5)]
    registered(written(tmp_path / "set", names), home, group=r"(\w+)_\d+", test_share=0.25)
    kind = data.datasets.named("mine", home)
    with kind.origin(Dataset(name="mine"), home).locate().open() as sets:
        objects = [{name.rpartition("_")[0] for name in part._rows.files} for part in (sets.train, sets.test)]
    assert not objects[0] & objects[1]
    assert len(objects[1]) == 2
    split = data.split(prepared(home), Dataset(name="mine"))
    assert "none of them is trained on" in split.note


def test_a_group_that_finds_nothing_is_said(tmp_path, home):
    with pytest.raises(DataError, match=r"--group finds nothing in the name a/0.png"):
        registered(written(tmp_path / "set", named("")), home, group="sign")


def test_a_broken_picture_is_named_and_left_out(whole, home):
    (whole / "train/a/0.png").write_bytes(b"")
    (whole / "train/b/1.png").write_bytes((whole / "train/b/1.png").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"2 pictures that cannot be read: train/a/0.png: it is empty; train/b/1.png"):
        registered(whole, home)
    found = registered(whole, home, skips_broken=True).own
    assert (found.train, [fault.name for fault in found.faults]) == (4, ["train/a/0.png", "train/b/1.png"])
    assert len(arrays(prepared(home))["train_y"]) == 10


def test_lopsided_classes_are_said(whole, home):
    written(whole, ["train/only/0.png"])
    (whole / "train/empty").mkdir()
    notes = registered(whole, home).own.notes
    assert "the class empty has no picture" in notes
    assert "the class only has pictures to train only, none to valid, test" in notes


def test_a_class_of_one_picture_only_trains(tmp_path, home):
    found = registered(written(tmp_path / "set", [*named("", count=4), "c/0.png"]), home).own
    assert "the class c has pictures to train only, none to test" in found.notes


def test_one_content_in_train_and_test_is_said(whole, home):
    (whole / "test/b/2.png").write_bytes((whole / "train/a/1.png").read_bytes())
    (note,) = registered(whole, home).own.notes
    assert note.startswith("the same content is in 1 test picture and in one to train or validate")


def test_pictures_outside_of_classes_are_said(whole, home):
    written(whole, ["train/stray.png", "extra/a/0.png"])
    notes = registered(whole, home).own.notes
    assert "in no folder of a class: 1 picture, train/stray.png among them, left out" in notes
    assert any(note.startswith("the folder extra with 1 picture is no train, valid or test") for note in notes)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no picture"),
        (["train/a/0.png", "test/a/0.png"], "has pictures of 1 class"),
        (
            [*named("train"), *named("val"), *named("valid"), *named("test")],
            "val and valid, which both mean the valid set",
        ),
        (["a/0.png", "b/0.png"], "leaves 2 pictures to train and 0 to test"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path, home, names, words):
    folder = tmp_path / "set"
    folder.mkdir()
    with pytest.raises(DataError, match=words):
        registered(written(folder, names), home)


def test_a_changed_folder_is_read_again(whole, home):
    before = registered(whole, home)
    written(whole, ["train/a/new.png"])
    assert prepared(home).train_pictures == 13
    assert data.recorded("mine", home).sha256 != before.sha256


def test_prepared_pictures_outlive_the_folder(whole, home):
    registered(whole, home)
    first = prepared(home)
    whole.rename(whole.with_name("away"))
    again = prepared(home)
    assert (again.path, again.is_new) == (first.path, False)
    with pytest.raises(DataError, match=r"whole is neither a folder nor an archive"):
        prepared(home, size=16)


def test_an_unknown_name_lists_the_known_ones(whole, home):
    registered(whole, home)
    with pytest.raises(DataError, match=r"no data set 'mine2'. Known: .*gtsrb.*mine. Did you mean 'mine'\?"):
        data.prepare(Dataset(name="mine2"), [InputSize.square(8)], home, lambda done, total: None)


def test_links_and_devices_are_no_pictures(whole, home, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(picture(99)))
    (whole / "train/a/out.png").symlink_to(secret)
    (whole / "train/a/inside.png").symlink_to("0.png")
    (whole / "train/b/folder").symlink_to(tmp_path)
    os.mkfifo(whole / "train/b/pipe.png")
    with pytest.raises(DataError, match="3 pictures that cannot be read"):
        registered(whole, home)
    found = registered(whole, home, skips_broken=True).own
    assert {fault.name: fault.reason for fault in found.faults} == {
        "train/a/out.png": "a link that leads out of the folder",
        "train/b/folder": "a link to a folder",
        "train/b/pipe.png": "a device, socket or FIFO, not a file",
    }
    assert found.train == 7


def test_a_name_that_is_no_text_is_said(whole, home):
    (whole / "train/a" / os.fsdecode(b"\xff.png")).write_bytes(encoded(picture(5)))
    found = registered(whole, home, skips_broken=True).own
    assert [(fault.name, fault.reason) for fault in found.faults] == [("train/a/\\xff.png", "its name is not UTF-8")]


def test_a_tar_that_leads_out_is_refused(home, tmp_path):
    path = tmp_path / "set.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("../../evil.png")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    with pytest.raises(DataError, match=r"the name '../../evil.png' leads out of the archive"):
        registered(path, home)
    assert not list(tmp_path.parent.rglob("evil.png"))


def test_a_link_in_a_tar_is_no_picture(whole, home, tmp_path):
    (whole / "train/a/9.png").symlink_to("/etc/passwd")
    path = packed(whole, tmp_path / "set.tar.gz")
    found = registered(path, home, skips_broken=True).own
    assert [(fault.name, fault.reason) for fault in found.faults] == [
        ("top/train/a/9.png", "it is a link or a device, not a file")
    ]


def test_a_tar_that_unpacks_without_end_is_refused(home, tmp_path):
    path = tmp_path / "set.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("train/a/0.png")
        info.size = 40_000_000
        archive.addfile(info, io.BytesIO(b"\0" * info.size))
    with pytest.raises(DataError, match="unpacks to more than"):
        registered(path, home)


def test_a_bomb_is_one_broken_picture(whole, home):
    header = encoded(np.zeros((16, 16, 3), np.uint8))
    width = (30_000).to_bytes(4, "big")
    body = bytearray(header)
    body[16:20] = body[20:24] = width
    body[29:33] = zlib.crc32(bytes(body[12:29])).to_bytes(4, "big")
    (whole / "train/a/bomb.png").write_bytes(bytes(body))
    found = registered(whole, home, skips_broken=True).own
    assert [fault.name for fault in found.faults] == ["train/a/bomb.png"]
    assert "pixels" in found.faults[0].reason


def test_a_chunk_of_gigabytes_takes_no_memory():
    content = bytearray(encoded(picture(0)))
    at = content.index(b"IDAT") - 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="cut short"):
        decode(bytes(content))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_hostile_class_names_are_kept_as_text(tmp_path, home):
    labels = ["<script>alert(1)<", "日本語", "=1+1", "a b'\";--", "\u202eevil"]
    names = [f"{label}/{number}.png" for label in labels for number in range(3)]
    found = registered(written(tmp_path / "set", names), home).own
    assert found.classes == tuple(sorted(labels))
    assert prepared(home).classes == found.classes


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".ppm", ".bmp", ".webp", ".tiff"])
def test_every_format_is_read(tmp_path, home, suffix):
    names = [f"{label}/{number}{suffix}" for label in "ab" for number in range(3)]
    registered(written(tmp_path / "set", names), home)
    assert prepared(home).train_pictures == 4


def test_odd_pixels_become_colours(tmp_path):
    rgb = picture(1)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    alpha = np.dstack([rgb[..., ::-1], np.full(rgb.shape[:2], 7, np.uint8)])
    deep = rgb[..., ::-1].astype(np.uint16) * 256 + 200
    assert np.array_equal(decode(encoded(grey)), np.dstack([grey] * 3))
    assert np.array_equal(decode(cv2.imencode(".png", alpha)[1].tobytes()), rgb)
    assert np.array_equal(decode(cv2.imencode(".png", deep)[1].tobytes()), rgb)


@pytest.mark.parametrize("content", [CMYK, PALETTE])
def test_cmyk_and_palettes_become_rgb(content):
    rgb = decode(content).astype(int)
    assert rgb.shape == (8, 16, 3)
    assert np.abs(rgb[:, :4] - (200, 30, 30)).max() <= 6
    assert np.abs(rgb[:, -4:] - (30, 30, 200)).max() <= 6


def test_a_picture_is_turned_as_its_exif_says():
    rgb = decode(TURNED).astype(int)
    assert rgb.shape == (16, 8, 3)
    assert np.abs(rgb[:4] - (200, 30, 30)).max() <= 6
    assert np.abs(rgb[-4:] - (30, 30, 200)).max() <= 6


@pytest.mark.parametrize("size", [InputSize(1, 8, 8), InputSize(3, 48, 96)])
def test_any_size_and_one_channel_are_prepared(whole, home, size):
    registered(whole, home)
    assert arrays(prepared(home, size=size))["train_x"].shape == (12, *size)


def test_a_group_keeps_a_validation_folder(whole, home):
    registered(whole, home, group=r"\d+")
    assert len(data.split(prepared(home), Dataset(name="mine")).valid) == 6


def test_a_set_that_is_drawn_takes_no_folder(whole, home):
    with pytest.raises(DataError, match="the pictures of 'synthetic' are drawn by waymark"):
        data.register("synthetic", whole, home, Reading())


def test_a_stopped_preparation_goes_on_where_it_was(tmp_path, home, monkeypatch):
    monkeypatch.setattr(fill, "BLOCK", 4)
    registered(written(tmp_path / "set", named("", count=30)), home)
    expected = arrays(prepared(home, split_seed=1, fraction=1.0))

    def stop(done, total):
        if done >= 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.prepare(Dataset(name="mine"), [InputSize.square(8)], home, stop)
    (part,) = home.data.glob(".part-*")
    done = np.fromfile(part / "blocks.log", "<i4")
    assert len(done) >= 6
    seen = []
    monkeypatch.setattr(fill, "_fill_block", lambda *job, real=fill._fill_block: seen.append(job[1]) or real(*job))
    found = arrays(prepared(home))
    assert len(seen) == 15 - len(done)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert not list(home.data.glob(".part-*"))


def test_an_old_part_is_removed(tmp_path, home):
    registered(written(tmp_path / "set", named("")), home)
    (home.data / ".part-old").mkdir()
    os.utime(home.data / ".part-old", (0, 0))
    (home.data / ".part-new").mkdir()
    prepared(home)
    assert [path.name for path in home.data.glob(".part-*")] == [".part-new"]


def test_a_folder_of_something_else_is_refused_at_once(tmp_path, home, monkeypatch):
    monkeypatch.setattr(own, "MOST_FAULTS", 100)
    monkeypatch.setattr(own, "_BLOCK", 10)
    for number in range(1000):
        path = tmp_path / "set" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(DataError, match=r"more than 100 pictures that cannot be read, a/0.png among them .*empty"):
        registered(tmp_path / "set", home, skips_broken=True)


def test_too_many_classes_are_refused(tmp_path, home, monkeypatch):
    monkeypatch.setattr(own, "MOST_CLASSES", 3)
    with pytest.raises(DataError, match="has pictures of 4 classes; at most 3 are read"):
        registered(written(tmp_path / "set", named("", classes="abcd")), home)
