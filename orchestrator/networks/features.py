"""What a network takes in place of pictures: maps of features, one channel each, by the name of their filter."""

from collections.abc import Sequence

from orchestrator.networks.input_size import InputSize

HOG_CELL = 8
"""Pixels of a side."""

HAAR_KERNELS, HAAR_WINDOWS = 8, 74
"""Windows: 7 x 7 of a quarter of a side and 5 x 5 of half a side, at every eighth of it."""

MAPS = {
    # 36 values, of 2 x 2 cells with 9 directions each, for each block.
    "hog": lambda size: InputSize(1, 6 * (size.height // HOG_CELL - 1), 6 * (size.width // HOG_CELL - 1)),
    "hue": lambda size: InputSize(1, 16, 16),
    "haar": lambda size: InputSize(1, HAAR_KERNELS, HAAR_WINDOWS),
}


def input_of(filters: Sequence[str], size: InputSize) -> InputSize:
    """What a network takes of pictures of that size after these filters: the size, or that of the map of features."""
    return MAPS[filters[-1]](size) if filters and filters[-1] in MAPS else size
