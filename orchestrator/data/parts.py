"""A part of a data set, for a quick look: a share of each class, or a number of pictures of it, drawn by seed."""

import numpy as np

from orchestrator.data.pictures import Integers, Pictures, PictureSets
from orchestrator.data.ppm import Pixels
from orchestrator.dataset import Dataset
from orchestrator.environment import digest


class PartPictures:
    """Some of the pictures of a set."""

    def __init__(self, whole: Pictures, numbers: Integers) -> None:
        self._whole, self._numbers = whole, numbers
        self.labels: Integers = whole.labels[numbers]
        self.tracks: Integers | None = None if whole.tracks is None else whole.tracks[numbers]

    def sign(self, index: int) -> Pixels:
        """Picture `index` of the part."""
        return self._whole.sign(int(self._numbers[index]))


def sha256(source_sha256: str, dataset: Dataset) -> str:
    """That of the source; with the part, where one is asked for."""
    if not dataset.part:
        return source_sha256
    return digest([source_sha256, dataset.fraction, dataset.per_class, dataset.split_seed])


def of(sets: PictureSets, dataset: Dataset) -> PictureSets:
    """The part of both sets that `dataset` asks for; of every class one picture at least."""
    if not dataset.part:
        return sets
    train, test = (_numbers(pictures.labels, dataset) for pictures in (sets.train, sets.test))
    validates = None if sets.validates is None else sets.validates[train]
    return PictureSets(PartPictures(sets.train, train), PartPictures(sets.test, test), validates, sets.keeps_tracks)


def _numbers(labels: Integers, dataset: Dataset) -> Integers:
    rng = np.random.RandomState(dataset.split_seed)
    drawn: list[int] = []
    for label in np.unique(labels):
        here = rng.permutation(np.flatnonzero(labels == label))
        count = dataset.per_class or max(1, round(len(here) * (dataset.fraction or 1)))
        drawn += here[:count].tolist()
    return np.sort(np.array(drawn, np.int64))


def size(count: int, classes: int, dataset: Dataset) -> int:
    """About how many of so many pictures of so many classes the part has."""
    if dataset.per_class is not None:
        return min(count, dataset.per_class * classes)
    return round(count * (dataset.fraction or 1))
