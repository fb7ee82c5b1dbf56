"""Studies of one property of the pictures or the network: error rate over seeds, and time, for each of its levels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from orchestrator.analysis import stats
from orchestrator.analysis.noise import NoiseFloors
from orchestrator.analysis.ratios import Pairs, judge, paired
from orchestrator.analysis.timed import timed_run
from orchestrator.dataset import STUDY_FILTERS
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.studies.loaders import longer
from orchestrator.report.studies.section import Section, StudyRow, StudyTable, grouped, note_of, ok
from orchestrator.report.study2020.paper import paper
from orchestrator.report.tables import natural
from orchestrator.report.text import percent
from orchestrator.trial import Trial, Turn

GroupKey = tuple[str, str]


@dataclass(frozen=True)
class LevelStudy:
    """One study of this kind.

    level: the level of a trial, in words. rank: the order of levels; the others are compared with the first.
    rest:  what all levels of one comparison share, besides subject and device.
    is_timed: whether a level can change the speed. group: whose levels are compared.
    is_filtered: whether levels are filters of the pictures, whose own time is told.
    """

    name: str
    title: str
    about: str
    level: Callable[[Trial], str]
    rank: Callable[[Trial], Any]
    rest: Callable[[Trial], str]
    is_timed: bool
    notes: tuple[str, ...]
    group: Callable[[Trial], str] = lambda trial: trial.subject
    is_filtered: bool = False


CLAHE = LevelStudy(
    "clahe",
    "CLAHE",
    "The same networks on pictures with and without CLAHE (contrast-limited adaptive histogram equalisation).",
    level=lambda trial: "with CLAHE" if trial.dataset.filters else "without CLAHE",
    rank=lambda trial: int(not trial.dataset.filters),
    rest=lambda trial: trial.cell.network,
    is_timed=False,
    notes=(
        "The paper equalised every picture, because lighting varies, and gives no figure without CLAHE; its errors "
        "shown here are with CLAHE. It does not state its clip limit and tiles (here 2, and 4 by 4).",
    ),
    is_filtered=True,
)

FILTERS = LevelStudy(
    "filters",
    "Filters",
    "The same networks on pictures after different filters, compared with the shortest chain.",
    level=lambda trial: ", ".join(trial.dataset.filters) or "none",
    rank=lambda trial: (len(trial.dataset.filters), trial.dataset.filters),
    rest=lambda trial: trial.cell.network,
    is_timed=False,
    notes=(
        "A filter's time is of one processor and one picture that has its size already, as it was prepared here; a "
        "filter in `invoke watch` takes as long for each region.",
    ),
    is_filtered=True,
)

INPUT_SIZE = LevelStudy(
    "input-size",
    "Input size",
    "The same networks on pictures of several sizes.",
    level=lambda trial: trial.input_size.pixels,
    rank=lambda trial: prod(trial.input_size),
    rest=lambda trial: trial.model.label,
    is_timed=True,
    notes=("The paper: no input size dominates in accuracy, and 32x32 is the economical choice.", paper().errata[1]),
)

DEPTH = LevelStudy(
    "depth",
    "Depth",
    "Networks of one family and several depths, on the same pictures.",
    level=lambda trial: trial.model.label,
    rank=lambda trial: trial.model.depth or 0,
    rest=lambda trial: f"{trial.model.family} at {trial.input_size.pixels}",
    is_timed=True,
    notes=("The paper: ResNet-32 does not beat ResNet-20.",),
)

UNIT_GAIN = LevelStudy(
    "unit-gain",
    "CNTK's unit_gain",
    "CNTK with its own momentum (unit_gain, which scales the gradient by 1 - momentum) and with that of all others.",
    level=lambda trial: "unit_gain=True" if "unit-gain" in trial.variant else "unit_gain=False",
    rank=lambda trial: int("unit-gain" in trial.variant),
    rest=lambda trial: trial.cell.network,
    is_timed=False,
    notes=(
        "The paper set unit_gain to False, because with it CNTK's SGD is not the others' and its accuracy suffers.",
    ),
    group=lambda trial: trial.framework,
)


def levels(study: LevelStudy, stored: StoredRun, floors: NoiseFloors) -> Section:
    """A row for each subject and level, and a sentence for each level after the first."""
    places = grouped(stored.trials, lambda job: (study.group(job.trial), f"{study.rest(job.trial)} {job.trial.device}"))
    by_level = {
        place: grouped(sorted(members, key=lambda job: study.rank(job.trial)), lambda job: study.level(job.trial))
        for place, members in sorted(places.items(), key=lambda item: natural(" ".join(item[0])))
    }
    errors, times = _error_words(by_level), _time_words(by_level, floors) if study.is_timed else {}
    rows = [_row(place, level, trials) for place, members in by_level.items() for level, trials in members.items()]
    for row in rows:
        where = ((row["subject"], row["cell"]), row["level"])
        row |= {"error_words": errors.get(where), "time_words": times.get(where)}
    headings = {
        "subject": "subject",
        "cell": "of",
        "level": "level",
        "runs": "runs",
        "error_test": "test error, median",
    }
    headings |= {"error_test_low": "from", "error_test_high": "to", "error_valid": "validation error"}
    headings |= {"filters_ms": "filters, ms a picture"} if study.is_filtered else {}
    headings |= {"step_ms": "step ms", "epoch_s": "epoch s"} if study.is_timed else {}
    headings |= {"time_words": "a step takes"} if study.is_timed else {}
    headings |= {"error_paper": "the paper's error"} | ({"paper_s": "its epoch s"} if study.is_timed else {})
    about = (
        f"{study.about} Test error: one less the accuracy after the last epoch, median and range over the runs. "
        "Errors of two levels are compared seed by seed (paired t-test; all of this run are one family)."
    )
    return Section(
        anchor=study.name,
        title=study.title,
        about=about + (" Times: as for builds, by pairs of runs." if study.is_timed else ""),
        verdicts=tuple(_sentence(row, study) for row in rows if row["error_words"]),
        tables=(StudyTable(study.name, "Error and time of each level.", {**headings, "note": "note"}, rows),),
        notes=(*study.notes, paper().caution, paper().errata[0], paper().errata[3], paper().errata[4]),
    )


def _sentence(row: StudyRow, study: LevelStudy) -> str:
    text = f"{row['subject']} {row['cell']}, {row['level']}: {row['error_words']}"
    return f"{text}; a step takes {row['time_words']}." if study.is_timed and row["time_words"] else f"{text}."


def _row(place: GroupKey, level: str, trials: Sequence[StoredTrial]) -> StudyRow:
    sound = ok(trials)
    tests = stats.repeats([error for trial in sound if (error := _error(trial, "test")) is not None])
    steps = [float(np.median(job.timeline.steady_steps)) for job in sound if job.timeline.steady_steps.size]
    epochs = [float(np.median(job.timeline.steady_epochs)) for job in sound if job.timeline.steady_epochs.size]
    valid = [error for trial in sound if (error := _error(trial, "valid")) is not None]
    asked = trials[0].trial
    is_theirs = asked.dataset.filters == STUDY_FILTERS
    theirs = paper().cell(asked.framework, asked.model, asked.input_size, asked.device) if is_theirs else None
    row: StudyRow = {"subject": place[0], "cell": place[1], "level": level, "runs": len(sound)}
    row |= {"error_test": tests and tests.median, "error_test_low": tests and tests.low}
    row |= {"error_test_high": tests and tests.high, "error_valid": float(np.median(valid)) if valid else None}
    row |= {"step_ms": float(np.median(steps)) * 1000 if steps else None, "filters_ms": _filters_ms(trials)}
    row |= {"epoch_s": float(np.median(epochs)) if epochs else None}
    row |= {"error_paper": theirs and 1 - theirs.accuracy_percent / 100}
    return row | {"paper_s": theirs and theirs.total_seconds / paper().epochs, "note": note_of(trials)}


def _filters_ms(trials: Sequence[StoredTrial]) -> float | None:
    """What all filters together took for a picture, in the preparation; None where that is not known."""
    known = next((job.data.filter_ms for job in trials if job.data), {})
    return sum(known.values()) if known else None


def _error_words(by_level: Mapping[GroupKey, Mapping[str, Sequence[StoredTrial]]]) -> dict[tuple[GroupKey, str], str]:
    """How the error of each place and level differs from the first level's, over the seeds that both have."""
    errors: dict[tuple[GroupKey, str], list[float]] = {}
    firsts: dict[tuple[GroupKey, str], str] = {}
    for place, members in by_level.items():
        first, *others = members
        for level in others:
            ours, base = _by_seed(members[level]), _by_seed(members[first])
            differences = [ours[seed] - base[seed] for seed in ours if seed in base]
            if differences:
                errors[place, level], firsts[place, level] = differences, first
    p_values = [stats.t_test(differences) for differences in errors.values()]
    significant = stats.holm(p_values)
    return {
        where: _difference_words(differences, firsts[where], p_values[at], at in significant)
        for at, (where, differences) in enumerate(errors.items())
    }


def _difference_words(differences: Sequence[float], first: str, p: float, is_significant: bool) -> str:
    middle, low, high = float(np.median(differences)), min(differences), max(differences)
    side = "lower" if middle < 0 else "higher"
    text = (
        f"the test error is {percent(abs(middle)).removesuffix(' %')} points {side} than {first} in the median of "
        f"{len(differences)} seed{'' if len(differences) == 1 else 's'} [{100 * low:+.2f}, {100 * high:+.2f}]"
    )
    if len(differences) < stats.ENOUGH_REPEATS:
        return f"{text}; fewer than {stats.ENOUGH_REPEATS} seeds give no verdict"
    return f"{text}; {'shown' if is_significant else 'no difference shown'} (p = {p:.2g})"


def _time_words(
    by_level: Mapping[GroupKey, Mapping[str, Sequence[StoredTrial]]], floors: NoiseFloors
) -> dict[tuple[GroupKey, str], str]:
    """How many times as long a step takes, for each place and level, as in the first level."""
    pairs: dict[tuple[GroupKey, str], Pairs] = {}
    for place, members in by_level.items():
        first, *others = members
        base = _by_turn(members[first])
        for level in others:
            ours = _by_turn(members[level])
            common = [turn for turn in ours if turn in base]
            if common:
                pairs[place, level] = paired(
                    [timed_run(base[turn]) for turn in common], [timed_run(ours[turn]) for turn in common]
                )
    asked = [by_level[place][level][0].trial for place, level in pairs]
    known = floors.scatters({(trial.framework, trial.device) for trial in asked})
    ratios = judge([[of_place] for of_place in pairs.values()], known)
    return {where: longer(ratio) for where, ratio in zip(pairs, ratios, strict=True)}


def _by_seed(trials: Sequence[StoredTrial]) -> dict[int, float]:
    """The median test error of each seed, because repeats of one seed are not independent seeds."""
    values: dict[int, list[float]] = {}
    for job in ok(trials):
        error = _error(job, "test")
        if error is not None:
            values.setdefault(job.trial.seed, []).append(error)
    return {seed: float(np.median(errors)) for seed, errors in values.items()}


def _by_turn(trials: Sequence[StoredTrial]) -> dict[Turn, StoredTrial]:
    steady = [job for job in ok(trials) if job.timeline.steady_steps.size]
    return {job.trial.turn: job for job in steady}


def _error(job: StoredTrial, split: str) -> float | None:
    accuracy = job.timeline.accuracy(split)
    return None if accuracy is None else 1 - accuracy
