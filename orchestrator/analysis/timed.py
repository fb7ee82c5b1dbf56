"""Trials as timed runs, and the pairs that they make."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.analysis import stats
from orchestrator.analysis.ratios import Pairs, TimedRun, paired
from orchestrator.environment import FLOAT32
from orchestrator.errors import SpecError
from orchestrator.records.stored import StoredTrial
from orchestrator.trial import Cell


class CellKey(NamedTuple):
    """What is compared: one framework in one cell."""

    framework: str
    cell: Cell

    @property
    def label(self) -> str:
        """'mxnet ResNet-20@32 cpu'."""
        return f"{self.framework} {self.cell.title}"


def timed_run(job: StoredTrial, seconds: float | None = None) -> TimedRun:
    """A trial by its median steady step, or by other seconds of it; in the order in which processes were launched."""
    return TimedRun(launched(job), stats.median(job.timeline.steady_steps) if seconds is None else seconds)


def launched(job: StoredTrial) -> float:
    """When its process was launched; without that its number, which gives the same order within a run."""
    return job.exit.launched_unix if job.exit else float(job.record.ordinal)


def cell_pairs(trials: Iterable[StoredTrial], baseline: str, candidate: str) -> dict[CellKey, Pairs]:
    """Pairs of two subjects of one run, by cell: how many times as fast the candidate is.

    The two were named, so they may compute in two number formats; the cell is then the baseline's.
    Of one subject with itself each repeat is paired with the next, and the sides alternate (AB, BA ...).
    Raises SpecError if there are none, or if one of their trials did not end ok, verified and steady.
    """
    jobs = sound(job for job in trials if job.trial.subject in (baseline, candidate))
    if baseline == candidate:
        sides = [[job for job in jobs if (job.trial.repeat + job.trial.repeat // 2) % 2 == side] for side in (0, 1)]
        return _joined(*({_paired_key(job, job.trial.repeat // 2): job for job in side} for side in sides))
    sides = [[job for job in jobs if job.trial.subject == subject] for subject in (baseline, candidate)]
    return _joined(*({_paired_key(job, job.trial.repeat): job for job in side} for side in sides))


def sound(trials: Iterable[StoredTrial]) -> Sequence[StoredTrial]:
    """The trials, all of them ok, verified and steady. Raises SpecError, naming the first that is not."""
    jobs = list(trials)
    for job in jobs:
        if job.outcome.status != "ok":
            why = f"ended {job.outcome.status} ({job.outcome.reason})"
        elif job.record.is_unverified:
            why = "ran without a passing selfcheck, so it may have computed something else"
        elif not job.timeline.steady_steps.size:
            why = "has no step after its warm-up; use more epochs or pictures"
        else:
            continue
        raise SpecError(f"{job.trial.label} {why}; there is nothing to compare.")
    return jobs


def _paired_key(job: StoredTrial, pair: int) -> str:
    return job.trial.model_copy(update={"repeat": pair, "precision": FLOAT32}).key


def _joined(baseline: Mapping[str, StoredTrial], candidate: Mapping[str, StoredTrial]) -> dict[CellKey, Pairs]:
    """Trials with the same question, paired, by cell. Raises SpecError if there are none."""
    cells: dict[CellKey, tuple[list[TimedRun], list[TimedRun]]] = {}
    for key in (key for key in baseline if key in candidate):
        job = baseline[key]
        ours, theirs = cells.setdefault(CellKey(job.trial.framework, job.trial.cell), ([], []))
        ours.append(timed_run(candidate[key]))
        theirs.append(timed_run(job))
    if not cells:
        raise SpecError(
            "they answer no common question: networks, sizes, data, training, measure and threads all count."
        )
    return {key: paired(*runs) for key, runs in cells.items()}
