"""How the variants of one round of a tuning stand to each other, as geometric means over the round's cells."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.analysis.contrasts import estimates
from orchestrator.analysis.timed import timed_run
from orchestrator.records.stored import StoredRun
from orchestrator.trial import Cell, Turn

HELPS = 1.02
"""A setting that makes its variant faster by less than 2 % is not taken."""


class Scored(NamedTuple):
    """One variant. ratio: how many times as long it takes as the fastest, with its simultaneous interval, if any.

    reason: why it has no times; then all else is None.
    """

    variant: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def scored(stored: StoredRun, variants: Sequence[str]) -> list[Scored]:
    """The variants by their speed, the fastest first; those that failed, or ran in some cells only, last."""
    seconds: dict[tuple[str, Cell], dict[Turn, float]] = {}
    for job in stored.trials:
        if job.outcome.status == "ok" and not job.record.is_unverified and job.timeline.steady_steps.size:
            turn = job.trial.turn
            seconds.setdefault((job.trial.variant, job.trial.cell), {})[turn] = timed_run(job).seconds
    cells = sorted({job.trial.cell for job in stored.trials}, key=lambda cell: cell.title)
    whole = [variant for variant in variants if all((variant, cell) in seconds for cell in cells)]
    means = {
        variant: float(np.mean([np.mean(np.log(list(seconds[variant, cell].values()))) for cell in cells]))
        for variant in whole
    }
    ranked = sorted(whole, key=lambda variant: means[variant])
    fastest = ranked[:1]
    share = 1 / max(len(cells), 1)
    contrasts = [
        {(variant, cell): share for cell in cells} | {(fastest[0], cell): -share for cell in cells}
        for variant in ranked[1:]
    ]
    scores = [Scored(variant, 1.0, 1.0, 1.0) for variant in fastest]
    for variant, estimate in zip(ranked[1:], estimates(contrasts, seconds), strict=True):
        if estimate is None:
            scores.append(Scored(variant, reason="its runs share no turn with those of the fastest"))
            continue
        low, high = (None if end is None else float(np.exp(end)) for end in (estimate.low, estimate.high))
        scores.append(Scored(variant, float(np.exp(estimate.value)), low, high))
    return [*scores, *(Scored(variant, reason=_why(stored, variant)) for variant in variants if variant not in whole)]


def _why(stored: StoredRun, variant: str) -> str:
    """Why a variant was not timed in all cells."""
    for skip in stored.facts.skips:
        if skip.variant == variant:
            return skip.reason
    for job in stored.trials:
        if job.trial.variant == variant and job.outcome.status != "ok":
            return f"{job.outcome.status}: {job.outcome.reason}"
    return "it has no step after its warm-up"
