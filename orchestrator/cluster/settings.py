"""What Slurm is asked for: the table `[slurm]` of waymark.toml in waymark's folder, and flags in its place."""

import re
import tomllib
from typing import Annotated

from pydantic import Field, ValidationError

from orchestrator.environment import Frozen
from orchestrator.errors import SpecError, shortened
from orchestrator.home import Home

_Word = Annotated[str, Field(pattern=r"^[!-~]{0,200}$")]

LIMIT_MINUTES = 240
"""Of a job for which no time was asked."""

_CLOCK = re.compile(r"(?:(\d{1,3})-)?(\d{1,4}):(\d{2})(?::(\d{2}))?", re.ASCII)
_LENGTH = re.compile(r"(\d{1,5})([mh])", re.ASCII)


class SlurmSettings(Frozen):
    """'' leaves it to the cluster.

    constraint: a feature that the nodes have. time: of one job, '90m', '4h' or Slurm's own '1-12:00:00'.
    home_is_shared: all nodes see waymark's folder, although its file system is one of this machine's own disks.
    """

    partition: _Word = ""
    account: _Word = ""
    constraint: _Word = ""
    qos: _Word = ""
    time: _Word = ""
    home_is_shared: bool = False

    @property
    def limit_minutes(self) -> int:
        """The limit of a job. Raises SpecError for a time that does not read."""
        return minutes_of(self.time) if self.time else LIMIT_MINUTES


def minutes_of(text: str) -> int:
    """'90m' -> 90, '2h' -> 120, '1-12:00' -> 2160, '01:30:00' -> 90. Raises SpecError for another text, and for 0."""
    length, clock, minutes = _LENGTH.fullmatch(text), _CLOCK.fullmatch(text), 0
    if length:
        minutes = int(length[1]) * (60 if length[2] == "h" else 1)
    elif clock:
        minutes = int(clock[1] or 0) * 24 * 60 + int(clock[2]) * 60 + int(clock[3]) + (1 if int(clock[4] or 0) else 0)
    if not minutes:
        raise SpecError(
            f"--time is '{shortened(text)}'; it takes minutes, hours, or hours:minutes:seconds as Slurm does: 90m, 4h, "
            "1-12:00:00."
        )
    return minutes


def read_settings(home: Home) -> SlurmSettings:
    """The table `[slurm]` of waymark.toml. Raises SpecError, with file and key, for one that does not read."""
    path = home.settings
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return SlurmSettings()
    except (OSError, ValueError) as error:
        raise SpecError(f"{path} does not read: {' '.join(str(error).split())[:200]}.") from None
    unknown = sorted(set(table) - {"slurm"})
    if unknown:
        raise SpecError(f"{path} has '{shortened(unknown[0])}'; it may have the table [slurm].")
    try:
        return SlurmSettings.model_validate(table.get("slurm", {}))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, ("slurm", *first["loc"])))
        raise SpecError(
            f"{path}: {where}: {first['msg'].lower()}; [slurm] takes {', '.join(SlurmSettings.model_fields)}."
        ) from None
