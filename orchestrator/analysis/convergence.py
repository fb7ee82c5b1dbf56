"""Whether one subject learns faster or slower than the others of its cell. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.analysis import stats
from orchestrator.records.stored import StoredTrial

ENOUGH_SEEDS = 3


@dataclass(frozen=True)
class Learning:
    """A subject whose training loss differs: its mean over all steps, that of the others, and the adjusted p."""

    subject: str
    loss: float
    others: float
    p: float
    seeds: int

    @property
    def word(self) -> str:
        """'faster' or 'slower'."""
        return "faster" if self.loss < self.others else "slower"


def unlike(trials: Sequence[StoredTrial]) -> list[Learning]:
    """The subjects of one cell that learn significantly faster or slower than the others; each trial ended ok.

    Compared are the mean losses over all steps, seed by seed: at one seed all start from the same weights and see the
    same batches. Repeats of a seed count once. Needs three seeds that all have, and two subjects.
    """
    by_subject: dict[str, dict[int, list[float]]] = {}
    for job in trials:
        losses = np.concatenate([np.empty(0), *(epoch.loss for epoch in job.timeline.epochs)])
        if np.isfinite(losses).any():
            mean = float(losses[np.isfinite(losses)].mean())
            by_subject.setdefault(job.trial.subject, {}).setdefault(job.trial.seed, []).append(mean)
    means = {
        subject: {seed: float(np.mean(losses)) for seed, losses in seeds.items()}
        for subject, seeds in by_subject.items()
    }
    seeds = sorted(set.intersection(*(set(losses) for losses in means.values()))) if means else []
    if len(means) < 2 or len(seeds) < ENOUGH_SEEDS:
        return []
    outliers = [_against_others(subject, means, seeds) for subject in sorted(means)]
    return [row for row in outliers if row.p < stats.SIGNIFICANT]


def _against_others(subject: str, means: Mapping[str, Mapping[int, float]], seeds: Sequence[int]) -> Learning:
    own = np.array([means[subject][seed] for seed in seeds])
    rest = np.array([np.median([losses[seed] for name, losses in means.items() if name != subject]) for seed in seeds])
    p = stats.p_of_family(stats.t_test(own - rest), len(means))
    return Learning(subject, float(own.mean()), float(rest.mean()), p, len(seeds))
