"""MNIST: handwritten digits (LeCun, Cortes and Burges)."""

from orchestrator.data.datasets import DatasetKind, origin_of
from orchestrator.data.published import ArchivesReader, Idx, opened_idx
from orchestrator.data.source import Publication, Published

NAME, TITLE = "mnist", "MNIST"
CLASSES = tuple("0123456789")

ARCHIVES = {
    Idx().train_pictures: Published("f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    Idx().train_labels: Published("d53e105ee54ea40749a09fcbcd1e9432"),
    Idx().test_pictures: Published("9fb629c4189551a2d022fa330f9573f3"),
    Idx().test_labels: Published("ec29112dd5afa0611ce80d1b7f02629c"),
}
"""Source of the checksums: torchvision.datasets.mnist."""

READER = ArchivesReader(TITLE, ARCHIVES, lambda folder: opened_idx(folder, len(CLASSES)))

DATASET = DatasetKind(
    title=TITLE,
    counts=lambda _: (60_000, 10_000),
    origin=origin_of(NAME, CLASSES, READER),
    reader=READER,
    published=Publication("https://ossci-datasets.s3.amazonaws.com/mnist/", ARCHIVES),
)
