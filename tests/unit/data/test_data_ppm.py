import cv2
import numpy as np
import pytest

from orchestrator.data.ppm import decode_ppm


@pytest.fixture
def picture():
    """30 x 20 pixels, 10 (LF) and 13 (CR) among them, side by side too."""
    pixels = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)
    pixels[3, 3], pixels[4, 4], pixels[5, 5] = (10, 10, 10), (13, 10, 13), (1, 13, 10)
    return pixels


def test_plain_picture_decodes_as_opencv_does(picture, as_ppm):
    content = as_ppm(picture)
    assert np.array_equal(decode_ppm(content)[:, :, ::-1], cv2.imdecode(np.frombuffer(content, np.uint8), 1))


def test_header_in_crlf_does_not_shift_the_colours(picture, as_ppm):
    assert np.array_equal(decode_ppm(as_ppm(picture, b"\r\n")), picture)


def test_text_mode_is_taken_back(picture, as_ppm):
    assert np.array_equal(decode_ppm(as_ppm(picture).replace(b"\n", b"\r\n")), picture)


def test_comments_in_the_header_are_skipped(picture, as_ppm):
    content = as_ppm(picture).replace(b"P6\n", b"P6\n# a sign, 1 2 3\n", 1)
    assert np.array_equal(decode_ppm(content), picture)


def test_text_mode_that_does_not_add_up_is_no_picture(picture, as_ppm):
    with pytest.raises(ValueError, match="need 1800 bytes"):
        decode_ppm(as_ppm(picture).replace(b"\n", b"\r\n") + b"\n\n")
