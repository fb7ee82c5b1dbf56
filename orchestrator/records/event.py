"""One line of a worker's events.jsonl, and how the file is read while it grows."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from orchestrator import files
from workers import protocol

# A trial of 1000 epochs of 490 steps writes 30 MB, and one line a second. What these bounds allow takes half a gigabyte
# of memory once it is read, whatever it says.
LIMIT_BYTES = 64 * 2**20
LIMIT_LINE_BYTES = 16 * 2**20
LIMIT_LINES = 200_000

_CHUNK_BYTES = 2**20


class Event(BaseModel):
    """One line of events.jsonl. All other fields, also unknown ones, are in `fields`."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    v: Annotated[int, Field(ge=1, le=protocol.VERSION)]
    seq: Annotated[int, Field(ge=0, le=2**53)]
    t: Annotated[float, Field(ge=0, le=1e9)]
    kind: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of this kind of event."""
        return dict(self.model_extra or {})


def parse(line: str) -> Event | None:
    """The event of one line, or None for any other line (cut short, of another version, stray text)."""
    try:
        return Event.model_validate_json(line)
    except (ValueError, OverflowError):  # pydantic's, or an integer of thousands of digits
        return None


class Tail:
    """Reads events.jsonl while it grows: each call of `read` gives the lines completed since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lines = 0
        self._torn = b""

    def read(self) -> Iterator[Event]:
        """Events not given before, in order; none while the file does not exist.

        Raises UnsafeFileError for a link, for what is no regular file, and beyond one of the limits.
        """
        try:
            with files.opened(self._path) as file:
                file.seek(self._offset)
                while chunk := file.read(_CHUNK_BYTES):
                    yield from self._taken(chunk)
        except FileNotFoundError:
            return

    def _taken(self, chunk: bytes) -> Iterator[Event]:
        self._offset += len(chunk)
        *lines, self._torn = (self._torn + chunk).split(b"\n")
        self._lines += len(lines)
        if self._offset > LIMIT_BYTES or len(self._torn) > LIMIT_LINE_BYTES or self._lines > LIMIT_LINES:
            what = f"it is longer than {LIMIT_LINES:,} lines, {LIMIT_BYTES / 2**20:.0f} MiB, or "
            what += f"{LIMIT_LINE_BYTES / 2**20:.0f} MiB a line"
            raise files.UnsafeFileError(errno.EFBIG, what, str(self._path))
        for line in lines:
            event = parse(line.decode("utf-8", "replace"))
            if event is not None:
                yield event
