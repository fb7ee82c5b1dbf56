"""The interface between sources of pictures and the preparation."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.ppm import Pixels

Integers = NDArray[np.int64]

Recognised = Literal["official", "sample", "synthetic", "unknown", "own"]
"""Which pictures these are, by checksum of their source."""

TRACKS_PER_CLASS = 100_000
"""Track number = class * this + track within the class. A track is one real sign in several frames."""


class Pictures(Protocol):
    """Labelled pictures, read one by one, from any thread.

    labels: (N,) classes, from 0.
    tracks: (N,) track numbers; None where they are not known (the official test set of GTSRB).
    """

    @property
    def labels(self) -> Integers: ...

    @property
    def tracks(self) -> Integers | None: ...

    def sign(self, index: int) -> Pixels:
        """RGB (height, width, 3) of picture `index`, cropped to the sign. Raises DataError, naming file and row."""
        ...


@dataclass(frozen=True)
class PictureSets:
    """The training pictures and the test pictures.

    validates:    (n,) which of the training pictures are those to validate; None where that is drawn.
    keeps_tracks: the split is drawn by tracks, unless something else is asked for.
    """

    train: Pictures
    test: Pictures
    validates: NDArray[np.bool_] | None = None
    keeps_tracks: bool = False


@dataclass(frozen=True)
class Origin:
    """Where the pictures of a data set come from.

    classes: the name of each class, in the order of their numbers.
    locate:  finds the pictures on this machine. Raises DataError if they are not here.
    """

    classes: tuple[str, ...]
    locate: "Callable[[], Located]"


@dataclass(frozen=True)
class Located:
    """Pictures that are on this machine, and how to open them for the preparation.

    sha256:  over all that determines them. sha256s: of each archive, by name.
    """

    recognised: Recognised
    sha256: str
    sha256s: dict[str, str]
    open: Callable[[], AbstractContextManager[PictureSets]]
