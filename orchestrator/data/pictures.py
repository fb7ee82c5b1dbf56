"""What every source of pictures offers to the preparation."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.ppm import Pixels

Integers = NDArray[np.int64]

Recognised = Literal["official", "sample", "synthetic", "unknown"]
"""What pictures are, by checksum of what they come from."""

TRACKS_PER_CLASS = 100_000
"""Track number = class * this + track within the class. A track is one sign on the street, seen in several frames."""


class Pictures(Protocol):
    """Labelled pictures, to be had one by one and from any thread.

    labels: (N,) classes, from 0.
    tracks: (N,) track numbers; None where they are not known (the official test set of GTSRB).
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


@dataclass(frozen=True)
class Origin:
    """Where the pictures of a data set come from, and how to get at them if they must be prepared.

    sha256:  over all that decides them. sha256s: of each archive, by name.
    """

    recognised: Recognised
    sha256: str
    sha256s: dict[str, str]
    open: Callable[[], AbstractContextManager[PictureSets]]
