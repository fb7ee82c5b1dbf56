"""Runs on record side by side. Two sessions differ by more than chance: without several of each there is no verdict."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy

from orchestrator.analysis.comparison import words
from orchestrator.analysis.ratios import Ratio
from orchestrator.analysis.stats import level_of_each, p_of_family
from orchestrator.analysis.timed import CellKey, sound, timed_run
from orchestrator.errors import SpecError
from orchestrator.records.stored import StoredRun, StoredTrial

ENOUGH_SESSIONS = 3
"""Of each side, for a verdict; its scatter is that between sessions."""


def rows(baseline: Sequence[StoredRun], candidate: Sequence[StoredRun]) -> list[dict[str, object]]:
    """One row per cell: how many times as fast the candidate's sessions were, by the medians of their trials.

    Raises SpecError if they ran on different machines, with other worker code, ops, pictures, engines or cards, if they
    share no question, or hold several variants of one framework.
    """
    runs = [*baseline, *candidate]
    for run in runs[1:]:
        if not runs[0].facts.host.is_same_machine(run.facts.host):
            raise SpecError(_differ(runs[0], run, "ran on different machines"))
    asked = [_questions(run) for run in runs]
    common = [question for question in asked[0] if all(question in answers for answers in asked)]
    if not common:
        raise SpecError(
            "they answer no common question: networks, sizes, data, training, measure and threads all count."
        )
    for run, trials in zip(runs[1:], asked[1:], strict=True):
        for what, condition in _CONDITIONS.items():
            if any(condition(trial) != condition(asked[0][key][0]) for key in common for trial in trials[key]):
                raise SpecError(_differ(runs[0], run, f"differ in {what}"))
    cells: dict[CellKey, list[_Question]] = {}
    for question in common:
        cells.setdefault(question.cell, []).append(question)
    rows = []
    for cell, questions in cells.items():
        logs = [float(np.mean([_log_seconds(answers[question]) for question in questions])) for answers in asked]
        rows.append(_row(cell, logs[len(baseline) :], logs[: len(baseline)], len(cells)))
    return rows


def _row(cell: CellKey, ours: Sequence[float], theirs: Sequence[float], family: int) -> dict[str, object]:
    sessions = min(len(ours), len(theirs))
    difference = float(np.mean(theirs) - np.mean(ours))
    row: dict[str, object] = {"cell": cell.label, "ratio": float(np.exp(difference)), "sessions": sessions}
    if sessions < ENOUGH_SESSIONS:
        text = (
            f"{np.exp(difference):.3f}x as fast; no verdict: two sessions differ by more than their trials do. "
            f"Compare the builds in one run, or name {ENOUGH_SESSIONS} sessions or more of each, with commas"
        )
        return row | {"verdict": "unclear", "words": text, "low": None, "high": None, "p": None}
    test = scipy.stats.ttest_ind(theirs, ours, equal_var=False)
    interval = test.confidence_interval(1 - level_of_each(family))
    low, high, p = float(np.exp(interval.low)), float(np.exp(interval.high)), float(test.pvalue)
    ratio = Ratio(float(np.exp(difference)), low, high, sessions, p_of_family(p, family), p, family, ENOUGH_SESSIONS)
    return row | {"verdict": ratio.verdict, "words": words(ratio), "low": low, "high": high, "p": ratio.p}


class _Question(NamedTuple):
    cell: CellKey
    key: str


def _questions(run: StoredRun) -> dict[_Question, list[StoredTrial]]:
    """The trials of a run by what they answer; repeats answer one question."""
    questions: dict[_Question, list[StoredTrial]] = {}
    for job in sound(run.trials):
        key = job.trial.model_copy(update={"repeat": 0}).key
        questions.setdefault(_Question(CellKey(job.trial.framework, job.trial.cell), key), []).append(job)
    for question, trials in questions.items():
        if len({job.trial.variant for job in trials}) > 1:
            raise SpecError(
                f"{run.facts.run_id} holds several variants that answer one question in {question.cell.label}; compare "
                "them by name, for example: invoke compare mxnet:1.5 mxnet:1.5-mkl"
            )
    return questions


def _log_seconds(trials: Sequence[StoredTrial]) -> float:
    return float(np.log(np.median([timed_run(trial).seconds for trial in trials])))


_CONDITIONS: dict[str, Callable[[StoredTrial], object]] = {
    "the worker's code": lambda job: job.record.worker_sha256,
    "the ops of a network": lambda job: job.record.network_sha256,
    "their pictures": lambda job: job.data and job.data.sha256,
    "their engine": lambda job: job.environment.engine,
    "their card": lambda job: job.environment.card and job.environment.card.name,
}


def _differ(first: StoredRun, other: StoredRun, how: str) -> str:
    return f"{first.facts.run_id} and {other.facts.run_id} {how}; their times say nothing of each other."
