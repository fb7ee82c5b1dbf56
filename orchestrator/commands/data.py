"""`invoke data`: finds or downloads the pictures of GTSRB, and prepares them."""

from typing import Any

from orchestrator import data
from orchestrator.console.progress import Console
from orchestrator.home import Home, expanded
from orchestrator.networks import InputSize
from orchestrator.trial import Dataset


def prepare_gtsrb(
    folder: str, is_downloaded: bool, sizes: tuple[InputSize, ...], home: Home, console: Console
) -> list[dict[str, Any]]:
    """A row for each size. folder: of the archives; '' for the folder registered before. Raises DataError."""
    if is_downloaded:
        data.register(data.download(home, console.say), home)
    elif folder:
        data.register(expanded(folder).absolute(), home)
    with console.counting("preparing pictures") as progress:
        prepared = data.prepare(Dataset(), sizes, home, progress)
    return [
        {
            "size": size.word,
            "pictures": entry.recognised,
            "train": entry.train_pictures,
            "test": entry.test_pictures,
            "state": "new" if entry.is_new else "found in cache",
            "folder": entry.path,
        }
        for size, entry in prepared.items()
    ]
