"""Fashion-MNIST: articles of clothing (Xiao, Rasul and Vollgraf 2017)."""

from orchestrator.data.datasets import DatasetKind, origin_of
from orchestrator.data.published import ArchivesReader, Idx, opened_idx
from orchestrator.data.source import Publication, Published

NAME, TITLE = "fashion_mnist", "Fashion-MNIST"
CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

ARCHIVES = {
    Idx().train_pictures: Published("8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    Idx().train_labels: Published("25c81989df183df01b3e8a0aad5dffbe"),
    Idx().test_pictures: Published("bef4ecab320f06d8554ea6380940ec79"),
    Idx().test_labels: Published("bb300cfdad3c16e7a12a480ee83cd310"),
}
"""Source of the checksums: the README of zalandoresearch/fashion-mnist."""

READER = ArchivesReader(TITLE, ARCHIVES, lambda folder: opened_idx(folder, len(CLASSES)))

DATASET = DatasetKind(
    title=TITLE,
    counts=lambda _: (60_000, 10_000),
    origin=origin_of(NAME, CLASSES, READER),
    reader=READER,
    published=Publication("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", ARCHIVES),
)
