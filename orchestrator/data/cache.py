"""Prepared pictures on disk: found by what they are made from, or made in one pass for all sizes.

An entry is a folder `home.data/<dataset>-<size>-<recipe digest>`: train_x.npy and test_x.npy, uint8 (N, 3, size, size)
in BGR; train_y.npy, test_y.npy and train_track.npy, int64 (N,); manifest.json. It appears whole, by one rename.
"""

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from orchestrator.data import pixels, synthetic
from orchestrator.data.draft import draft_folder, publish
from orchestrator.data.fill import ArrayFacts, Progress, array_facts, fill, sha256_of
from orchestrator.data.pictures import PictureSets
from orchestrator.data.source import opened, registered
from orchestrator.errors import DataError
from orchestrator.home import Home
from orchestrator.trial import Dataset, Frozen, Synthetic, digest

MANIFEST = "manifest.json"

Recognised = Literal["official", "sample", "synthetic", "unknown"]


class Recipe(Frozen):
    """Everything that decides the pixels of an entry; its digest is part of the entry's name.

    source_sha256: over the archives, or over the parameters and the code of the drawing.
    steps:         what is done to each picture; 'clip_limit' and 'tiles' only where `clahe`.
    version:       of our code that does it.
    """

    dataset: Literal["gtsrb", "synthetic"]
    source_sha256: str
    size: int
    clahe: bool
    steps: dict[str, Any]
    version: int
    opencv: str

    @property
    def entry(self) -> str:
        """Name of the entry's folder."""
        return f"{self.dataset}-{self.size}-{digest(self.model_dump(mode='json'))[:24]}"


class Manifest(Frozen):
    """manifest.json: what an entry holds and what it was made from."""

    recipe: Recipe
    recognised: Recognised
    source_sha256s: dict[str, str]
    numpy: str
    arrays: dict[str, ArrayFacts]


@dataclass(frozen=True)
class Prepared:
    """An entry of the cache. `is_new` tells one just made from one found."""

    path: Path
    manifest: Manifest
    is_new: bool

    @property
    def sha256(self) -> str:
        """Over the checksums of its arrays."""
        return digest({name: facts.sha256 for name, facts in self.manifest.arrays.items()})

    @property
    def recognised(self) -> Recognised:
        """What the pictures are, by checksum."""
        return self.manifest.recognised

    @property
    def train_pictures(self) -> int:
        """Pictures to train and validate on."""
        return self.manifest.arrays["train_y.npy"].shape[0]

    @property
    def test_pictures(self) -> int:
        """Pictures to test on."""
        return self.manifest.arrays["test_y.npy"].shape[0]


@dataclass(frozen=True)
class _Origin:
    """Where pictures come from, and how to get at them if they must be prepared."""

    recognised: Recognised
    sha256: str
    sha256s: dict[str, str]
    open: Callable[[], AbstractContextManager[PictureSets]]


def prepare(dataset: Dataset, sizes: Sequence[int], home: Home, progress: Progress) -> dict[int, Prepared]:
    """The prepared pictures of `dataset` at each of `sizes`, found or made; decoded once for all that are made.

    `progress` is called only while something is made, from this thread. Raises DataError if no source is registered,
    if it is gone and an entry is lacking, if a picture is not sound, or if an entry was changed.
    """
    origin = _origin(dataset, home)
    entries = {size: home.data / _recipe(dataset, origin, size).entry for size in sizes}
    lacking = [size for size, entry in entries.items() if not entry.exists()]
    made = _make(dataset, origin, lacking, home, progress) if lacking else set()
    return {size: _read(entry, is_new=size in made) for size, entry in entries.items()}


def verify(prepared: Prepared) -> None:
    """Read every array again. Raises DataError, naming the file, if one is not as its manifest says."""
    for name, facts in prepared.manifest.arrays.items():
        path = prepared.path / name
        if not path.is_file() or sha256_of(path) != facts.sha256:
            raise _changed(path)


def _origin(dataset: Dataset, home: Home) -> _Origin:
    if dataset.name == "synthetic":
        parameters = dataset.synthetic or Synthetic()
        checksum = synthetic.sha256(parameters)
        return _Origin("synthetic", checksum, {}, lambda: contextlib.nullcontext(synthetic.draw(parameters)))
    source = registered(home)
    return _Origin(source.recognised, source.sha256, source.sha256s, lambda: opened(source))


def _recipe(dataset: Dataset, origin: _Origin, size: int) -> Recipe:
    return Recipe(
        dataset=dataset.name,
        source_sha256=origin.sha256,
        size=size,
        clahe=dataset.clahe,
        steps=pixels.steps(dataset.clahe),
        version=pixels.VERSION,
        opencv=cv2.__version__,
    )


def _make(dataset: Dataset, origin: _Origin, sizes: Sequence[int], home: Home, progress: Progress) -> set[int]:
    """Make the entries for `sizes`; those sizes that no other process made first."""
    with origin.open() as sets, draft_folder(home.data) as draft:
        folders = {size: draft / str(size) for size in sizes}
        try:
            fill(folders, sets, dataset.clahe, progress)
        except OSError as error:
            raise DataError(f"Preparing pictures in {home.data} failed: {error}.") from error
        arrays = array_facts(folders.values())
        made = set()
        for size, folder in folders.items():
            recipe = _recipe(dataset, origin, size)
            manifest = Manifest(
                recipe=recipe,
                recognised=origin.recognised,
                source_sha256s=origin.sha256s,
                numpy=np.__version__,
                arrays={path.name: arrays[path] for path in sorted(arrays) if path.parent == folder},
            )
            (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
            if publish(folder, home.data / recipe.entry):
                made.add(size)
    return made


def _read(entry: Path, is_new: bool) -> Prepared:
    try:
        manifest = Manifest.model_validate_json((entry / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _changed(entry / MANIFEST) from error
    for name, facts in manifest.arrays.items():
        if not (entry / name).is_file() or (entry / name).stat().st_size != facts.size_bytes:
            raise _changed(entry / name)
    return Prepared(entry, manifest, is_new)


def _changed(path: Path) -> DataError:
    return DataError(
        f"{path} is missing or not what was prepared; remove the folder {path.parent} and run `invoke data` again."
    )
