"""The German Traffic Sign Recognition Benchmark: the pictures of the study, registered by `invoke data`."""

from orchestrator.data.datasets import DatasetKind, origin_of
from orchestrator.data.gtsrb_archives import OFFICIAL, GtsrbReader
from orchestrator.data.labels import SIGNS
from orchestrator.data.source import Publication

READER = GtsrbReader()

DATASET = DatasetKind(
    title="GTSRB",
    counts=lambda _: (39_209, 12_630),
    origin=origin_of("gtsrb", SIGNS, READER),
    reader=READER,
    published=Publication("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/", OFFICIAL),
)
