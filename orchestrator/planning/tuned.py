"""<home>/tuned.toml: the fastest variant of each framework that `invoke tune` found, machine by machine."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from orchestrator.environment import Device, Frozen, Name, Tag, Token, UnixSeconds
from orchestrator.records.kept import read_kept, write_kept

Factor = Annotated[float, Field(gt=0, le=1e9)]


class Tried(Frozen):
    """One variant in one round. ratio, low, high: how many times as fast as the round's fastest; None for itself.

    is_kept: whether it went on to the next round.
    """

    round: Annotated[int, Field(ge=1, le=4)]
    variant: Tag
    ratio: Factor | None = None
    low: Factor | None = None
    high: Factor | None = None
    is_kept: bool = False
    reason: str = ""
    run_id: str


class Tuned(Frozen):
    """What one tuning found.

    machine:  HostFacts.key. cells: in which it was timed; all ratios are geometric means over them.
    default:  the framework's variant as shipped. variant: the fastest, which `best` stands for.
    ratio, low, high: how many times as fast `variant` is as `default`, from fresh pairs after the search; None if it
              is the default, or was not confirmed.
    seconds:  of all of it. open: what was left undecided, a sentence each.
    """

    machine: Token
    framework: Name
    device: Device
    cells: tuple[str, ...]
    default: Tag
    variant: Tag
    ratio: Factor | None = None
    low: Factor | None = None
    high: Factor | None = None
    confirmed_by: str = ""
    tuned_unix: UnixSeconds
    seconds: Annotated[float, Field(ge=0)]
    open: tuple[str, ...] = ()
    path: tuple[Tried, ...] = ()

    @property
    def run_ids(self) -> frozenset[str]:
        """The runs that it consists of."""
        return frozenset({self.confirmed_by, *(tried.run_id for tried in self.path)} - {""})


def read_tuned(path: Path) -> tuple[Tuned, ...]:
    """All entries; () if there is no file. Raises StoreError if it does not read."""
    return read_kept(path, "tuned", Tuned)


def keep_tuned(path: Path, tuned: Tuned) -> None:
    """Write `found` in the place of what was known of its framework and device on its machine."""
    where = (tuned.machine, tuned.framework, tuned.device)
    others = [tuning for tuning in read_tuned(path) if (tuning.machine, tuning.framework, tuning.device) != where]
    write_kept(path, "tuned", [*others, tuned])


def best_here(tuned: Iterable[Tuned], machine: Collection[str]) -> dict[str, dict[Device, str]]:
    """framework -> device -> the fastest variant, of what was tuned on this machine. machine: host.machine_keys.

    A tuning whose winner was not confirmed says nothing about the best.
    """
    variants: dict[str, dict[Device, str]] = {}
    for tuning in tuned:
        if tuning.machine in machine and (tuning.ratio is not None or not tuning.confirmed_by):
            variants.setdefault(tuning.framework, {})[tuning.device] = tuning.variant
    return variants
