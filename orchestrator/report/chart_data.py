"""The rows that charts draw: a panel for each cell, few enough lines and dots, and places for the names of lines."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from orchestrator.records.stored import StoredTrial

# After Okabe and Ito 2008, for every kind of colour vision; the blue is lighter, to be readable on dark pages.
COLOURS = ["#2A87C8", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C", "#B8A800"]

MOST_LINES = 6  # of one subject in one panel; of more trials the chart shows the median
MOST_DOTS = 2_000  # of one chart
LABEL_ROOM = 0.075  # height of a label at the end of a line, as a share of the panel's

Point = dict[str, Any]
_Item = TypeVar("_Item")


def panels(trials: Sequence[StoredTrial]) -> Callable[[StoredTrial], dict[str, Any]]:
    """The subject of a trial and the title of its panel: its cell, and its framework where colours run out."""
    is_split = are_many(trials)

    def panel(job: StoredTrial) -> dict[str, Any]:
        title = f"{job.trial.cell.title} · {job.trial.framework}" if is_split else job.trial.cell.title
        return {"subject": job.trial.subject, "cell": title}

    return panel


def are_many(trials: Sequence[StoredTrial]) -> bool:
    """Whether there are more subjects than colours; then each framework has panels of its own."""
    return len(subjects_of(trials)) > len(COLOURS)


def subjects_of(trials: Sequence[StoredTrial]) -> list[str]:
    """Their subjects, in the order of the legend."""
    return sorted({job.trial.subject for job in trials})


def accuracy_lines(trials: Sequence[StoredTrial]) -> tuple[list[Point], str]:
    """The validation accuracies of each trial, or the medians of each subject's where a panel would have many lines."""
    panel = panels(trials)
    groups: dict[tuple[str, str], list[StoredTrial]] = {}
    for trial in trials:
        where = panel(trial)
        groups.setdefault((where["cell"], where["subject"]), []).append(trial)
    is_few = max(map(len, groups.values()), default=0) <= MOST_LINES
    points: list[Point] = []
    for (cell, subject), members in groups.items():
        for number, line in enumerate(
            map(_accuracies, members) if is_few else [_median_line(map(_accuracies, members))]
        ):
            where = {"cell": cell, "subject": subject, "process": members[number].record.ordinal if is_few else 0}
            points += [{**where, "epoch": epoch, "accuracy": accuracy} for epoch, accuracy in line.items()]
    return points, "a line for each trial" if is_few else "the median of the trials of each subject"


def _accuracies(job: StoredTrial) -> dict[int, float]:
    """Epoch, from 1 -> validation accuracy after it."""
    return {score.epoch + 1: score.accuracy for score in job.timeline.scores if score.split == "valid"}


def _median_line(lines: Iterable[dict[int, float]]) -> dict[int, float]:
    at: dict[int, list[float]] = {}
    for line in lines:
        for epoch, accuracy in line.items():
            at.setdefault(epoch, []).append(accuracy)
    return {epoch: float(np.median(values)) for epoch, values in at.items()}


def few(items: list[_Item], most: int = MOST_DOTS) -> list[_Item]:
    """Every n-th one, so that at most about `most` are left; [] of none."""
    return items[:: -(-len(items) // most) or 1]


def end_labels(points: Sequence[Mapping[str, Any]], x_name: str, y_name: str) -> list[Point]:
    """One point for the name of each subject in each panel, at the end of its line and clear of the other names."""
    values = [point[y_name] for point in points]
    room = (max(values) - min(values)) * LABEL_ROOM or LABEL_ROOM
    ends: dict[tuple[str, str], Mapping[str, Any]] = {}
    for point in points:
        key = (point["cell"], point["subject"])
        if key not in ends or point[x_name] > ends[key][x_name]:
            ends[key] = point
    labels: list[Point] = []
    below: dict[str, float] = {}
    for point in sorted(ends.values(), key=lambda point: float(point[y_name])):
        at = max(float(point[y_name]), below.get(point["cell"], -np.inf) + room)
        below[point["cell"]] = at
        labels.append({**point, y_name: at, "label": True})
    return labels
