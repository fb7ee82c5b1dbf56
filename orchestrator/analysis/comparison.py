"""Comparison of two builds in one run: the ratio of their pairs, with its interval and its verdict.

A pair is two fresh processes that ran one after the other. Two runs on record are compared in sessions.py.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orchestrator.analysis.noise import NoiseFloors
from orchestrator.analysis.ratios import Pairs, Ratio, judge
from orchestrator.analysis.timed import CellKey, cell_pairs
from orchestrator.errors import SpecError
from orchestrator.records.run_folder import Until
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.trial import Cell, SubjectPair

MEAN = "geometric mean"


class _Row(NamedTuple):
    """One cell, or the mean of several."""

    cell: str
    keys: Sequence[CellKey]
    cells: Sequence[Pairs]


def rows(stored: StoredRun, floors: NoiseFloors) -> list[dict[str, object]]:
    """One row per cell of an `invoke compare`, and their geometric mean if there are several.

    Raises SpecError if there is nothing to compare.
    """
    assert stored.facts.compared is not None
    cells = cell_pairs(stored.trials, *stored.facts.compared)
    is_sequential = stored.facts.until is not None
    members = [_Row(key.label, [key], [pairs]) for key, pairs in cells.items()]
    judged = _judged(members, floors, is_sequential)
    return judged + (_judged([_mean(cells)], floors, is_sequential) if len(cells) > 1 else [])


def family(stored: StoredRun, pairs: Sequence[SubjectPair], floors: NoiseFloors) -> list[dict[str, object]]:
    """The rows of several pairs of subjects of one run, cell by cell, and each pair's geometric mean.

    All pairs and cells are judged as one family, the means as another. A pair that cannot be compared in a cell, or did
    not run at all, is a row with the reason.
    """
    pairs_of: dict[SubjectPair, dict[CellKey, Pairs]] = {}
    rows: dict[tuple[SubjectPair, str], dict[str, object]] = {}
    for pair in pairs:
        pairs_of[pair] = {}
        for cell, trials in _by_cell(stored, pair).items():
            try:
                pairs_of[pair] |= _side_by_side(stored, trials, pair)
            except SpecError as error:
                rows[pair, cell] = _no_row(cell, str(error))
    timed = [
        (pair, _Row(key.cell.title, [key], [pairs])) for pair, cells in pairs_of.items() for key, pairs in cells.items()
    ]
    means = [(pair, _mean(cells)) for pair, cells in pairs_of.items() if len(cells) > 1]
    for members in (timed, means):
        judged = _judged([row for _, row in members], floors)
        rows |= {(pair, member.cell): row for (pair, member), row in zip(members, judged, strict=True)}
    return [
        {"baseline": pair[0], "candidate": pair[1], **row}
        for pair in pairs
        for (subjects, _), row in rows.items()
        if subjects == pair
    ]


def look(stored: StoredRun, cell: Cell, floors: NoiseFloors, cells: int) -> Ratio:
    """The ratio of one cell of a comparison that is under way; cells: how many it has.

    Raises SpecError if one of its trials cannot be compared.
    """
    assert stored.facts.compared is not None
    trials = [job for job in stored.trials if job.trial.cell.in_float32 == cell.in_float32]
    ((key, pairs),) = cell_pairs(trials, *stored.facts.compared).items()
    known = floors.scatters({(key.framework, key.cell.device)})
    (ratio,) = judge([[pairs]], known, family=cells, is_sequential=True)
    return ratio


def is_enough(ratio: Ratio, until: Until) -> bool:
    """Whether more pairs would not change what is asked."""
    if ratio.low is None or ratio.high is None:
        return False
    if until.margin is not None:
        return allowed(ratio, until.margin) is not None
    return ratio.verdict != "unclear" or ratio.high / ratio.low <= (1 + until.precision) ** 2


def allowed(ratio: Ratio, margin: float) -> bool | None:
    """Whether the candidate is slower by no more than `margin`, a share of 1; None if the interval leaves that open."""
    bound = 1 / (1 + margin)
    if ratio.low is None or ratio.high is None or ratio.pairs < ratio.fewest:
        return None
    return True if ratio.low >= bound else False if ratio.high < bound else None


def words(ratio: Ratio) -> str:
    """'1.93x faster [1.88, 1.98]': the verdict with its numbers, or why there is none."""
    if ratio.low is None or ratio.high is None:
        return f"{ratio.withheld}: {ratio.effect:.3f}"
    if ratio.verdict == "faster":
        return f"{ratio.effect:.2f}x faster [{ratio.low:.2f}, {ratio.high:.2f}]"
    if ratio.verdict == "slower":
        return f"{1 / ratio.effect:.2f}x slower [{1 / ratio.high:.2f}, {1 / ratio.low:.2f}]"
    interval = f"{ratio.effect:.3f} {ratio.interval}"
    if ratio.verdict == "same":
        return f"the same within 2 %: {interval}"
    return f"{interval}; {ratio.withheld}"


def _judged(members: Sequence[_Row], floors: NoiseFloors, is_sequential: bool = False) -> list[dict[str, object]]:
    """A row for each; together they are one family of tests."""
    keys = [key for member in members for key in member.keys]
    known = floors.scatters({(key.framework, key.cell.device) for key in keys})
    ratios = judge([member.cells for member in members], known, is_sequential=is_sequential)
    return [_row(member, ratio, floors) for member, ratio in zip(members, ratios, strict=True)]


def _mean(cells: Mapping[CellKey, Pairs]) -> _Row:
    return _Row(MEAN, list(cells), list(cells.values()))


def _by_cell(stored: StoredRun, pair: SubjectPair) -> dict[str, list[StoredTrial]]:
    """The trials of both subjects, by the baseline's cell and device; 'all' without any if neither has one.

    The two were named, so they may compute in two number formats, which are two cells everywhere else.
    """
    cells: dict[Cell, list[StoredTrial]] = {}
    for job in stored.trials:
        if job.trial.subject in pair:
            cells.setdefault(job.trial.cell.in_float32, []).append(job)
    return {_title(trials, pair[0]): trials for trials in cells.values()} or {"all": []}


def _title(trials: Sequence[StoredTrial], baseline: str) -> str:
    """Of the baseline's cell; of the candidate's if that alone ran."""
    return next((job for job in trials if job.trial.subject == baseline), trials[0]).trial.cell.title


def _side_by_side(stored: StoredRun, trials: Sequence[StoredTrial], pair: SubjectPair) -> dict[CellKey, Pairs]:
    """The pairs of one cell. Raises SpecError if a subject has no trial in it, or one that cannot be compared."""
    absent = [subject for subject in pair if all(job.trial.subject != subject for job in trials)]
    if absent:
        reasons = {skip.key.subject: skip.reason for skip in stored.facts.skips}
        raise SpecError(f"{absent[0]} did not run{': ' if absent[0] in reasons else ''}{reasons.get(absent[0], '')}")
    return cell_pairs(trials, *pair)


def _row(row: _Row, ratio: Ratio, floors: NoiseFloors) -> dict[str, object]:
    return {
        "cell": row.cell,
        "verdict": ratio.verdict,
        "words": words(ratio),
        "ratio": ratio.effect,
        "low": ratio.low,
        "high": ratio.high,
        "pairs": ratio.pairs,
        "p": ratio.p,
        "p_alone": ratio.p_alone,
        "more_pairs": ratio.more,
        "noise_floor": floors.factor({(key.framework, key.cell.device) for key in row.keys}, ratio.pairs),
    }


def _no_row(cell: str, reason: str) -> dict[str, object]:
    blank = dict.fromkeys(("verdict", "ratio", "low", "high", "p", "p_alone", "more_pairs", "noise_floor"))
    return {"cell": cell, "words": f"not compared: {reason}", "pairs": 0, **blank}
