"""A run in the form of the study's tables 2 to 5: seconds of the whole training and accuracy, beside the paper's."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator.analysis.contrasts import Estimate, estimates
from orchestrator.environment import Device
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.studies.section import Section, StudyRow, StudyTable
from orchestrator.report.study2020.measured import (
    FRAMEWORKS,
    NETWORKS,
    Place,
    StudySubject,
    paper_place,
    study_seconds,
    trials_of_the_study,
)
from orchestrator.report.study2020.paper import PaperCell, paper
from orchestrator.trial import Turn

TITLES: Mapping[tuple[int, Device], str] = {
    (32, "gpu"): "Table 2, 32x32, GPU",
    (32, "cpu"): "Table 2, 32x32, CPU",
    (64, "gpu"): "Table 3, 64x64, GPU",
    (64, "cpu"): "Table 3, 64x64, CPU",
    (48, "gpu"): "Table 4, 48x48, GPU",
    (48, "cpu"): "Table 5, 48x48, CPU",
}
"""Of each of the paper's tables, its input size and its device put right; table 2 and 3 hold both devices."""


def tables_of_the_study(stored: StoredRun) -> Section | None:
    """The run in the layout of the paper's tables; None if no trial trained as the study did."""
    places = trials_of_the_study(stored)
    if not places:
        return None
    tables = [
        _table(size, device, f"{title}{stored.facts.league_words}", places)
        for (size, device), title in TITLES.items()
        if any((place.input_size, place.device) == (size, device) for place, _ in places)
    ]
    return Section(
        anchor="study-tables",
        title="The study's tables",
        about=(
            f"Seconds of the whole training ({paper().epochs} epochs of {paper().steps_per_epoch} batches of "
            f"{paper().batch_size}), and accuracy on the validation split and on the test set, of trials that trained "
            f"as the study did, medians over runs; beside each the paper's. A time with a ~ is extrapolated from fewer "
            "steps than that: their mean, with the wait for input, after the warm-up."
        ),
        verdicts=(),
        tables=(*tables, _epochs(places)),
        notes=(),
    )


def _table(size: int, device: Device, title: str, places: Mapping[StudySubject, Sequence[StoredTrial]]) -> StudyTable:
    networks = [
        name
        for name in NETWORKS.values()
        if any((place.network, place.input_size, place.device) == (name, size, device) for place, _ in places)
    ]
    rows: list[StudyRow] = []
    headings = {"subject": "subject"}
    for network in networks:
        key = re.sub(r"\W", "", network.lower())
        headings |= {
            f"{key}_time": f"{network}, s",
            f"{key}_paper_s": f"{network}, the paper's s",
            f"accuracy_{key}_valid": f"{network}, validation",
            f"accuracy_{key}_test": f"{network}, test",
            f"accuracy_{key}_paper": f"{network}, the paper's accuracy",
        }
    for framework in FRAMEWORKS:
        here = {
            variant
            for place, variant in places
            if (place.framework, place.input_size, place.device) == (framework, size, device)
        }
        for variant in sorted(here) or [""]:
            row: StudyRow = {"subject": f"{framework}:{variant}" if variant else framework}
            for network in networks:
                place = Place(framework, network, size, device)
                row |= _numbers(place, places.get((place, variant), ()))
            rows.append(row)
    name = f"study-{size}-{device}"
    return StudyTable(name, title, headings, rows, is_detail=True)


def _epochs(places: Mapping[StudySubject, Sequence[StoredTrial]]) -> StudyTable:
    """The values of the paper's figures 2 to 4."""
    seconds = {subject: _epoch_seconds(trials) for subject, trials in sorted(places.items())}
    results = estimates([{subject: 1.0} for subject in seconds], seconds)
    rows = [
        _epoch_row(subject, list(seconds[subject].values()), result)
        for subject, result in zip(seconds, results, strict=True)
    ]
    headings = {"cell": "cell", "subject": "subject", "runs": "runs", "epoch_s": "epoch s", "epoch_low_s": "from"}
    headings |= {"epoch_high_s": "to", "training_s": "25 epochs, s", "epoch_paper_s": "the paper's epoch s"}
    caption = (
        "Seconds of an epoch, the values of the paper's figures 2 to 4; in 95 % of cases all intervals hold together, "
        "and fewer than three runs have none."
    )
    return StudyTable("study-epochs", caption, headings, rows, is_detail=True)


def _epoch_seconds(trials: Sequence[StoredTrial]) -> dict[Turn, float]:
    """Of an epoch of the study, by turn."""
    return {job.trial.turn: known.total / paper().epochs for job in trials if (known := study_seconds(job)) is not None}


def _epoch_row(subject: StudySubject, seconds: Sequence[float], estimate: Estimate | None) -> StudyRow:
    (place, variant), theirs = subject, _theirs(subject[0])
    ends = (estimate.low, estimate.high) if estimate else (None, None)
    low, high = (None if end is None else float(np.exp(end)) for end in ends)
    median = float(np.median(seconds)) if seconds else None
    row: StudyRow = {"cell": f"{place.cell} {place.device}", "subject": f"{place.framework}:{variant}"}
    row |= {"network": place.network, "input_size": place.input_size, "device": place.device, "runs": len(seconds)}
    row |= {"epoch_s": median, "epoch_low_s": low, "epoch_high_s": high}
    row |= {"training_s": median and median * paper().epochs}
    return row | {"epoch_paper_s": theirs and theirs.total_seconds / paper().epochs}


def _numbers(place: Place, trials: Sequence[StoredTrial]) -> StudyRow:
    key = re.sub(r"\W", "", place.network.lower())
    known = [seconds for trial in trials if (seconds := study_seconds(trial)) is not None]
    theirs = _theirs(place)
    total = float(np.median([seconds.total for seconds in known])) if known else None
    mark = "~" if any(seconds.is_extrapolated for seconds in known) else ""
    return {
        f"{key}_time": None if total is None else f"{mark}{total:,.0f}",
        f"{key}_s": total,
        f"{key}_extrapolated": bool(mark),
        f"{key}_paper_s": theirs and theirs.total_seconds,
        f"accuracy_{key}_valid": _accuracy(trials, "valid"),
        f"accuracy_{key}_test": _accuracy(trials, "test"),
        f"accuracy_{key}_paper": theirs and theirs.accuracy_percent / 100,
    }


def _accuracy(trials: Sequence[StoredTrial], split: str) -> float | None:
    """Of trials of as many epochs as the study trained."""
    whole = [job.timeline.accuracy(split) for job in trials if job.trial.training.epochs == paper().epochs]
    known = [value for value in whole if value is not None]
    return float(np.median(known)) if known else None


def _theirs(place: Place) -> PaperCell | None:
    return next((result for result in paper().results if paper_place(result) == place), None)
