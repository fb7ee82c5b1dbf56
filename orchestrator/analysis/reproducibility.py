"""How far trainings of one seed agree: from their losses, and the hashes of their weights and predictions. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.analysis import stats
from orchestrator.records.timeline import Timeline

Level = Literal["bit-exact", "loss-exact", "prediction-exact", "no difference shown", "divergent"]


@dataclass(frozen=True)
class Layer:
    """Where weights first differ: the epoch, and the first array in the network's order; arrays that differ, of all."""

    epoch: int
    name: str
    apart: int
    count: int


@dataclass(frozen=True)
class Grade:
    """How far `runs` trainings agree, and where they first differ.

    level: the first that holds. bit-exact: every weight after every epoch, every loss and every predicted class.
           loss-exact: every loss. prediction-exact: every predicted class of validation and test pictures.
           no difference shown: test accuracies do not differ significantly (homogeneity, p >= 0.05). divergent: else.
    step:  (epoch, step) of the first loss that differs; None if none does.
    layer: None if no weight differs after any epoch.
    """

    level: Level
    runs: int
    step: tuple[int, int] | None
    layer: Layer | None


def grade(runs: Sequence[Timeline]) -> Grade:
    """The grade of trainings that ended ok. Raises ValueError, a sentence, if there is nothing to compare."""
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} of its runs ended ok; it takes two to compare")
    if not all(run.fingerprints for run in runs):
        raise ValueError("it left no fingerprints; set measure.fingerprint to 'epoch'")
    step, layer = _first_step(runs), _first_layer(runs)
    has_one_sight = _are_equal([[fingerprint.predictions for fingerprint in run.fingerprints] for run in runs])
    if step is None:
        level: Level = "bit-exact" if layer is None and has_one_sight else "loss-exact"
    elif has_one_sight:
        level = "prediction-exact"
    else:
        level = "no difference shown" if _chance(runs) >= stats.SIGNIFICANT else "divergent"
    return Grade(level, len(runs), step, layer)


def _first_step(runs: Sequence[Timeline]) -> tuple[int, int] | None:
    losses = [
        {(epoch.epoch, step): loss for epoch in run.epochs for step, loss in enumerate(epoch.known_losses)}
        for run in runs
    ]
    places = sorted({place for run in losses for place in run})
    return next((place for place in places if not _are_equal([run.get(place, "absent") for run in losses])), None)


def _first_layer(runs: Sequence[Timeline]) -> Layer | None:
    """The hashes of each epoch side by side; a run that lacks one differs from those that have it."""
    by_epoch = [
        {fingerprint.epoch: fingerprint.weights for fingerprint in run.fingerprints if fingerprint.weights}
        for run in runs
    ]
    for epoch in sorted({epoch for weights in by_epoch for epoch in weights}):
        said = [weights.get(epoch, {}) for weights in by_epoch]
        names = list(dict.fromkeys(name for weights in said for name in weights))
        apart = [name for name in names if not _are_equal([weights.get(name) for weights in said])]
        if apart:
            return Layer(epoch, apart[0], len(apart), len(names))
    return None


def _chance(runs: Sequence[Timeline]) -> float:
    """p that the test accuracies are equal."""
    scores = [score for run in runs if (score := run.last_score("test")) is not None]
    right = [round(score.accuracy * score.pictures) for score in scores]
    return stats.same_share(right, [score.pictures for score in scores])


def _are_equal(values: Sequence[object]) -> bool:
    return all(value == values[0] for value in values)
