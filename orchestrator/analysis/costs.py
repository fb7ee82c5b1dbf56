"""How long trials will take, from trials of this machine that took the same steps."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np

from orchestrator.analysis.contrasts import estimates
from orchestrator.environment import Device
from orchestrator.networks import InputSize, Model
from orchestrator.records.stored import StoredTrial
from orchestrator.trial import Cell, Trial, Turn


class Steps(NamedTuple):
    """What decides how long a step takes on one machine."""

    framework: str
    variant: str
    model: Model
    network_input: InputSize
    device: Device
    threads: int
    batch_size: int
    feed: str
    is_augmented: bool

    @classmethod
    def of(cls, trial: Trial) -> "Steps":
        """The steps of a trial."""
        network = (trial.model, trial.network_input, trial.device, trial.threads)
        feed = (trial.measure.feed, trial.dataset.augment is not None)
        return cls(trial.framework, trial.variant, *network, trial.training.batch_size, *feed)


class Costs(NamedTuple):
    """What a trial took. step_seconds: with the wait for input. picture_seconds: of an evaluation, each picture.

    fixed_seconds: everything else, from the launch to the end.
    """

    step_seconds: float
    picture_seconds: float
    fixed_seconds: float

    def seconds_of(self, trial: Trial, pictures: tuple[int, int, int]) -> float:
        """Of a whole trial. pictures: how many train, validate and test."""
        train, valid, test = pictures
        epochs = trial.training.epochs
        steps = train // trial.training.batch_size * epochs
        evaluated = valid * (epochs if trial.measure.evaluate == "epoch" else 1) + test
        return self.fixed_seconds + steps * self.step_seconds + evaluated * self.picture_seconds


def costs_of(job: StoredTrial) -> Costs | None:
    """The costs of a trial that ended ok; None if it has no step after its warm-up."""
    timeline = job.timeline
    step = timeline.whole_step_seconds
    if job.outcome.status != "ok" or step is None or job.exit is None or job.trial.inference is not None:
        return None
    seconds = sum(score.evaluate_seconds for score in timeline.scores)
    pictures = sum(score.pictures for score in timeline.scores)
    trained = sum(epoch.epoch_seconds for epoch in timeline.epochs)
    return Costs(
        step,
        seconds / pictures if pictures else 0.0,
        max(job.exit.wall_seconds - seconds - trained, 0.0),
    )


def costs(trials: Iterable[StoredTrial], asked: Collection[Steps]) -> dict[Steps, Costs]:
    """The costs of each of the steps that are asked for; of several trials that of the first that has one."""
    costs_of_steps: dict[Steps, Costs] = {}
    for job in trials:
        steps = Steps.of(job.trial)
        if steps in asked and steps not in costs_of_steps:
            known = costs_of(job)
            if known is not None:
                costs_of_steps[steps] = known
    return costs_of_steps


def half_widths(trials: Iterable[StoredTrial]) -> dict[tuple[str, Cell], float | None]:
    """Half the width of the interval of a step's time, as a share of it, by subject and cell; None without one.

    All intervals hold together in 95 % of cases, and take three turns at least.
    """
    seconds: dict[tuple[str, Cell], dict[Turn, float]] = {}
    for job in trials:
        known = costs_of(job)
        if known is not None:
            turn = job.trial.turn
            seconds.setdefault((job.trial.subject, job.trial.cell), {})[turn] = known.step_seconds
    widths = zip(seconds, estimates([{where: 1.0} for where in seconds], seconds), strict=True)
    return {
        where: None
        if estimate is None or estimate.low is None or estimate.high is None
        else float(np.expm1((estimate.high - estimate.low) / 2))
        for where, estimate in widths
    }
