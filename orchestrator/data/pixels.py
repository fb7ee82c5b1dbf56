"""From pictures of any size to arrays of one size: resize, filter, order as planes.

Choices the paper leaves open, and why:
- Shrinking averages (INTER_AREA), since plain bilinear reads four pixels and skips the rest of a 200-pixel sign;
  enlarging is bilinear.
- Luminance is Y of YCrCb, Y = 0.299 R + 0.587 G + 0.114 B. Converting there and back in 8 bits changes a channel by at
  most 1; through L*a*b* it is up to 26, and a fifth of all colours is lost, even without equalising.
- CLAHE: clip limit 2, 4 x 4 tiles (Lin et al. 2018), on the resized picture, so that a tile is the same part of a
  sign at every distance.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from orchestrator.data.filters import CLIP_LIMIT, FILTERS, TILES
from orchestrator.data.ppm import Pixels
from orchestrator.dataset import STUDY_FILTERS, Dataset
from orchestrator.networks import InputSize
from orchestrator.networks.features import input_of

VERSION = 1
"""Increased when a change of code changes a pixel."""

CHANNELS = (1, 3)
"""Of prepared pictures: the luminance alone, or three."""


def steps(dataset: Dataset) -> dict[str, Any]:
    """The steps of the preparation, as JSON, for `Preparation`."""
    done: dict[str, Any] = {"decode": "P6", "crop": "roi", "shrink": "INTER_AREA", "enlarge": "INTER_LINEAR"}
    if dataset.filters == STUDY_FILTERS:
        done |= {"luminance": "Y of YCrCb", "clip_limit": CLIP_LIMIT, "tiles": list(TILES)}
    elif dataset.filters:
        done["filters"] = [[name, FILTERS[name].about] for name in dataset.filters]
    if dataset.fit != "stretch":
        done["fit"] = dataset.fit
    if dataset.channel_order != "bgr":
        done["channel_order"] = dataset.channel_order
    if dataset.normalise != "unit":
        done["normalise"] = dataset.normalise
    return done


class Preparer:
    """Prepares pictures at one size, a block at a time; for one thread.

    It keeps its buffers: with new ones for each block the threads would wait for each other while the kernel maps
    pages. Colours are converted once for the whole block, as one tall picture, since every call into OpenCV releases
    and takes the interpreter lock.
    filter_seconds: of this thread's processor, spent in each filter so far.
    """

    def __init__(self, size: InputSize, dataset: Dataset, capacity: int) -> None:
        """size: of CHANNELS. dataset: says fit and filters. capacity: pictures of the largest block."""
        self._size, self._fit = size, dataset.fit
        self._chain = [(name, FILTERS[name].kind, FILTERS[name].make()) for name in dataset.filters]
        last = FILTERS[dataset.filters[-1]].kind if dataset.filters else "picture"
        self._features = input_of(dataset.filters, size) if last == "features" else None
        is_plain = last == "space" or dataset.channel_order == "rgb"
        self._order = (0, 1, 2) if is_plain else (2, 1, 0)
        self._rgb = np.empty((capacity * size.height, size.width, 3), np.uint8)
        self._ycrcb = np.empty_like(self._rgb)
        self._channel = np.empty((capacity * size.height, size.width), np.uint8)
        self._filtered = np.empty_like(self._channel)
        self._planes = np.empty((capacity, *(self._features or size)), np.uint8)
        self.filter_seconds = dict.fromkeys(dataset.filters, 0.0)

    def prepare(self, signs: Sequence[Pixels]) -> Pixels:
        """uint8 (n, channels, height, width) of n RGB pictures (height, width, 3) of any size; or maps of features.

        Valid until the next call. n may be 0: most frames of a film hold no sign.
        """
        rgb = self.resized(signs)
        self.filter(rgb)
        return self.planes(rgb)

    def resized(self, signs: Sequence[Pixels]) -> Pixels:
        """The first step: one tall RGB picture (n * height, width, 3), in this object's memory."""
        height = self._size.height
        rgb = self._rgb[: len(signs) * height]
        for index, sign in enumerate(signs):
            place = rgb[index * height : (index + 1) * height]
            if self._fit != "stretch":
                sign, place = _FITS[self._fit](sign, place)
            is_enlarged = sign.shape[0] < place.shape[0] or sign.shape[1] < place.shape[1]
            how = cv2.INTER_LINEAR if is_enlarged else cv2.INTER_AREA
            size = (place.shape[1], place.shape[0])
            if place.flags.c_contiguous:
                cv2.resize(sign, size, place, interpolation=how)
            else:
                place[:] = cv2.resize(sign, size, interpolation=how)
        return rgb

    def filter(self, rgb: Pixels) -> None:
        """The second: the filters on each picture of the tall one, in place; features wait for `planes`."""
        for name, kind, apply in self._chain if len(rgb) else ():
            began = time.thread_time()
            if kind == "luminance":
                self._filter_luminance(apply, rgb)
            elif kind != "features":
                for picture in rgb.reshape(-1, self._size.height, self._size.width, 3):
                    picture[:] = apply(picture)
            self.filter_seconds[name] += time.thread_time() - began

    def planes(self, rgb: Pixels) -> Pixels:
        """The third: the planes of the tall picture (n * height, width, 3), as `prepare` gives them."""
        channels, height, width = self._size
        count, channel = len(rgb) // height, self._channel[: len(rgb)]
        if self._features and count:
            self._describe(rgb, count)
        elif channels == 1 and count:
            cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY, channel)
            self._planes[:count, 0] = channel.reshape(count, height, width)
        for plane, rgb_channel in enumerate(self._order if count and channels == 3 and not self._features else ()):
            cv2.extractChannel(rgb, rgb_channel, channel)
            self._planes[:count, plane] = channel.reshape(count, height, width)
        return self._planes[:count]

    def _describe(self, rgb: Pixels, count: int) -> None:
        """The features of each picture, in place of its planes."""
        name, _, apply = self._chain[-1]
        began = time.thread_time()
        for index, picture in enumerate(rgb.reshape(count, self._size.height, self._size.width, 3)):
            self._planes[index] = apply(picture)
        self.filter_seconds[name] += time.thread_time() - began

    def _filter_luminance(self, apply: Callable[[Pixels], Pixels], rgb: Pixels) -> None:
        """A filter of the luminance of each picture of the tall picture `rgb`, in place."""
        ycrcb, luminance, filtered = (buffer[: len(rgb)] for buffer in (self._ycrcb, self._channel, self._filtered))
        cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb, ycrcb)
        cv2.extractChannel(ycrcb, 0, luminance)
        for top in range(0, len(rgb), self._size.height):
            rows = slice(top, top + self._size.height)
            filtered[rows] = apply(luminance[rows])
        cv2.insertChannel(filtered, ycrcb, 0)
        cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB, rgb)


def _letterboxed(picture: Pixels, place: Pixels) -> tuple[Pixels, Pixels]:
    """The whole picture, and the middle of `place` with its proportions; the rest of `place` becomes black."""
    scale = min(place.shape[0] / picture.shape[0], place.shape[1] / picture.shape[1])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    top, left = (place.shape[0] - height) // 2, (place.shape[1] - width) // 2
    place[:] = 0
    return picture, place[top : top + height, left : left + width]


def _cut(picture: Pixels, place: Pixels) -> tuple[Pixels, Pixels]:
    """The largest middle part of the picture with the proportions of `place`, and `place`."""
    scale = min(picture.shape[0] / place.shape[0], picture.shape[1] / place.shape[1])
    height, width = (max(1, round(side * scale)) for side in place.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width], place


_FITS: dict[str, Callable[[Pixels, Pixels], tuple[Pixels, Pixels]]] = {"letterbox": _letterboxed, "crop": _cut}
