"""What a user asks of a spec besides its file: a network or pictures of their own, fewer devices, frameworks, cells,
other counts; or a scout of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.environment import Device
from orchestrator.errors import SpecError
from orchestrator.networks import label_at
from orchestrator.planning.spec import ExperimentSpec, load_spec

SCOUT: dict[str, Any] = {
    "dataset": {
        "name": "synthetic",
        "split": "by-track",
        "synthetic": {"tracks_per_class": 7, "frames_per_track": 6, "test_tracks_per_class": 1},
    },
    "training.epochs": 1,
    "axes.models[].epochs": None,
    "axes.epochs": {},
    "axes.seeds": [0],
    "axes.repeats": 8,
    "axes.clahe": None,
    "axes.filters": None,
    "measure.evaluate": "end",
    "measure.warmup_steps": 10,
    "measure.warmup_seconds": 1.0,
    "measure.audit": 0,
    "study": None,
}
"""What a scout makes of any spec: 22 steps of each cell, three to eight times, on drawn signs, because speed does not
depend on the content of a picture."""


@dataclass(frozen=True)
class Narrowing:
    """None, and what is empty, leaves the spec as it is. variants: framework -> tags.

    network: file with a network of the user's own, in place of the spec's: ONNX, or what `invoke import` wrote (.json).
    dataset: pictures in place of the spec's, by name; they are prepared as the spec says, and split as they come.
    """

    device: Device | None = None
    frameworks: tuple[str, ...] = ()
    variants: Mapping[str, Sequence[str]] = field(default_factory=dict)
    epochs: int | None = None
    seeds: tuple[int, ...] = ()
    repeats: int | None = None
    network: Path | None = None
    dataset: str = ""
    is_scout: bool = False

    def changes(self) -> dict[str, Any]:
        """The changes to the spec: dotted path -> value. Raises SpecError for a scout of so many epochs: it has one."""
        if self.is_scout and self.epochs:
            raise SpecError("--scout takes a few steps of each cell; leave out --epochs.")
        changes: dict[str, Any] = {}
        if self.network:
            kind = "net" if self.network.suffix == ".json" else "onnx"
            changes["axes.models"] = [{kind: str(self.network.absolute())}]
        if self.dataset:
            changes |= {"dataset.name": self.dataset, "dataset.split": "paper", "dataset.synthetic": None}
        changes |= SCOUT if self.is_scout else {}
        if self.device:
            changes["axes.devices"] = [self.device]
        if self.frameworks:
            changes["axes.frameworks"] = list(self.frameworks)
        for framework, tags in self.variants.items():
            changes[f"axes.variants.{framework}"] = list(tags)
        if self.epochs:
            changes |= {"training.epochs": self.epochs, "axes.models[].epochs": None, "axes.epochs": {}}
        if self.seeds:
            changes["axes.seeds"] = list(self.seeds)
        if self.repeats:
            changes["axes.repeats"] = self.repeats
        return changes


def models_of(cells: Sequence[str], spec: ExperimentSpec) -> list[dict[str, Any]]:
    """('IDSIA@48', 'ResNet-20@32') -> entries of axes.models for these cells of `spec`; all of them if none is named.

    Raises SpecError for a cell that is not in it.
    """
    entries = {
        label_at(entry.model, size): {**entry.model_dump(mode="json", exclude_none=True), "input_sizes": [size.written]}
        for entry, size in spec.axes.networks
    }
    for cell in cells:
        if cell not in entries:
            raise SpecError(f"--cells names '{cell}'; {spec.name} has {', '.join(entries)}.")
    return [entries[cell] for cell in cells or entries]


def load_cells(
    path: Path, frameworks: Sequence[str], changes: Mapping[str, Any], cells: Sequence[str]
) -> ExperimentSpec:
    """The spec in a file, after `changes`, with these of its cells; all of them if none is named."""
    spec = load_spec(path, frameworks, changes)
    return load_spec(path, frameworks, {**changes, "axes.models": models_of(cells, spec)}) if cells else spec
