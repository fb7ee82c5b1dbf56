"""Tables of pictures: Kaggle's and GTSRB's columns, and what users' editors make of them."""

import zipfile

import cv2
import numpy as np
import pytest

from orchestrator import data
from orchestrator.data.ppm import decode_ppm
from orchestrator.dataset import Dataset
from orchestrator.errors import DataError
from orchestrator.networks import InputSize
from tests.unit.data.own_pictures import arrays, named, prepared, registered, written

TRAINING = "GTSRB/Final_Training/Images"
KAGGLE = "Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path"


def as_png(ppm):
    return cv2.imencode(".png", decode_ppm(ppm)[..., ::-1])[1].tobytes()


def as_kaggle(world, folder):
    """The pictures of `world` as PNG with Train.csv and Test.csv, as Kaggle has GTSRB."""
    tables = {"Train": [KAGGLE], "Test": [KAGGLE]}
    for set_, members, texts in (("Train", world.training, world.training), ("Test", world.test, world.truth)):
        for name, content in members.items():
            if name.endswith(".ppm"):
                label, file = name.split("/")[-2:]
                path = f"Train/{int(label)}/{label}_{file}" if set_ == "Train" else f"Test/{file}"
                written_to = folder / path.replace(".ppm", ".png")
                written_to.parent.mkdir(parents=True, exist_ok=True)
                written_to.write_bytes(as_png(content))
        for name, text in texts.items():
            if name.endswith(".csv"):
                for row in text.decode().split()[1:]:
                    file, *numbers, label = row.split(";")
                    path = f"Train/{label}/{int(label):05d}_{file}" if set_ == "Train" else f"Test/{file}"
                    tables[set_].insert(1, ",".join([*numbers, label, path.replace(".ppm", ".png")]))
    for set_, rows in tables.items():
        (folder / f"{set_}.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_kaggles_gtsrb_gives_the_arrays_of_the_archives(world, home, tmp_path):
    data.register("gtsrb", world.write(), home)
    official = data.prepare(Dataset(), [InputSize.square(32)], home, lambda done, total: None)[InputSize.square(32)]
    registered(as_kaggle(world, tmp_path / "kaggle"), home)
    expected, found = arrays(official), arrays(prepared(home, size=32))
    for name in ("train_x", "train_y", "test_x", "test_y"):
        assert np.array_equal(expected[name], found[name])


def table(folder, text, name="labels.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


@pytest.fixture
def flat(tmp_path):
    """Ten pictures without folders of classes."""
    return written(tmp_path / "flat", [f"p/{number}.png" for number in range(10)])


def rows(end="\n", between=",", path="p/{}.png", head="path,class"):
    lines = [head, *(f"{path.format(number)},{'ab'[number % 2]}" for number in range(10))]
    return end.join(lines).replace(",", between) + end


@pytest.mark.parametrize(
    "text",
    [
        rows(),
        rows(end="\r\n"),
        rows(between=";"),
        b"\xef\xbb\xbf" + rows().encode(),
        rows(path="p\\{}.png"),
        rows(path="./p/{}.png"),
        rows(path='"p/{}.png"'),
        rows(head="Filename,ClassId"),
        rows(path="P/{}.PNG"),
    ],
    ids=["plain", "CRLF", "semicolons", "BOM", "backslashes", "dot-slash", "quotes", "GTSRB's names", "other case"],
)
def test_a_table_is_read_in_any_form(flat, home, text):
    own = registered(table(flat, text), home).own
    assert (own.classes, own.train, own.test) == (("a", "b"), 8, 2)


def test_the_only_table_is_taken_where_folders_say_nothing(flat, home, tmp_path):
    table(flat, rows())
    assert registered(flat, home).own.classes == ("a", "b")
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        for file in sorted(flat.rglob("*.*")):
            archive.write(file, f"top/{file.relative_to(flat)}")
    assert registered(tmp_path / "flat.zip", home).own.classes == ("a", "b")


def test_classes_that_are_numbers_are_ordered_as_numbers(flat, home):
    text = "path,class\n" + "".join(f"p/{number}.png,{(10, 9)[number % 2]}\n" for number in range(10))
    assert registered(table(flat, text), home).own.classes == ("9", "10")


@pytest.mark.parametrize("label", ["9" * 5000, "x" * 201])
def test_a_class_of_a_name_without_end_is_said(flat, home, label):
    text = "path,class\n" + "".join(f"p/{number}.png,{(label, 1, 2)[number % 3]}\n" for number in range(10))
    with pytest.raises(DataError, match=r"line 2: its class has .* characters; at most 200 are read"):
        registered(table(flat, text), home)


def test_numbers_with_zeros_in_front_are_classes_of_their_own(flat, home):
    text = "path,class\n" + "".join(f"p/{number}.png,{('01', '1', '2')[number % 3]}\n" for number in range(10))
    assert registered(table(flat, text), home).own.classes == ("01", "1", "2")


def test_a_column_may_say_the_set(flat, home):
    sets = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    text = "path,label,split\n" + "".join(f"p/{number}.png,{number % 2},{sets[number]}\n" for number in range(10))
    own = registered(table(flat, text), home).own
    assert (own.train, own.valid, own.test) == (6, 2, 2)


def test_a_box_cuts_the_picture(flat, home):
    text = "path,class,x1,y1,x2,y2\n" + "".join(f"p/{n}.png,{n % 2},2,3,6,11\n" for n in range(10))
    registered(table(flat, text), home)
    kind = data.datasets.named("mine", home)
    with kind.origin(Dataset(name="mine"), home).locate().open() as sets:
        assert sets.train.sign(0).shape == (8, 4, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file;kind\nx;y\n", "line 1: the columns are file, kind; it needs one of path"),
        ("", "line 1: the columns are"),
        (b"path,class\n\xff,a\n", "labels.csv is not UTF-8"),
        ("path,class\np/0.png\n", "line 2 has 1 columns"),
        (
            "path,class\n../../etc/x.png,a\n",
            "lists no picture to train on. The first fault: .*line 2: the picture ../../",
        ),
        (rows() + "p/99.png,a\n", "line 12: the picture p/99.png: is not there"),
        (rows() + "p/1.png,\n", "line 12: it names no class"),
        ("path,class,x1,y1,x2,y2\n" + "p/1.png,a,5,5,2,9\n" * 2, "its box is not four whole numbers"),
    ],
)
def test_a_table_that_is_wrong_says_where(flat, home, text, words):
    with pytest.raises(DataError, match=words):
        registered(table(flat, text), home)


def test_a_box_outside_of_its_picture_is_said(flat, home):
    text = "path,class,x1,y1,x2,y2\n" + "".join(f"p/{n}.png,{n % 2},0,0,{60 if n == 3 else 9},9\n" for n in range(10))
    with pytest.raises(DataError, match=r"p/3.png: its box ends at 60, 9, and it has 10 x 12 pixels"):
        registered(table(flat, text), home)


def test_rows_that_are_wrong_are_left_out_when_asked(flat, home):
    own = registered(table(flat, rows() + "p/99.png,a\n"), home, skips_broken=True).own
    assert (own.train + own.test, len(own.faults)) == (10, 1)


def test_a_table_of_another_name_says_no_sets(tmp_path, home):
    folder = written(tmp_path / "set", named("train", "test"))
    table(folder, "path,class\nnowhere.png,a\n", "meta.csv")
    assert registered(folder, home).own.train == 6
