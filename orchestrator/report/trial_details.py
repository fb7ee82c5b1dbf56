"""What a reader may ask about one trial: clocks, steps, losses, audit, log, and the command that repeats it."""

import math
import shlex
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from orchestrator.analysis import stats
from orchestrator.environment import digest
from orchestrator.planning.catalogue import OWN_IMAGE
from orchestrator.records.payloads import Array
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.tables import trial_numbers

STEP_POINTS = 120
"""Of the series of one trial's steps: more than a chart of its width can show is not needed."""

ALL_STEP_POINTS = 200_000
"""Of all trials together, so that the page of a large run stays small."""

Details = dict[str, Any]


def details(stored: StoredRun) -> list[Details]:
    """One entry for each trial, in the order in which they ran; plain values, ready for JSON.

    steps_ms: the medians of equal parts of the series of steps, after the warm-up. losses: the mean of each epoch.
    log: the end of the log, of a trial that did not end ok.
    """
    points = max(20, min(STEP_POINTS, ALL_STEP_POINTS // max(1, len(stored.trials))))
    return [_one(stored, trial, points) for trial in stored.trials]


def _one(stored: StoredRun, job: StoredTrial, points: int) -> Details:
    trial, outcome, timeline = job.trial, job.outcome, job.timeline
    audit = stored.audit_of(job)
    check = audit.timeline.check if audit else None
    numbers = {name: _short(value) for name, value in trial_numbers(job)._asdict().items() if value is not None}
    return {
        "ordinal": job.record.ordinal,
        "subject": trial.subject,
        "cell": trial.cell.title,
        "seed": trial.seed,
        "repeat": trial.repeat,
        "status": outcome.status,
        "reason": outcome.reason,
        "numbers": numbers,
        "steps_ms": _shortened(1000 * thinned_steps(timeline.steady_steps, points)),
        "losses": _shortened(_means([epoch.loss for epoch in timeline.epochs])),
        "valid": _shortened(np.array([score.accuracy for score in timeline.scores if score.split == "valid"])),
        "audit": {name: value and float(f"{value:.2e}") for name, value in check.figures.items()} if check else None,
        "bounds": check.bounds if check else {},
        "weights": timeline.done.weights_sha256 if timeline.done else None,
        "environment": anchor(job.environment.identity),
        "log": job.exit.log_tail if job.exit and outcome.status != "ok" else "",
        "command": shlex.join(repeat_command(stored, job)),
    }


@lru_cache(maxsize=1000)
def anchor(identity: str) -> str:
    """The name of an environment in links of the page."""
    return "e" + digest(identity)[:12]


def repeat_command(stored: StoredRun, job: StoredTrial) -> list[str]:
    """The command that runs this trial again where the report is: its network, build and seed, once.

    The spec is named by its run, so the command is right wherever reports are kept.

    A spec of several preparations or loaders (the studies of CLAHE and of loader workers) runs in all of them.
    """
    facts, trial = stored.facts, job.trial
    command = ["invoke", "sweep", f"--spec={facts.run_id}", f"--device={trial.device}"]
    is_own = trial.variant.startswith(OWN_IMAGE)
    build = f"--image={trial.framework}={job.environment.location}"
    command += [f"--frameworks={trial.framework}"]
    command += [build if is_own else f"--variant={trial.framework}={trial.variant}"]
    command += [f"--cells={trial.cell.network}", f"--seeds={trial.seed}", "--repeats=1"]
    return command + ([] if facts.engine == "docker" else [f"--engine={facts.engine}"])


def thinned_steps(seconds: Array, points: int) -> Array:
    """The series (n,) as the medians of equal parts, at most `points` of them; the last part may be shorter."""
    width = -(-seconds.size // points) or 1
    whole = seconds[: seconds.size // width * width]
    rest = seconds[whole.size :]
    parts = stats.medians(whole.reshape(-1, width)) if whole.size else whole
    return np.append(parts, stats.median(rest)) if rest.size else parts


def _means(losses: Sequence[Array]) -> Array:
    """The mean of each epoch; NaN where a loss is not finite, or none is known."""
    sizes = np.array([epoch.size for epoch in losses])
    sums = np.array([np.add.reduce(epoch) for epoch in losses])
    means: Array = np.divide(sums, sizes, out=np.full(len(losses), np.nan), where=sizes > 0)
    return means


def _shortened(values: Array) -> list[float | None]:
    """The values with five significant figures of the largest; None for what is not finite."""
    finite = np.isfinite(values)
    largest = float(np.abs(values[finite]).max(initial=0.0))
    digits = 4 - math.floor(math.log10(largest)) if largest else 0
    rounded = np.round(values, digits).tolist()
    return (
        rounded
        if finite.all()
        else [value if is_known else None for value, is_known in zip(rounded, finite, strict=True)]
    )


def _short(value: float) -> float:
    """Five significant figures: a page holds many thousands of these."""
    return float(f"{value:.5g}")
