"""Prepared pictures on disk, identified by what they are made from; missing sizes are made together.

An entry is a folder `home.data/<dataset>-<size>-<recipe digest>`: train_x.npy and test_x.npy, uint8
(N, channels, height, width), in BGR or grey; train_y.npy, test_y.npy and train_track.npy, int64 (N,); train_valid.npy,
bool (N,), of a set that says which pictures validate; scale.npy, float32 (2, channels), where bytes are normalised by
mean and deviation (workers/batches.py); manifest.json. It appears whole, by one rename.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from orchestrator.data import datasets, filters, parts, pixels
from orchestrator.data.draft import open_to_all, part_folder, publish
from orchestrator.data.fill import ArrayFacts, array_facts, fill, sha256_of, standard_scale
from orchestrator.data.pictures import Located, Recognised
from orchestrator.data.source import Progress
from orchestrator.dataset import Dataset, Filtered
from orchestrator.environment import Frozen, Name, digest
from orchestrator.errors import DataError
from orchestrator.home import Home
from orchestrator.networks import InputSize

MANIFEST = "manifest.json"
SCALE = "scale.npy"


class Preparation(Filtered):
    """All that determines the pixels of an entry; its digest is part of the entry's name.

    source_sha256: over the archives, or over the parameters and version of the drawing; with the part that is taken.
    steps:         what is done to each picture; 'clip_limit' and 'tiles' only for CLAHE alone.
    version:       of our code that does it.
    """

    dataset: Name
    source_sha256: str
    size: InputSize
    steps: dict[str, Any]
    version: int
    opencv: str

    @property
    def entry(self) -> str:
        """Name of the entry's folder."""
        return f"{self.dataset}-{self.size}-{digest(self.model_dump(mode='json'))[:24]}"


class Manifest(Frozen):
    """manifest.json: what an entry holds and what it was made from.

    keeps_tracks: a split is drawn by tracks, unless something else is asked for.
    filter_ms:    milliseconds of one processor that each filter took for a picture, as it was prepared.
    """

    recipe: Preparation
    recognised: Recognised
    source_sha256s: dict[str, str]
    numpy: str
    arrays: dict[str, ArrayFacts]
    keeps_tracks: bool = False
    filter_ms: dict[str, float] = {}


@dataclass(frozen=True)
class Prepared:
    """An entry of the cache. classes: their names. is_new: it was made by this call, not found."""

    path: Path
    manifest: Manifest
    classes: tuple[str, ...]
    is_new: bool

    @property
    def sha256(self) -> str:
        """Over the checksums of its arrays."""
        return digest({name: facts.sha256 for name, facts in self.manifest.arrays.items()})

    @property
    def recognised(self) -> Recognised:
        """'official', 'sample', 'synthetic' or 'unknown', by checksum."""
        return self.manifest.recognised

    @property
    def train_pictures(self) -> int:
        """Pictures to train and validate on."""
        return self.manifest.arrays["train_y.npy"].shape[0]

    @property
    def test_pictures(self) -> int:
        """Pictures to test on."""
        return self.manifest.arrays["test_y.npy"].shape[0]


def prepare(dataset: Dataset, sizes: Sequence[InputSize], home: Home, progress: Progress) -> dict[InputSize, Prepared]:
    """The prepared pictures of `dataset` at each of `sizes`, found or made; decoded once for all that are made.

    `progress` is called only while something is made, from this thread. Raises DataError if no source is registered,
    if it is gone and an entry is missing, if a picture is damaged, if an entry was changed, and for pictures of a
    number of channels that no picture here has.
    """
    for size in sizes:
        if size.channels not in pixels.CHANNELS:
            raise DataError(
                f"the pictures of '{dataset.name}' are colour pictures: 3 channels, or 1 in grey; {size} asks for "
                f"{size.channels}."
            )
        if fault := filters.fault(dataset.filters, size):
            raise DataError(f"dataset.filters: {fault}")
    origin = datasets.named(dataset.name, home).origin(dataset, home)
    located = origin.locate()
    entries = {size: home.data / _preparation(dataset, located, size).entry for size in sizes}
    lacking = [size for size, entry in entries.items() if not entry.exists()]
    made = _make(dataset, located, lacking, home, progress) if lacking else set()
    return {size: _read(entry, origin.classes, is_new=size in made) for size, entry in entries.items()}


def scale_of(dataset: Dataset, size: InputSize, home: Home, progress: Progress) -> Path | None:
    """The file that says what a network gets of bytes; None for shares of 255. Raises DataError as `prepare` does."""
    if dataset.normalise == "unit":
        return None
    return prepare(dataset, [size], home, progress)[size].path / SCALE


def verify(prepared: Prepared) -> None:
    """Check every array. Raises DataError, naming the file, if one differs from its manifest."""
    for name, facts in prepared.manifest.arrays.items():
        path = prepared.path / name
        if not path.is_file() or sha256_of(path) != facts.sha256:
            raise _changed(path)


def _preparation(dataset: Dataset, located: Located, size: InputSize) -> Preparation:
    return Preparation(
        dataset=dataset.name,
        source_sha256=parts.sha256(located.sha256, dataset),
        size=size,
        filters=dataset.filters,
        steps=pixels.steps(dataset),
        version=pixels.VERSION,
        opencv=cv2.__version__,
    )


def _make(
    dataset: Dataset, located: Located, sizes: Sequence[InputSize], home: Home, progress: Progress
) -> set[InputSize]:
    """Make the entries for `sizes`, or go on where the user stopped that; the sizes that no other made first."""
    recipes = {size: _preparation(dataset, located, size) for size in sizes}
    token = digest(sorted(recipe.entry for recipe in recipes.values()))[:24]
    with located.open() as whole, part_folder(home.data, token) as draft:
        sets = parts.of(whole, dataset)
        folders = {size: draft / str(size) for size in sizes}
        try:
            filter_ms = fill(folders, sets, dataset, draft / "blocks.log", progress)
        except OSError as error:
            raise DataError(f"Preparing pictures in {home.data} failed: {error}.") from error
        if dataset.normalise == "standard":
            for folder in folders.values():
                np.save(folder / SCALE, standard_scale(folder / "train_x.npy"))
        arrays = array_facts(folders.values())
        made = set()
        for size, folder in folders.items():
            recipe = recipes[size]
            manifest = Manifest(
                recipe=recipe,
                recognised=located.recognised,
                source_sha256s=located.sha256s,
                numpy=np.__version__,
                arrays={path.name: arrays[path] for path in sorted(arrays) if path.parent == folder},
                keeps_tracks=sets.keeps_tracks,
                filter_ms=filter_ms[size],
            )
            (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
            if publish(folder, home.data / recipe.entry):
                made.add(size)
    return made


def _read(entry: Path, classes: tuple[str, ...], *, is_new: bool) -> Prepared:
    try:
        manifest = Manifest.model_validate_json((entry / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _changed(entry / MANIFEST) from error
    for name, facts in manifest.arrays.items():
        if not (entry / name).is_file() or (entry / name).stat().st_size != facts.size_bytes:
            raise _changed(entry / name)
    open_to_all(entry)
    return Prepared(entry, manifest, classes, is_new)


def _changed(path: Path) -> DataError:
    return DataError(
        f"{path} is missing or not what was prepared; remove the folder {path.parent} and run `invoke data` again."
    )
