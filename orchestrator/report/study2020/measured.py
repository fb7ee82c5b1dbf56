"""The study's numbers, from a run or from the paper: seconds of an epoch, and accuracy, of each framework and cell."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from orchestrator.analysis.contrasts import Estimate, estimates, exact, mean_difference
from orchestrator.analysis.utilisation import pooled_foreign_percent, quietness
from orchestrator.environment import Device
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.study2020.paper import DATASET, PaperCell, paper
from orchestrator.trial import Cell, Training, Trial, Turn

FRAMEWORKS = ("cntk", "neon", "mxnet", "pytorch", "tensorflow")
"""In the order of the paper's tables."""

NETWORKS: Mapping[str, str] = {
    "idsia": "IDSIA",
    "resnet20": "ResNet-20",
    "resnet32": "ResNet-32",
}
"""The paper's names of its networks -> ours."""


class Place(NamedTuple):
    """One framework in one cell of the study. network: 'ResNet-20'. input_size: a side of its square pictures."""

    framework: str
    network: str
    input_size: int
    device: Device

    @property
    def cell(self) -> str:
        """'ResNet-20@32'."""
        return f"{self.network}@{self.input_size}"


Blocks = Sequence[tuple[Sequence[Place], Sequence[Place]]]
"""Groups of places that are set against each other, the first against the second."""


@dataclass(frozen=True)
class Measured:
    """What claims are decided by.

    seconds:    of an epoch of the study's length, by turn.
    accuracies: of the test pictures after the study's epochs, shares of 1, by turn.
    is_exact:   single figures that are taken as they are: the paper's.
    """

    seconds: Mapping[Place, Mapping[Turn, float]]
    accuracies: Mapping[Place, Mapping[Turn, float]]
    is_exact: bool = False

    def estimates(self, contrasts: Sequence[Mapping[Place, float]]) -> list[Estimate | None]:
        """Contrasts of the logs of seconds, judged together; None where a place was not measured."""
        if self.is_exact:
            single = {place: next(iter(values.values())) for place, values in self.seconds.items()}
            return [exact(contrast, single) for contrast in contrasts]
        return estimates(contrasts, self.seconds)

    def differences(self, tests: Sequence[Blocks]) -> list[Estimate | None]:
        """The mean difference of accuracies over the blocks that were measured, judged together; None without any."""
        samples = [
            [difference for block in blocks if (difference := self._difference(block)) is not None] for blocks in tests
        ]
        if self.is_exact:
            means = [float(np.mean(sample)) if sample else None for sample in samples]
            return [None if mean is None else Estimate(mean, mean, mean) for mean in means]
        family = sum(bool(sample) for sample in samples)
        return [mean_difference(sample, family) for sample in samples]

    def _difference(self, block: tuple[Sequence[Place], Sequence[Place]]) -> float | None:
        """The mean accuracy of the first places less that of the second, over all runs."""
        first, second = block
        if not self.accuracies.keys() >= {*first, *second}:
            return None
        means = [np.mean([np.mean(list(self.accuracies[place].values())) for place in side]) for side in block]
        return float(means[0] - means[1])


StudySubject = tuple[Place, str]
"""A place and the variant that ran there."""


class StudySeconds(NamedTuple):
    """Of the whole training as the study made it. is_extrapolated: from fewer steps than that."""

    total: float
    is_extrapolated: bool


def is_equal_training(trial: Trial, is_scout: bool) -> bool:
    """Whether a trial trained as the study did: its data, preparation, batches, rule and rate, on our own loop.

    is_scout: of a scout, whose steps are those of the study, on other pictures.
    """
    study = _training(trial.training.epochs)
    is_plain = trial.cell == Cell(model=trial.model, input_size=trial.input_size, device=trial.device)
    is_square = trial.input_size.side is not None
    is_theirs = (is_scout or trial.dataset.name == DATASET) and not trial.dataset.differences
    return is_theirs and is_plain and is_square and trial.training == study


@lru_cache(maxsize=100)
def _training(epochs: int) -> Training:
    """The study's training, with this number of epochs."""
    return Training(batch_size=paper().batch_size, epochs=epochs)


def study_seconds(job: StoredTrial) -> StudySeconds | None:
    """Seconds of the study's 25 epochs; None if the trial has no step after its warm-up.

    From a trial of other epochs or fewer pictures: the mean step after the warm-up and the mean input, times the steps
    of the study.
    """
    timeline, steps = job.timeline, paper().steps_per_epoch
    epochs = timeline.epochs
    if len(epochs) == paper().epochs and all(epoch.loss.size == steps for epoch in epochs):
        return StudySeconds(sum(epoch.epoch_seconds for epoch in epochs), False)
    step = timeline.whole_step_seconds
    if step is None:
        return None
    return StudySeconds(step * steps * paper().epochs, True)


def paper_place(cell: PaperCell) -> Place:
    """Where a cell of the paper stands."""
    return Place(cell.framework, NETWORKS[cell.model], cell.input_size, cell.device)


def place_of(job: StoredTrial) -> Place:
    """Where a trial stands in the study."""
    return Place(job.trial.framework, job.trial.model.label, job.trial.input_size.height, job.trial.device)


def trials_of_the_study(stored: StoredRun) -> dict[StudySubject, list[StoredTrial]]:
    """The trials that ended ok and verified and trained as the study did, in networks that it has.

    Those of a subject that other processes disturbed in a cell are left out.
    """
    members: dict[StudySubject, list[StoredTrial]] = {}
    for job in stored.trials:
        place = place_of(job)
        is_of_study = place.framework in FRAMEWORKS and place.network in NETWORKS.values()
        if (
            is_of_study
            and job.outcome.status == "ok"
            and not job.record.is_unverified
            and is_equal_training(job.trial, stored.facts.is_scout)
        ):
            members.setdefault((place, job.trial.variant), []).append(job)
    return {subject: trials for subject, trials in members.items() if not _is_disturbed(trials)}


def _is_disturbed(trials: Sequence[StoredTrial]) -> bool:
    return quietness(pooled_foreign_percent((job.samples, job.timeline) for job in trials)) == "disturbed"


def measured_run(stored: StoredRun) -> Measured:
    """The numbers of a run. Accuracies count after as many epochs as the study trained.

    A framework that ran several variants in a cell is left out there: the study has one number of each.
    """
    members = trials_of_the_study(stored)
    several = {place for place, count in Counter(place for place, _ in members).items() if count > 1}
    seconds: dict[Place, dict[Turn, float]] = {}
    accuracies: dict[Place, dict[Turn, float]] = {}
    for (place, _), trials in members.items():
        for job in trials if place not in several else ():
            turn = job.trial.turn
            total, accuracy = study_seconds(job), job.timeline.accuracy("test")
            if total is not None:
                seconds.setdefault(place, {})[turn] = total.total / paper().epochs
            if accuracy is not None and job.trial.training.epochs == paper().epochs:
                accuracies.setdefault(place, {})[turn] = accuracy
    return Measured(seconds, accuracies)


def measured_paper() -> Measured:
    """The paper's numbers, with its errata applied."""
    places = {paper_place(result): result for result in paper().results}
    return Measured(
        {place: {(0, 0): cell.total_seconds / paper().epochs} for place, cell in places.items()},
        {place: {(0, 0): cell.accuracy_percent / 100} for place, cell in places.items()},
        is_exact=True,
    )
