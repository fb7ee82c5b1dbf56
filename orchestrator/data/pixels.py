"""From signs of any size to arrays of one size: resize, equalise the luminance, order as BGR or grey planes.

Choices the paper leaves open, and why:
- Shrinking averages (INTER_AREA), since plain bilinear reads four pixels and skips the rest of a 200-pixel sign;
  enlarging is bilinear.
- Luminance is Y of YCrCb, Y = 0.299 R + 0.587 G + 0.114 B. Converting there and back in 8 bits changes a channel by at
  most 1; through L*a*b* it is up to 26, and a fifth of all colours is lost, even without equalising.
- CLAHE: clip limit 2, 4 x 4 tiles (Lin et al. 2018), on the resized picture, so that a tile is the same part of a
  sign at every distance.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from orchestrator.data.ppm import Pixels
from orchestrator.networks import InputSize

CLIP_LIMIT = 2.0
TILES = (4, 4)
VERSION = 1
"""Increased when a change of code changes a pixel."""


def steps(clahe: bool) -> dict[str, Any]:
    """The steps of the preparation, as JSON, for `Preparation`."""
    done: dict[str, Any] = {"decode": "P6", "crop": "roi", "shrink": "INTER_AREA", "enlarge": "INTER_LINEAR"}
    if clahe:
        done |= {"luminance": "Y of YCrCb", "clip_limit": CLIP_LIMIT, "tiles": list(TILES)}
    return done


CHANNELS = (1, 3)
"""Of prepared pictures: the luminance alone, or blue, green and red."""


class Preparer:
    """Prepares signs at one size, a block at a time; for one thread.

    It keeps its buffers: with new ones for each block the threads would wait for each other while the kernel maps
    pages. Colours are converted once for the whole block, as one tall picture, since every call into OpenCV releases
    and takes the interpreter lock.
    """

    def __init__(self, size: InputSize, clahe: bool, capacity: int) -> None:
        """size: of CHANNELS. capacity: pictures of the largest block."""
        self._size = size
        self._equaliser = cv2.createCLAHE(CLIP_LIMIT, TILES) if clahe else None
        self._rgb = np.empty((capacity * size.height, size.width, 3), np.uint8)
        self._ycrcb = np.empty_like(self._rgb)
        self._channel = np.empty((capacity * size.height, size.width), np.uint8)
        self._equalised = np.empty_like(self._channel)
        self._planes = np.empty((capacity, *size), np.uint8)

    def prepare(self, signs: Sequence[Pixels]) -> Pixels:
        """uint8 (n, channels, height, width), in BGR or grey, of n RGB signs (height, width, 3) of any size.

        Valid until the next call. n may be 0: most frames of a film hold no sign.
        """
        rgb = self.resized(signs)
        self.equalise(rgb)
        return self.planes(rgb)

    def resized(self, signs: Sequence[Pixels]) -> Pixels:
        """The first step: one tall RGB picture (n * height, width, 3), in this object's memory."""
        _, height, width = self._size
        rgb = self._rgb[: len(signs) * height]
        for index, sign in enumerate(signs):
            is_enlarged = sign.shape[0] < height or sign.shape[1] < width
            how = cv2.INTER_LINEAR if is_enlarged else cv2.INTER_AREA
            cv2.resize(sign, (width, height), rgb[index * height : (index + 1) * height], interpolation=how)
        return rgb

    def equalise(self, rgb: Pixels) -> None:
        """The second: CLAHE on each picture of the tall one, in place; nothing without CLAHE, or without a picture."""
        if self._equaliser is not None and len(rgb):
            self._equalise(self._equaliser, rgb)

    def planes(self, rgb: Pixels) -> Pixels:
        """The third: the planes of the tall picture (n * height, width, 3), as `prepare` gives them."""
        channels, height, width = self._size
        count, channel = len(rgb) // height, self._channel[: len(rgb)]
        if channels == 1 and count:
            cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY, channel)
            self._planes[:count, 0] = channel.reshape(count, height, width)
        for plane, rgb_channel in enumerate((2, 1, 0) if count and channels == 3 else ()):
            cv2.extractChannel(rgb, rgb_channel, channel)
            self._planes[:count, plane] = channel.reshape(count, height, width)
        return self._planes[:count]

    def _equalise(self, equaliser: cv2.CLAHE, rgb: Pixels) -> None:
        """CLAHE on the luminance of each picture of the tall picture `rgb`, in place."""
        ycrcb, luminance, equalised = (buffer[: len(rgb)] for buffer in (self._ycrcb, self._channel, self._equalised))
        cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb, ycrcb)
        cv2.extractChannel(ycrcb, 0, luminance)
        for top in range(0, len(rgb), self._size.height):
            rows = slice(top, top + self._size.height)
            equaliser.apply(luminance[rows], equalised[rows])
        cv2.insertChannel(equalised, ycrcb, 0)
        cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB, rgb)
