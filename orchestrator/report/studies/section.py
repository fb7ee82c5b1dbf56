"""An answer as sentences and tables, independent of the output format."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from orchestrator.records.stored import StoredTrial
from orchestrator.report.text import figures3, percent

StudyRow = dict[str, Any]
Key = TypeVar("Key")


@dataclass(frozen=True)
class StudyTable:
    """Rows of plain values, and the columns to show: key -> heading. name: of its CSV file, without .csv.

    is_detail: too long or wide for the console, which leaves it out. is_data: too long for the page, which only links
               its CSV file.
    Keys name the unit: _s seconds, _ms milliseconds; error_, accuracy_ and share_ shares of 1; ratio, _times factors.
    """

    name: str
    caption: str
    headings: Mapping[str, str]
    rows: Sequence[StudyRow]
    is_detail: bool = False
    is_data: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError if two keys have the same heading: one column would be lost."""
        if len(set(self.headings.values())) < len(self.headings):
            raise ValueError(f"the table {self.name} has a heading twice: {', '.join(self.headings.values())}")

    @cached_property
    def shown(self) -> dict[str, str]:
        """The headings in use: a column of notes is left out if it is empty."""
        is_noted = any(row.get("note") for row in self.rows)
        return {key: heading for key, heading in self.headings.items() if is_noted or key != "note"}

    @property
    def texts(self) -> list[dict[str, str]]:
        """The rows as text: heading -> text."""
        return [{heading: cell_text(key, row.get(key)) for key, heading in self.shown.items()} for row in self.rows]

    @cached_property
    def numeric_headings(self) -> frozenset[str]:
        """The headings of numeric columns."""
        return frozenset(
            heading
            for key, heading in self.shown.items()
            if any(isinstance(row.get(key), int | float) for row in self.rows)
        )


@dataclass(frozen=True)
class Section:
    """One study and its answer. anchor: its name in links; about: what was done; verdicts: the answer in words;
    notes: what the study of 2020 found, and the limits of the comparison."""

    anchor: str
    title: str
    about: str
    verdicts: tuple[str, ...]
    tables: tuple[StudyTable, ...]
    notes: tuple[str, ...] = ()


def cell_text(key: str, value: Any) -> str:
    """One value of a row, by the unit in its key."""
    if value is None or value == "":
        return "–"
    if isinstance(value, float):
        if key.startswith(("error_", "accuracy_", "share_")):
            return percent(value)
        return f"{value:.2f}x" if key == "ratio" or key.endswith("_times") else figures3(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def grouped(trials: Iterable[StoredTrial], key: Callable[[StoredTrial], Key]) -> dict[Key, list[StoredTrial]]:
    """Trials by what they have in common, in order of first appearance."""
    groups: dict[Key, list[StoredTrial]] = {}
    for trial in trials:
        groups.setdefault(key(trial), []).append(trial)
    return groups


def ok(trials: Iterable[StoredTrial]) -> list[StoredTrial]:
    """Those that ended ok."""
    return [job for job in trials if job.outcome.status == "ok"]


def note_of(trials: Sequence[StoredTrial]) -> str:
    """Status and reason of the first that did not end ok; '' if all did."""
    return next((f"{job.outcome.status}: {job.outcome.reason}" for job in trials if job.outcome.status != "ok"), "")
