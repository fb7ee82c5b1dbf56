"""Divides the training pictures into training and validation."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.cache import Prepared
from orchestrator.data.pictures import Integers
from orchestrator.dataset import Dataset
from orchestrator.environment import digest
from orchestrator.errors import DataError
from orchestrator.records.run_folder import DataFacts


@dataclass(frozen=True, eq=False)
class Split:
    """Picture numbers, int64, ascending, no number in both.

    note: what a reader must know about the split.
    """

    train: Integers
    valid: Integers
    note: str

    @property
    def sha256(self) -> str:
        """Over both lists of numbers."""
        return digest([hashlib.sha256(part.astype("<i8").tobytes()).hexdigest() for part in (self.train, self.valid)])


def split(prepared: Prepared, dataset: Dataset) -> Split:
    """The split that `dataset` asks for; the same for every size and on every machine.

    `paper` takes the validation pictures of a set that brings some. Else it draws pictures, as the paper did, so that
    frames of one sign fall into both sets; but whole objects of a set that was registered with their pattern.
    `by-track` draws whole signs, class by class, so that every class with two signs or more is in both sets.
    Raises DataError if a set would be empty, and for `by-track` where no tracks are known.
    """
    labels: Integers = np.load(prepared.path / "train_y.npy")
    tracks = _array(prepared, "train_track.npy")
    # RandomState's stream is frozen: the same seed gives the same split under any numpy.
    rng = np.random.RandomState(dataset.split_seed)
    given = _array(prepared, "train_valid.npy")
    is_by_track = dataset.split == "by-track" or (prepared.manifest.keeps_tracks and given is None)
    if given is not None and not is_by_track:
        is_valid: NDArray[np.bool_] = given.astype(bool)
    elif not is_by_track:
        is_valid = _drawn_pictures(labels, dataset.validation_fraction, rng)
    elif tracks is None:
        raise DataError(
            f"dataset.split is 'by-track', and the pictures of '{dataset.name}' have no known tracks; "
            "set it to 'paper'."
        )
    else:
        is_valid = _drawn_tracks(labels, tracks, dataset.validation_fraction, rng)
    train, valid = np.flatnonzero(~is_valid).astype(np.int64), np.flatnonzero(is_valid).astype(np.int64)
    if len(train) == 0 or len(valid) == 0:
        raise DataError(
            f"The split '{dataset.split}' of {len(labels)} pictures with validation_fraction "
            f"{dataset.validation_fraction} leaves {len(train)} to train and {len(valid)} to validate; change it."
        )
    if given is not None and not is_by_track:
        return Split(train, valid, f"As the set has it: {len(train):,} pictures train, {len(valid):,} validate.")
    counts = f"{len(train):,} pictures train, {len(valid):,} validate (seed {dataset.split_seed})"
    if tracks is None:
        is_own = prepared.recognised == "own"
        return Split(train, valid, f"Random split{'' if is_own else ', as in the paper'}: {counts}.")
    objects = "objects" if prepared.manifest.keeps_tracks else "signs"
    shared = np.intersect1d(tracks[train], tracks[valid])
    if is_by_track:
        signs = f"{len(np.unique(tracks[valid])):,} of {len(np.unique(tracks)):,} {objects}"
        return Split(train, valid, f"Split by track: {counts}; {signs} validate and none of them is trained on.")
    leak = f"frames of {len(shared):,} of {len(np.unique(tracks)):,} signs are in both sets"
    return Split(
        train,
        valid,
        f"Random split, as in the paper: {counts}; {leak}, so validation accuracy is too high; test accuracy is not.",
    )


def _array(prepared: Prepared, name: str) -> NDArray[Any] | None:
    """An array of the training pictures that not every data set has; None if this one has none."""
    return np.load(prepared.path / name) if name in prepared.manifest.arrays else None


def facts(prepared: Prepared, split: Split) -> DataFacts:
    """The facts about its pictures in a trial's record."""
    tested: Integers = np.load(prepared.path / "test_y.npy")
    return DataFacts(
        sha256=digest([prepared.sha256, split.sha256]),
        recognised=prepared.recognised,
        train_pictures=len(split.train),
        valid_pictures=len(split.valid),
        test_pictures=prepared.test_pictures,
        split_note=split.note,
        classes=len(prepared.classes),
        largest_class_share=float(np.bincount(tested).max() / len(tested)) if len(tested) else None,
        filter_ms=prepared.manifest.filter_ms,
    )


def _drawn_pictures(labels: Integers, fraction: float, rng: np.random.RandomState) -> NDArray[np.bool_]:
    is_valid = np.zeros(len(labels), bool)
    is_valid[rng.permutation(len(labels))[: round(len(labels) * fraction)]] = True
    return is_valid


def _drawn_tracks(labels: Integers, tracks: Integers, fraction: float, rng: np.random.RandomState) -> NDArray[np.bool_]:
    drawn: list[int] = []
    for label in np.unique(labels):
        here = np.unique(tracks[labels == label])
        # At least one sign on each side; a class of a single sign can only train.
        count = min(max(round(len(here) * fraction), 1), len(here) - 1)
        drawn += rng.permutation(here)[:count].tolist()
    return np.isin(tracks, drawn)
