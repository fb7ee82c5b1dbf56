"""Which subject reaches the target first: seconds over seeds, with those that did not reach it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.analysis.targets import LEVEL, Attempt, Estimate, attempt, estimate, profile
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.studies.section import Section, StudyRow, StudyTable, grouped, note_of
from orchestrator.report.tables import natural
from orchestrator.report.text import figures3, percent
from orchestrator.trial import ORACLE


def target_section(stored: StoredRun) -> Section | None:
    """A row for each subject of a cell, and the performance profile over the cells; None without a target."""
    aimed = [job for job in stored.trials if job.trial.training.target and job.trial.framework != ORACLE]
    targets = {job.trial.training.target for job in aimed}
    if not aimed or not any(attempt(job) for job in aimed):
        return None
    cells = grouped(aimed, lambda job: job.trial.cell.title)
    level = 1 - (1 - LEVEL) / max(len({job.trial.subject for job in jobs}) for jobs in cells.values())
    rows: list[StudyRow] = []
    verdicts: list[str] = []
    medians: dict[str, dict[str, float]] = {}
    for cell, jobs in sorted(cells.items(), key=lambda item: natural(item[0])):
        judged = {
            subject: (own, _estimate(own, level))
            for subject, own in grouped(jobs, lambda job: job.trial.subject).items()
        }
        order = sorted(judged, key=lambda subject: judged[subject][1].median or np.inf)
        rows += [_row(cell, subject, *judged[subject]) for subject in order]
        known = {subject: judged[subject][1] for subject in order}
        medians[cell] = {subject: one.median for subject, one in known.items() if one.median is not None}
        verdicts.append(f"{cell}: {_order(known)}")
    headings = {
        "cell": "of",
        "subject": "subject",
        "median_s": "seconds to the target",
        "low_s": "from",
        "high_s": "to",
    }
    headings |= {"reached": "reached", "seeds": "trainings", "epochs": "epochs, median", "start_s": "start s"}
    headings |= {"steps_s": "steps s", "evaluation_s": "evaluation s", "note": "note"}
    tables = [StudyTable("target", "Seconds to the target of each subject.", headings, rows)]
    if len(cells) > 1:
        curve = [
            {"subject": subject, "ratio": ratio, "share_solved": share}
            for subject, points in sorted(profile(medians).items())
            for ratio, share in points
        ]
        shown = {"subject": "subject", "ratio": "within so many times the best", "share_solved": "cells solved"}
        tables.append(StudyTable("profile", "The performance profile.", shown, curve))
    accuracy = " or ".join(sorted(percent(target.accuracy) for target in targets if target))
    return Section(
        anchor="target",
        title="Seconds to the target",
        about=(
            f"Each training ended after the epoch in which its validation accuracy was {accuracy}, or after its last. "
            "Seconds are those of the start (imports, the network, opening the pictures), of the epochs and of the "
            "evaluations, from the first line of the process. The median is that of log-normal times, in which "
            "trainings that did not reach the target are censored at what they lasted; the intervals of a cell hold "
            f"together in {LEVEL:.0%} of cases (Meeker and Escobar 1998; a likelihood ratio with Student's t). Two "
            "subjects stand in order where their intervals do not overlap. The split is of the medians of those "
            "that reached it. Performance profile: Dolan and More 2002, as in AlgoPerf."
        ),
        verdicts=tuple(verdicts),
        tables=tuple(tables),
    )


def _estimate(jobs: Sequence[StoredTrial], level: float) -> Estimate:
    attempts = [one for job in jobs if (one := attempt(job))]
    return estimate([one.seconds for one in attempts], [one.is_reached for one in attempts], level)


def _row(cell: str, subject: str, jobs: Sequence[StoredTrial], known: Estimate) -> StudyRow:
    reached = [one for job in jobs if (one := attempt(job)) and one.is_reached]
    row: dict[str, Any] = {"cell": cell, "subject": subject, "median_s": known.median}
    row |= {"low_s": known.low, "high_s": known.high, "reached": known.reached, "seeds": known.count}
    row |= {f"{part}_s": _median(reached, part) for part in ("start", "steps", "evaluation")}
    row["epochs"] = _median(reached, "epochs")
    return row | {"note": note_of(jobs) or ("" if known.median else "two trainings at least must reach the target")}


def _median(attempts: Sequence[Attempt], part: str) -> float | None:
    return float(np.median([getattr(one, part) for one in attempts])) if attempts else None


def _order(known: Mapping[str, Estimate]) -> str:
    """'pytorch:2.13 is first, in 31 s [28, 35]; ...', and who cannot be told apart from it."""
    solved = {subject: one for subject, one in known.items() if one.median is not None}
    missed = [subject for subject in known if subject not in solved]
    said = "no subject reached the target twice"
    if solved:
        (first, best), *others = solved.items()
        apart = [name for name, one in others if one.low is None or best.high is None or one.low <= best.high]
        said = f"{first} is first, in {figures3(best.median)} s{_interval(best)}"
        said += f"; not told apart from it: {', '.join(apart)}" if apart else ""
    censored = [
        f"{name} {one.count - one.reached} of {one.count}" for name, one in solved.items() if one.reached < one.count
    ]
    said += f"; did not reach it: {', '.join(censored)}" if censored else ""
    return said + (f"; fewer than two trainings reached it: {', '.join(missed)}" if missed and solved else "") + "."


def _interval(one: Estimate) -> str:
    return f" [{figures3(one.low) if one.low else 'open'}, {figures3(one.high) if one.high else 'open'}]"
