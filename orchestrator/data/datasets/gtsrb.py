"""The German Traffic Sign Recognition Benchmark: the pictures of the study, registered by `invoke data`."""

from orchestrator.data.datasets import DatasetKind, located
from orchestrator.data.gtsrb_archives import OFFICIAL, GtsrbReader
from orchestrator.data.labels import SIGNS
from orchestrator.data.pictures import Located, Origin
from orchestrator.data.source import Publication, current, recorded
from orchestrator.dataset import Dataset
from orchestrator.errors import DataError
from orchestrator.home import Home

NAME = "gtsrb"


def _origin(dataset: Dataset, home: Home) -> Origin:
    def locate() -> Located:
        found, reader = recorded(NAME, home), GtsrbReader()
        if found is None:
            raise DataError(
                "No GTSRB pictures are known on this machine. Run `invoke data --from PATH` with the folder of the "
                "three archives, or `invoke data --download`."
            )
        return located(current(NAME, found, reader, home), reader)

    return Origin(SIGNS, locate)


TRAINING_PICTURES, TEST_PICTURES = 39_209, 12_630
"""Of the official archives."""

DATASET = DatasetKind(
    title="GTSRB",
    counts=lambda _: (TRAINING_PICTURES, TEST_PICTURES),
    origin=_origin,
    reader=GtsrbReader(),
    published=Publication("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/", OFFICIAL),
)
