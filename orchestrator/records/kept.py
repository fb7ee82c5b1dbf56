"""TOML files of the home in which a verb keeps what it found: a list of records under one key."""

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import tomli_w
from pydantic import ValidationError

from orchestrator.environment import Frozen
from orchestrator.errors import StoreError, first_line
from orchestrator.files import read_bytes, write_atomically

R = TypeVar("R", bound=Frozen)


def read_kept(path: Path, key: str, kind: type[R]) -> tuple[R, ...]:
    """All records; () if there is no file. Raises StoreError if it does not read."""
    try:
        table = tomllib.loads(read_bytes(path).decode("utf-8"))
        return tuple(kind.model_validate_json(json.dumps(entry)) for entry in table.get(key, ()))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError, TypeError) as error:  # ValidationError is a ValueError
        reason = f"{len(error.errors())} of its values are not allowed" if isinstance(error, ValidationError) else ""
        raise StoreError(
            f"{path} does not read: {reason or first_line(error)}. Remove it, and measure again."
        ) from None


def write_kept(path: Path, key: str, records: Iterable[Frozen]) -> None:
    """Replace the file by these records."""
    entries = [record.model_dump(mode="json", exclude_none=True) for record in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, tomli_w.dumps({key: entries}))
