"""`invoke data`: finds or downloads the pictures of a data set, and prepares them."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import data
from orchestrator.console.progress import Console
from orchestrator.data import datasets
from orchestrator.data.own import TOLD
from orchestrator.data.source import MOST_GROUP, OwnSet, Reading
from orchestrator.dataset import Dataset
from orchestrator.errors import SpecError
from orchestrator.home import Home, expanded
from orchestrator.networks import InputSize
from orchestrator.printable import printable


@dataclass(frozen=True)
class DataRequest:
    """The arguments of `invoke data`.

    name:   of the data set: one that waymark knows, or a name for the user's own pictures; '' for the published one
            whose archives are there, else GTSRB.
    source: where they are; '' for where they were registered before.
    reading: of a user's own.
    """

    name: str = ""
    source: str = ""
    is_downloaded: bool = False
    sizes: tuple[InputSize, ...] = ()
    reading: Reading = field(default_factory=Reading)


def reading_of(group: str, test_share: float, skips_broken: bool) -> Reading:
    """How a user's own pictures are to be read. Raises SpecError for a pattern that is none."""
    if len(group) > MOST_GROUP:
        raise SpecError(f"--group has {len(group)} characters; at most {MOST_GROUP} are read.")
    try:
        re.compile(group)
    except re.error as error:
        raise SpecError(f"--group is {group!r}, which is no regular expression: {error}.") from None
    return Reading(group=group, test_share=test_share, skips_broken=skips_broken)


def prepare_pictures(request: DataRequest, home: Home, console: Console) -> list[dict[str, Any]]:
    """Register and prepare them; a row for each size. Raises SpecError and DataError, one sentence each."""
    path = expanded(request.source).absolute() if request.source else None
    name = request.name or (path and datasets.recognised(path)) or "gtsrb"
    if request.is_downloaded:
        path = _downloaded(name, home, console)
    if path:
        _register(name, path, request.reading, home, console)
    with console.counting("preparing pictures") as progress:
        prepared = data.prepare(Dataset(name=name), request.sizes, home, progress)
    return [
        {
            "size": size.word,
            "pictures": entry.recognised,
            "train": entry.train_pictures,
            "test": entry.test_pictures,
            "classes": len(entry.classes),
            "state": "new" if entry.is_new else "found in cache",
            "folder": entry.path,
        }
        for size, entry in prepared.items()
    ]


def _downloaded(name: str, home: Home, console: Console) -> Path:
    published = datasets.named(name, home).published
    if published is None:
        known = [known for known in datasets.names() if datasets.named(known, home).published]
        raise SpecError(f"nobody publishes '{name}'; --download fetches {', '.join(known)}.")
    return data.download(name, published, home, console.say)


def _register(name: str, path: Path, reading: Reading, home: Home, console: Console) -> None:
    with console.counting("looking at pictures") as progress:
        source = datasets.register(name, path, home, reading, progress)
    if source.own:
        _tell(name, source.own, console)


def _tell(name: str, own: OwnSet, console: Console) -> None:
    console.say(
        f"{name}: {len(own.classes):,} classes; {own.train:,} pictures to train, {own.valid:,} to validate, "
        f"{own.test:,} to test"
    )
    for fault in own.faults[:TOLD]:
        console.say(printable(f"left out: {fault.name}: {fault.reason}"))
    if len(own.faults) > TOLD:
        console.say(f"left out: {len(own.faults) - TOLD:,} more")
    for note in own.notes:
        console.say(printable(f"note: {note}"))
