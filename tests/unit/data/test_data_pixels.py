import cv2
import numpy as np
import pytest

from orchestrator.data.pixels import Preparer
from orchestrator.dataset import Dataset
from orchestrator.networks import InputSize


@pytest.fixture
def signs():
    rng = np.random.RandomState(0)
    shapes = [(15, 15), (48, 47), (49, 60), (200, 190), (64, 64)]
    return [rng.randint(0, 256, (*shape, 3)).astype(np.uint8) for shape in shapes]


def bare(sign, size, clahe):
    """The same, for one sign and with OpenCV alone."""
    how = cv2.INTER_AREA if min(sign.shape[:2]) >= size else cv2.INTER_LINEAR
    bgr = cv2.resize(np.ascontiguousarray(sign[:, :, ::-1]), (size, size), interpolation=how)
    if clahe:
        y, cr, cb = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb))
        y = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4)).apply(y)
        bgr = cv2.cvtColor(cv2.merge([y, cr, cb]), cv2.COLOR_YCrCb2BGR)
    return bgr.transpose(2, 0, 1)


@pytest.mark.parametrize("size", [32, 48, 64])
@pytest.mark.parametrize("clahe", [True, False])
def test_block_is_what_opencv_gives_for_each_picture(signs, size, clahe):
    expected = np.stack([bare(sign, size, clahe) for sign in signs])
    assert np.array_equal(Preparer(InputSize.square(size), Dataset(clahe=clahe), capacity=9).prepare(signs), expected)


def test_planes_are_in_the_order_bgr():
    red = np.zeros((40, 40, 3), np.uint8)
    red[:, :, 0] = 200
    assert Preparer(InputSize.square(32), Dataset(filters=()), capacity=1).prepare([red])[0, :, 0, 0].tolist() == [
        0,
        0,
        200,
    ]


def test_clahe_raises_the_contrast_of_a_dark_picture(signs):
    dark = [sign // 8 for sign in signs]
    size = InputSize.square(32)
    equalised, plain = (Preparer(size, Dataset(clahe=clahe), capacity=5).prepare(dark).std() for clahe in (True, False))
    assert equalised > 1.5 * plain


def test_blocks_do_not_leak_into_each_other(signs):
    preparer = Preparer(InputSize.square(32), Dataset(), capacity=5)
    alone = preparer.prepare(signs[3:4]).copy()
    preparer.prepare(signs)
    assert np.array_equal(preparer.prepare(signs[3:4]), alone)


@pytest.mark.parametrize("clahe", [True, False])
def test_a_grey_picture_is_the_luminance_of_the_prepared_one(signs, clahe):
    grey = Preparer(InputSize(1, 24, 40), Dataset(clahe=clahe), capacity=5).prepare(signs).astype(int)
    blue, green, red = (
        Preparer(InputSize(3, 24, 40), Dataset(clahe=clahe), capacity=5)
        .prepare(signs)
        .astype(float)
        .transpose(1, 0, 2, 3)
    )
    assert grey.shape == (len(signs), 1, 24, 40)
    assert np.abs(grey[:, 0] - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 1


def test_a_picture_that_is_not_square_is_stretched(signs):
    size = InputSize(3, 20, 44)
    prepared = Preparer(size, Dataset(filters=()), capacity=5).prepare(signs[:1])
    expected = cv2.resize(signs[0], (44, 20), interpolation=cv2.INTER_LINEAR)
    assert prepared[0].transpose(1, 2, 0)[:, :, ::-1].tolist() == expected.tolist()
