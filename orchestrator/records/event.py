"""One line of a worker's events.jsonl, and how the file is read while it grows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers import protocol


class Event(BaseModel):
    """One line of events.jsonl. All other fields, also unknown ones, are in `fields`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    v: Annotated[int, Field(ge=1, le=protocol.VERSION)]
    seq: Annotated[int, Field(ge=0)]
    t: Annotated[float, Field(ge=0)]
    kind: str

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of this kind of event."""
        return dict(self.model_extra or {})


def parse(line: str) -> Event | None:
    """The event of one line, or None for any other line (cut short, of another version, stray text)."""
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        return None


class Tail:
    """Reads events.jsonl while it grows: each call of `read` gives the lines completed since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._torn = b""

    def read(self) -> Iterator[Event]:
        """Events not given before, in order; none while the file does not exist."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                grown = file.read()
        except FileNotFoundError:
            return
        self._offset += len(grown)
        *lines, self._torn = (self._torn + grown).split(b"\n")
        for line in lines:
            event = parse(line.decode("utf-8", "replace"))
            if event is not None:
                yield event
