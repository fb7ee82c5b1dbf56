"""Filters of pictures, by name: each is applied to a picture that has its size already, RGB with 8 bits a channel.

A chain goes from left to right. A colour space stands last, since other filters take RGB; features (HOG, hue, Haar)
stand last, too, and give a map of numbers in place of a picture, as in the three representations that GTSRB ships.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.data.ppm import Pixels
from orchestrator.errors import did_you_mean
from orchestrator.networks import InputSize
from orchestrator.networks.features import HAAR_KERNELS, HOG_CELL, MAPS

CLIP_LIMIT = 2.0
TILES = (4, 4)
GAMMA = 1.5
HOG_DIRECTIONS = 9
HOG_RANGE = 0.5
"""What a HOG value is divided by; larger ones, of blocks with a single edge, are cut."""

HAAR_PARTS = 16
"""Sides of pictures for Haar features are multiples of it: windows are a quarter of a side, cut into quarters."""


@dataclass(frozen=True)
class Filter:
    """One filter.

    make:   gives the function that does it, for one thread: RGB (height, width, 3) to uint8 of the same shape, or to
            the map of features (1, height, width); of the kind 'luminance', that alone, (height, width) to the same.
    about:  what it does, with its parameters; they are part of the name of prepared pictures.
    kind:   'picture'; 'luminance'; 'space', whose channels are no RGB any more; or 'features'.
    needs:  why a picture of that size cannot be taken, or ''.
    """

    make: Callable[[], Callable[[Pixels], Pixels]]
    about: str
    kind: Literal["picture", "luminance", "space", "features"] = "picture"
    needs: Callable[[InputSize], str] = lambda size: ""


def fault(filters: Sequence[str], size: InputSize) -> str:
    """Why this chain cannot be applied to pictures of that size, as a sentence; '' if it can."""
    for at, name in enumerate(filters):
        if name not in FILTERS:
            return f"'{name}' is no filter. Known: {', '.join(sorted(FILTERS))}.{did_you_mean(name, FILTERS)}"
        filter_ = FILTERS[name]
        if filter_.kind in ("space", "features") and at < len(filters) - 1:
            return f"'{name}' gives no RGB picture, so it stands last; here {filters[at + 1]} follows."
        if filter_.kind == "space" and size.channels == 1:
            return f"'{name}' gives three channels, and pictures of {size.pixels} have one."
        if needs := filter_.needs(size):
            return f"'{name}' needs {needs}; they are {size.pixels}."
    return ""


def _bytes(values: NDArray[Any]) -> Pixels:
    """Rounded, and cut to 0 to 255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _clahe() -> Callable[[Pixels], Pixels]:
    equaliser = cv2.createCLAHE(CLIP_LIMIT, TILES)
    return lambda luminance: np.asarray(equaliser.apply(luminance), np.uint8)


def _equalise(luminance: Pixels) -> Pixels:
    return np.asarray(cv2.equalizeHist(luminance), np.uint8)


def _grey(rgb: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def _to(code: int) -> Callable[[], Callable[[Pixels], Pixels]]:
    return lambda: lambda rgb: np.asarray(cv2.cvtColor(rgb, code), np.uint8)


def _min_max(rgb: Pixels) -> Pixels:
    return np.asarray(cv2.normalize(rgb, np.empty_like(rgb), 0, 255, cv2.NORM_MINMAX), np.uint8)


def _standardise(rgb: Pixels) -> Pixels:
    deviation = max(float(rgb.std()), 1.0)
    return _bytes((rgb - rgb.mean()) * (42.5 / deviation) + 127.5)


def _unsharp(rgb: Pixels) -> Pixels:
    return np.asarray(cv2.addWeighted(rgb, 2.0, cv2.GaussianBlur(rgb, (0, 0), 1.0), -1.0, 0), np.uint8)


def _bilateral(rgb: Pixels) -> Pixels:
    return np.asarray(cv2.bilateralFilter(rgb, 5, 50, 50), np.uint8)


def _nl_means(rgb: Pixels) -> Pixels:
    return np.asarray(cv2.fastNlMeansDenoisingColored(rgb, None, 5, 5, 5, 11), np.uint8)


def _gamma() -> Callable[[Pixels], Pixels]:
    table = np.rint(255 * (np.arange(256) / 255) ** (1 / GAMMA)).astype(np.uint8)
    return lambda rgb: np.asarray(cv2.LUT(rgb, table), np.uint8)


def _local_contrast(luminance: Pixels) -> Pixels:
    level = luminance.astype(np.float32)
    sigma = max(luminance.shape) / 8
    mean = cv2.GaussianBlur(level, (0, 0), sigma)
    deviation = cv2.sqrt(np.maximum(cv2.GaussianBlur(level * level, (0, 0), sigma) - mean * mean, 0))
    return _bytes((level - mean) / (deviation + 4) * 42.5 + 127.5)


def _hog(rgb: Pixels) -> Pixels:
    """Histograms of oriented gradients of the luminance, as Dalal and Triggs 2005 found them best for R-HOG.

    Of each cell 9 unsigned directions, a gradient shared between the two nearest; blocks of 2 x 2 cells at each cell,
    their norm cut at 0.2 (L2-Hys). OpenCV 5 has no HOGDescriptor any more.
    """
    level = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    right, down = (cv2.filter2D(level, -1, kernel, borderType=cv2.BORDER_REPLICATE) for kernel in _GRADIENTS)
    length, angle = cv2.cartToPolar(right, down, angleInDegrees=True)
    place = (angle % 180) * (HOG_DIRECTIONS / 180) - 0.5
    lower = np.floor(place).astype(np.int64)
    share = place - lower
    rows, columns = level.shape[0] // HOG_CELL, level.shape[1] // HOG_CELL
    cell = np.arange(rows).repeat(HOG_CELL)[:, None] * columns + np.arange(columns).repeat(HOG_CELL)[None, :]
    counts = np.zeros(rows * columns * HOG_DIRECTIONS)
    for direction, part in ((lower, length * (1 - share)), (lower + 1, length * share)):
        at = cell * HOG_DIRECTIONS + direction % HOG_DIRECTIONS
        counts += np.bincount(at.reshape(-1), part.reshape(-1), len(counts))
    cells = counts.reshape(rows, columns, HOG_DIRECTIONS)
    corners = (cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:])
    blocks = np.concatenate(corners, axis=2).reshape(-1, 4 * HOG_DIRECTIONS)
    for most in (0.2, 1.0):
        blocks = np.minimum(blocks / np.sqrt((blocks * blocks).sum(1, keepdims=True) + 1e-3), most)
    return _bytes(blocks * (255 / HOG_RANGE)).reshape(MAPS["hog"](InputSize(3, *level.shape)))


_GRADIENTS = (np.array([[-1, 0, 1]], np.float32), np.array([[-1], [0], [1]], np.float32))


def _hog_needs(size: InputSize) -> str:
    is_whole = size.height % HOG_CELL == size.width % HOG_CELL == 0
    return "" if is_whole and min(size.height, size.width) >= 24 else "sides that are multiples of 8 and at least 24"


def _hue(rgb: Pixels) -> Pixels:
    """The share of each of 256 hues, weighted by saturation; as its root, so that rare hues are not lost."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV_FULL)
    counts = np.bincount(hsv[..., 0].reshape(-1), weights=hsv[..., 1].reshape(-1), minlength=256)
    shares = counts / max(float(counts.sum()), 1.0)
    return _bytes(255 * np.sqrt(shares)).reshape(1, 16, 16)


def _haar() -> Callable[[Pixels], Pixels]:
    kernels: NDArray[np.float32] = _haar_kernels()

    def of(rgb: Pixels) -> Pixels:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        height, width = grey.shape
        sums = cv2.integral(grey).astype(np.float32)
        found = []
        for part in (4, 2):  # windows of a quarter, and of half a side
            rows = np.arange(0, height - height // part + 1, height // 8)
            columns = np.arange(0, width - width // part + 1, width // 8)
            down, across = height // part // 4, width // part // 4
            cells = np.empty((len(rows), len(columns), 4, 4), np.float32)
            for i in range(4):
                for j in range(4):
                    top, left = rows[:, None] + i * down, columns[None, :] + j * across
                    bottom, right = top + down, left + across
                    total = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
                    cells[:, :, i, j] = total / (down * across)
            found.append(cells.reshape(-1, 16))
        responses = kernels @ np.concatenate(found).T
        return _bytes(responses / 2 + 127.5)[None]

    return of


def _haar_kernels() -> NDArray[np.float32]:
    """(8, 16): differences of means over the 4 x 4 cells of a window: edges, lines, checks, centre and corners."""
    masks = np.zeros((HAAR_KERNELS, 4, 4), bool)
    masks[0, :, 2:] = True
    masks[1, 2:, :] = True
    masks[2, :, 1:3] = True
    masks[3, 1:3, :] = True
    masks[4, :2, :2] = masks[4, 2:, 2:] = True
    masks[5, 1:3, 1:3] = True
    masks[6, :2, :2] = True
    masks[7, :2, 2:] = True
    inside = masks.reshape(HAAR_KERNELS, 16)
    weights = inside / inside.sum(1, keepdims=True) - ~inside / (~inside).sum(1, keepdims=True)
    return np.asarray(weights, np.float32)


def _haar_needs(size: InputSize) -> str:
    return "" if size.height % HAAR_PARTS == size.width % HAAR_PARTS == 0 else "sides that are multiples of 16"


def _plain(apply: Callable[[Pixels], Pixels]) -> Callable[[], Callable[[Pixels], Pixels]]:
    return lambda: apply


FILTERS = {
    "clahe": Filter(_clahe, "CLAHE on the luminance: clip limit 2, 4 x 4 tiles", "luminance"),
    "equalise": Filter(_plain(_equalise), "the histogram of the luminance equalised", "luminance"),
    "grey": Filter(_plain(_grey), "the luminance in all three channels"),
    "min_max": Filter(_plain(_min_max), "least and largest value to 0 and 255"),
    "standardise": Filter(_plain(_standardise), "mean to 127.5, three deviations to 0 and 255"),
    "unsharp": Filter(_plain(_unsharp), "sharpened by the difference to a blur of 1 pixel"),
    "bilateral": Filter(_plain(_bilateral), "bilateral filter, 5 pixels, 50 levels"),
    "nl_means": Filter(_plain(_nl_means), "non-local means, strength 5, patches of 5 in windows of 11 pixels"),
    "gamma": Filter(_gamma, "brightened by gamma 1.5"),
    "local_contrast": Filter(
        _plain(_local_contrast), "luminance less its local mean over 1/8 of a side, by its deviation", "luminance"
    ),
    "yuv": Filter(_to(cv2.COLOR_RGB2YUV), "Y, U and V", "space"),
    "hsv": Filter(_to(cv2.COLOR_RGB2HSV_FULL), "hue, saturation and value", "space"),
    "lab": Filter(_to(cv2.COLOR_RGB2Lab), "L*, a* and b*", "space"),
    "hog": Filter(
        _plain(_hog), "HOG: cells of 8 pixels, blocks of 2 x 2 cells, 9 directions, 0.5 to 255", "features", _hog_needs
    ),
    "hue": Filter(_plain(_hue), "shares of 256 hues by saturation, their roots", "features"),
    "haar": Filter(_haar, "8 Haar kernels, windows of 1/4 and 1/2 of a side at each 1/8", "features", _haar_needs),
}
