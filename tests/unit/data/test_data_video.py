"""Frames, the regions in them, and a drawn video whose signs are known."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from orchestrator.data import video
from orchestrator.data.labels import SIGNS
from orchestrator.data.signs import DRAWINGS
from orchestrator.errors import DataError

COLOURLESS = {6, 32, 41, 42}
"""Signs that are grey all over: no proposal by colour finds them."""


def written(path, frames, rate=10.0):
    writer = video.Writer(path, rate, video.WIDTH, video.HEIGHT)
    for frame in frames:
        writer.write(frame)
    writer.close()
    return path


@pytest.fixture
def short(tmp_path):
    """A drawn video of 12 frames."""
    return written(tmp_path / "short.avi", [frame for frame, _ in video.drawn_frames(1.2, 10.0, 0)])


def test_each_sign_has_a_name():
    assert len(SIGNS) == len(set(SIGNS)) == len(DRAWINGS)


def test_a_video_gives_each_frame_once_at_its_time(short):
    source = video.Source(str(short), 30.0)
    due = list(iter(source.grab, None))
    assert (source.frames_per_second, source.expected, source.taken) == (10.0, 12, 12)
    assert due == pytest.approx([number / 10 for number in range(12)], abs=1e-3)


def test_a_picture_is_of_the_frame_that_was_grabbed_last(short):
    drawn = [frame for frame, _ in video.drawn_frames(1.2, 10.0, 0)]
    source = video.Source(str(short), 30.0)
    for _ in range(3):
        source.grab()
    off = [np.abs(source.picture().astype(float) - frame).mean() for frame in drawn]
    assert min(range(12), key=off.__getitem__) == 2


def test_a_folder_of_pictures_is_a_source(tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((48, 64, 3), np.uint8))
    source = video.Source(str(tmp_path), 5.0)
    assert list(iter(source.grab, None)) == [0.0, 0.2]


def test_a_picture_that_does_not_read_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    source = video.Source(str(tmp_path), 5.0)
    source.grab()
    with pytest.raises(DataError, match=r"a\.png does not read as a picture"):
        source.picture()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.mp4", None, "is no file"),
        ("empty.mp4", b"", "does not read as a video"),
        ("text.mp4", b"x" * 999, "does not"),
    ],
    ids=["gone", "empty", "text"],
)
def test_what_is_no_video_is_refused_in_a_sentence(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        video.Source(str(tmp_path / name), 30.0)


@pytest.mark.parametrize("name", ["\u00b2", "\u0663", "99999999999999999999", "-1", "\0"])
def test_what_names_no_camera_is_refused_in_a_sentence(name):
    with pytest.raises(DataError, match=r"is no file, folder or number of a camera"):
        video.Source(name, 30.0)


def test_a_picture_that_promises_gigabytes_is_refused(tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    for side in (9_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        with pytest.raises(cv2.error, match="MAX_IMAGE_PIXELS"):
            cv2.imread(str(tmp_path / "a.png"))
        source = video.Source(str(tmp_path), 5.0)
        source.grab()
        with pytest.raises(DataError, match=r"a\.png does not read as a picture"):
            source.picture()


def test_a_fifo_among_pictures_is_left_out(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((48, 64, 3), np.uint8))
    assert video.Source(str(tmp_path), 5.0).expected == 1


def test_a_video_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot be written as a video; name a file that ends in \.mp4 or \.avi"):
        video.Writer(tmp_path / "nowhere" / "seen.mp4", 10.0, 64, 48)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no picture"):
        video.Source(str(tmp_path), 30.0)


def test_a_video_that_is_cut_short_ends_early(short, tmp_path):
    cut = tmp_path / "cut.avi"
    cut.write_bytes(short.read_bytes()[: short.stat().st_size // 2])
    try:
        source = video.Source(str(cut), 30.0)
    except DataError:
        return  # it is not read at all, and said so
    assert len(list(iter(source.grab, None))) < 12


def test_regions_find_nine_of_ten_signs_that_have_a_colour():
    there = found = 0
    for frame, signs in video.drawn_frames(20, 5.0, 0):
        boxes = video.regions(frame)
        coloured = [sign for sign in signs if sign.label not in COLOURLESS]
        there += len(coloured)
        found += sum(any(video.overlap(box, sign.box) >= 0.5 for box in boxes) for sign in coloured)
    assert there > 100
    assert found / there > 0.9


def test_regions_are_few_and_inside_the_frame():
    for frame, _ in video.drawn_frames(2, 5.0, 1):
        boxes = video.regions(frame)
        assert len(boxes) <= video.MOST_REGIONS
        assert all(min(x, y) >= 0 and x + w <= video.WIDTH and y + h <= video.HEIGHT for x, y, w, h in boxes)


def test_a_label_at_the_right_edge_is_whole():
    frame = np.zeros((480, 640, 3), np.uint8)
    there = (video.drawn_on(frame, [((left, 200, 40, 40), "ahead or right 100 %")], "") for left in (100, 598))
    white, at_the_edge = ((shown == 255).all(axis=2).sum() for shown in there)
    assert white == at_the_edge > 50


def test_a_plain_frame_has_no_region():
    assert video.regions(np.full((480, 640, 3), 128, np.uint8)) == []


def test_a_drawn_video_is_the_same_each_time():
    first, again = (list(video.drawn_frames(0.5, 10.0, 3)) for _ in range(2))
    assert all((one[0] == other[0]).all() and one[1] == other[1] for one, other in zip(first, again, strict=True))


def test_a_sign_comes_nearer_from_frame_to_frame():
    sides = [signs[0].box[2] for _, signs in video.drawn_frames(1.0, 10.0, 0)]
    assert sides == sorted(sides)
    assert sides[-1] > 2 * sides[0]


def test_overlap_is_a_share_of_both():
    assert video.overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1.0
    assert video.overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert video.overlap((0, 0, 10, 10), (20, 0, 10, 10)) == 0.0


def test_numbers_in_the_names_of_frames_are_compared_as_numbers(tmp_path):
    for name in ("frame10.png", "frame2.png", "frame1.png", "._frame1.png"):
        cv2.imwrite(str(tmp_path / name.lstrip("._")), np.zeros((48, 64, 3), np.uint8))
        (tmp_path / name).touch()
    source = video.Source(str(tmp_path), 5.0)
    assert [path.name for path in source._pictures] == ["frame1.png", "frame2.png", "frame10.png"]


def test_frames_of_another_size_are_fitted_and_counted(tmp_path):
    writer = video.Writer(tmp_path / "mixed.avi", 5.0, 64, 48)
    for height, width in ((48, 64), (64, 48), (48, 64)):
        writer.write(np.full((height, width, 3), 200, np.uint8))
    writer.close()
    source = video.Source(str(tmp_path / "mixed.avi"), 5.0)
    assert (len(list(iter(source.grab, None))), writer.fitted) == (3, 1)
