"""Pictures changed at random while a network is trained, drawn by seed: the same bytes for every framework and machine.

All arithmetic on pixels is in integers, so that no rounding differs between processors and versions of numpy.
"""

import math
from typing import NamedTuple

import numpy

_ONE = 1 << 16  # of coordinates and of the matrix: 16 bits behind the point
_DRAWS = 10  # random numbers of one picture
GREY = 128
"""What an erased part is filled with."""


class Augmentation(NamedTuple):
    """How far a picture may be changed: payload.augment of job.json.

    shift:      along each side, as a share of it. scale: up to so much larger or smaller, 0.1 for 0.9 to 1.1.
    rotation_degrees: to both sides. brightness: factor, 0.2 for 0.8 to 1.2.
    erase:      a part whose sides are at most this share of the picture's becomes grey.
    flip:       numbers of the classes whose pictures are mirrored, left to right, half of the time.
    """

    shift: float
    scale: float
    rotation_degrees: float
    brightness: float
    erase: float
    flip: list


def drawn(seed, epoch, count):
    """float64 (count, 10) in [0, 1): the random numbers of each picture in that epoch."""
    return numpy.random.RandomState([seed, epoch, 1]).random_sample((count, _DRAWS))


def augmented(pictures, labels, augmentation, draws):
    """uint8 (n, channels, height, width), changed copies. labels: (n,). draws: (n, 10), of `drawn`."""
    signed = 2 * draws - 1
    may_flip = set(augmentation.flip)
    is_flipped = numpy.array([label in may_flip for label in labels.tolist()], bool) & (draws[:, 0] < 0.5)
    is_moved = augmentation.shift or augmentation.scale or augmentation.rotation_degrees
    if is_moved:
        pictures = _moved(pictures, is_flipped, augmentation, signed)
    elif is_flipped.any():
        pictures = numpy.where(is_flipped[:, None, None, None], pictures[..., ::-1], pictures)
    if augmentation.brightness:
        factors = numpy.rint(256 * (1 + augmentation.brightness * signed[:, 5])).astype(numpy.int32)
        bright = (pictures.astype(numpy.int32) * factors[:, None, None, None] + 128) >> 8
        pictures = numpy.minimum(bright, 255).astype(numpy.uint8)
    if augmentation.erase:
        pictures = _erased(pictures, augmentation.erase, draws[:, 6:10])
    return pictures


def _moved(pictures, is_flipped, augmentation, signed):
    """Shifted, scaled, rotated and mirrored; between pixels by bilinear interpolation, outside the nearest pixel."""
    count, channels, height, width = pictures.shape
    angles = numpy.radians(augmentation.rotation_degrees) * signed[:, 1]
    zooms = 1 + augmentation.scale * signed[:, 2]
    along = _fixed([math.cos(angle) / zoom for angle, zoom in zip(angles, zooms)])
    across = _fixed([math.sin(angle) / zoom for angle, zoom in zip(angles, zooms)])
    mirrored = numpy.where(is_flipped, -1, 1)[:, None, None]
    # Twice the distance from the middle, so that it is whole for even sides, too.
    x = mirrored * (2 * numpy.arange(width, dtype=numpy.int64) - (width - 1))[None, None, :]
    y = (2 * numpy.arange(height, dtype=numpy.int64) - (height - 1))[None, :, None]
    shift_x = _fixed(augmentation.shift * width * signed[:, 3])
    shift_y = _fixed(augmentation.shift * height * signed[:, 4])
    from_x = ((along * x + across * y) >> 1) + (width - 1) * _ONE // 2 + shift_x
    from_y = ((along * y - across * x) >> 1) + (height - 1) * _ONE // 2 + shift_y
    left, part_x = _split(from_x, width)
    top, part_y = _split(from_y, height)
    right, bottom = numpy.minimum(left + 1, width - 1), numpy.minimum(top + 1, height - 1)
    first = (numpy.arange(count, dtype=numpy.int64) * height * width)[:, None, None]
    # Channels last: one index then takes all channels of a pixel.
    flat = numpy.ascontiguousarray(pictures.transpose(0, 2, 3, 1)).reshape(-1, channels)

    def row(at):
        """Between the left and the right pixel, 8 bits behind the point."""
        one, other = (flat[(first + at * width + side).reshape(-1)].astype(numpy.int32) for side in (left, right))
        part = part_x.reshape(-1, 1)
        return one * (256 - part) + other * part

    part = part_y.reshape(-1, 1)
    mixed = (row(top) * (256 - part) + row(bottom) * part + (1 << 15)) >> 16
    whole = mixed.astype(numpy.uint8).reshape(count, height, width, channels)
    return numpy.ascontiguousarray(whole.transpose(0, 3, 1, 2))


def _fixed(values):
    return numpy.rint(numpy.asarray(values) * _ONE).astype(numpy.int64)[:, None, None]


def _split(coordinates, side):
    """(pixel, 256ths behind it) of coordinates, at most at the borders."""
    inside = numpy.clip(coordinates, 0, (side - 1) * _ONE)
    return inside >> 16, ((inside >> 8) & 255).astype(numpy.int32)


def _erased(pictures, share, draws):
    pictures = pictures.copy()
    sides = numpy.array(pictures.shape[2:], dtype=numpy.int64)
    sizes = numpy.floor(draws[:, :2] * share * sides + 0.5).astype(numpy.int64)
    starts = numpy.floor(draws[:, 2:] * (sides - sizes + 1)).astype(numpy.int64)
    for number, (size, start) in enumerate(zip(sizes, starts)):
        pictures[number, :, start[0] : start[0] + size[0], start[1] : start[1] + size[1]] = GREY
    return pictures
