"""What every source of pictures offers to the preparation."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.ppm import Pixels

Integers = NDArray[np.int64]

TRACKS_PER_CLASS = 100_000
"""Track number = class * this + track within the class. A track is one sign on the street, seen in several frames."""


class Pictures(Protocol):
    """Labelled pictures, to be had one by one and from any thread.

    labels: (N,) classes, 0 to 42.
    tracks: (N,) track numbers; None where they are not known (the official test set).
    """

    @property
    def labels(self) -> Integers: ...

    @property
    def tracks(self) -> Integers | None: ...

    def sign(self, index: int) -> Pixels:
        """RGB (height, width, 3) of picture `index`, cut to the sign. Raises DataError, naming file and row."""
        ...


@dataclass(frozen=True)
class PictureSets:
    """The pictures to train on, and those to test on."""

    train: Pictures
    test: Pictures
