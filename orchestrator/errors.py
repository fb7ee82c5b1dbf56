"""Errors that stop a whole run. A trial that fails is an Outcome, never an exception.

WaymarkError              what, where, seen, allowed, next step; shown without a traceback
 |- SpecError             path into the JSON, value, allowed                              exit 2
 |- CatalogueError        no such row; nearest names                                      exit 2
 |- DataError             missing, changed or unsafe data: path, expected and found       exit 3
 |- EngineError           daemon absent, build failed, virtualenv impossible; log path    exit 3
 |   |- AbsentError       something that an environment needs is not on this machine; how to get it
 |   |- LockedError       another run is going on on this machine
 |- StoreError            newer schema, locked, not ours                                  exit 4
"""

import difflib
from collections.abc import Iterable


class WaymarkError(Exception):
    """One or two sentences for the user: what is wrong, where, what was seen, what is allowed, what to do."""

    exit_code = 1


class SpecError(WaymarkError):
    """The experiment spec, or a flag that changes it, is not valid."""

    exit_code = 2


class CatalogueError(WaymarkError):
    """A variant that no images.toml declares, or an images.toml that cannot be read."""

    exit_code = 2


class DataError(WaymarkError):
    """Pictures that are missing, changed, damaged or unsafe."""

    exit_code = 3


class EngineError(WaymarkError):
    """No daemon, no interpreter, or a build that failed; names the log."""

    exit_code = 3


class AbsentError(EngineError):
    """Something that an environment needs is not on this machine: an interpreter, a source, a system library."""


class LockedError(EngineError):
    """Another run is going on, and two at once would disturb each other."""


class StoreError(WaymarkError):
    """A store that is newer than this program, locked, or not ours."""

    exit_code = 4


def shortened(text: str, limit: int = 60) -> str:
    """At most `limit` characters of a text that may be of any length, for a message."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def many(count: int, word: str) -> str:
    """'1 picture', '1,200 pictures'."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def first_line(error: Exception) -> str:
    """The first line of an error's text, shortened: pydantic's go on with an address and the whole input."""
    return shortened((str(error).splitlines() or [type(error).__name__])[0], 160)


def did_you_mean(seen: str, known: Iterable[str]) -> str:
    """' Did you mean 'x'?' for the nearest known name, or '' when none is near."""
    nearest = difflib.get_close_matches(seen, sorted(known), n=1, cutoff=0.6)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""
