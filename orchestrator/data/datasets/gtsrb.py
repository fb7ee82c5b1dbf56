"""The German Traffic Sign Recognition Benchmark: the pictures of the study, registered by `invoke data`."""

from orchestrator.data.datasets import DatasetKind
from orchestrator.data.labels import SIGNS
from orchestrator.data.pictures import Located, Origin
from orchestrator.data.source import opened, registered
from orchestrator.home import Home
from orchestrator.trial import Dataset


def _origin(dataset: Dataset, home: Home) -> Origin:
    def locate() -> Located:
        source = registered(home)
        return Located(source.recognised, source.sha256, source.sha256s, lambda: opened(source))

    return Origin(SIGNS, locate)


TRAINING_PICTURES, TEST_PICTURES = 39_209, 12_630
"""Of the official archives."""

DATASET = DatasetKind(title="GTSRB", counts=lambda _: (TRAINING_PICTURES, TEST_PICTURES), origin=_origin)
