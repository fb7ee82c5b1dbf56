"""Signs drawn by waymark: a data set that needs no download."""

import contextlib

from orchestrator.data import synthetic
from orchestrator.data.datasets import DatasetKind
from orchestrator.data.pictures import Origin
from orchestrator.home import Home
from orchestrator.trial import Dataset, Synthetic


def _origin(dataset: Dataset, home: Home) -> Origin:
    parameters = dataset.synthetic or Synthetic()
    drawn = contextlib.nullcontext
    return Origin("synthetic", synthetic.sha256(parameters), {}, lambda: drawn(synthetic.draw(parameters)))


def _counts(dataset: Dataset) -> tuple[int, int]:
    drawn = dataset.synthetic or Synthetic()
    per_track = synthetic.CLASSES * drawn.frames_per_track
    return drawn.tracks_per_class * per_track, drawn.test_tracks_per_class * per_track


DATASET = DatasetKind(title="drawn signs", classes=synthetic.CLASSES, counts=_counts, origin=_origin)
