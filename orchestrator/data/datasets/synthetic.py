"""Signs drawn by waymark: a data set that needs no download."""

import contextlib

from orchestrator.data import synthetic
from orchestrator.data.datasets import DatasetKind
from orchestrator.data.labels import SIGNS
from orchestrator.data.pictures import Located, Origin
from orchestrator.dataset import Dataset, Synthetic
from orchestrator.home import Home


def _origin(dataset: Dataset, home: Home) -> Origin:
    drawn = dataset.synthetic or Synthetic()
    located = Located("synthetic", synthetic.sha256(drawn), {}, lambda: contextlib.nullcontext(synthetic.draw(drawn)))
    return Origin(SIGNS, lambda: located)


def _counts(dataset: Dataset) -> tuple[int, int]:
    drawn = dataset.synthetic or Synthetic()
    per_track = synthetic.CLASSES * drawn.frames_per_track
    return drawn.tracks_per_class * per_track, drawn.test_tracks_per_class * per_track


DATASET = DatasetKind(title="drawn signs", counts=_counts, origin=_origin)
