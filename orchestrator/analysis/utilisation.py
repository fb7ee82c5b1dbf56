"""Utilisation of a trial, from its samples: how busy processors and card were, and the energy of an epoch.

Powers and energies are those of whole devices: of all processor packages of the machine, and of the whole card.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.records.sample import CardSample, Sample
from orchestrator.records.timeline import Timeline

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One quantity over a trial: its name and unit, and how to read it from a sample."""

    name: str
    unit: str
    title: str
    read: Callable[[Sample], float | None]


def _of_card(read: Callable[[CardSample], float | None]) -> Callable[[Sample], float | None]:
    return lambda sample: None if sample.card is None else read(sample.card)


SERIES = (
    Series("cpu_percent", "%", "processors busy", lambda sample: sample.cpu_percent),
    Series("machine_memory_gib", "GiB", "memory of the machine in use", lambda sample: sample.memory_bytes / 2**30),
    Series("card_percent", "%", "card busy", _of_card(lambda card: card.busy_percent)),
    Series("card_mhz", "MHz", "clock of the card", _of_card(lambda card: card.clock_mhz)),
    Series("card_watts", "W", "power of the card", _of_card(lambda card: card.watts)),
    Series("card_celsius", "°C", "temperature of the card", _of_card(lambda card: card.celsius)),
)
"""The quantities that are charted for a trial."""


class Utilisation(NamedTuple):
    """How busy processors and card were; None where it was not measured. *_joules: of an epoch.

    The machine's memory is not in it: it says nothing about a subject.
    """

    cpu_percent: float | None = None
    steal_percent: float | None = None
    foreign_percent: float | None = None
    cpu_joules: float | None = None
    card_percent: float | None = None
    card_gib: float | None = None
    card_mhz: float | None = None
    card_watts: float | None = None
    card_celsius: float | None = None
    card_joules: float | None = None


FOREIGN_CAVEAT_PERCENT = 2.0
"""If other processes used a larger share of a trial's processors, its report says so."""

DISTURBED_PERCENT = 10.0
"""Beyond this share of all its trials' time a subject was disturbed, and stands in no order."""

Quietness = Literal["quiet", "disturbed", "unknown"]
"""How quiet the machine was beside the trials of one subject."""

_FOREIGN_SECONDS = 3.0  # of samples, below which the kernel's clock ticks are too coarse for a share


def foreign_percent(samples: Sequence[Sample], timeline: Timeline) -> float | None:
    """Share of its processors' time, in percent, that other processes used while a trial was timed, from start to end.

    None where it was not measured, or for less than 3 s. What other guests of the machine took (steal) is not in it.
    """
    return pooled_foreign_percent([(samples, timeline)])


def pooled_foreign_percent(trials: Iterable[tuple[Sequence[Sample], Timeline]]) -> float | None:
    """`foreign_percent` of several trials together: of short ones, which say nothing alone."""
    seconds, foreign = 0.0, 0.0
    for samples, timeline in trials:
        spans = timeline.timed_spans
        during = [sample for sample in samples if spans and spans[0][0] <= sample.unix <= spans[-1][1]]
        told, used = _foreign_seconds(during)
        seconds, foreign = seconds + told, foreign + used
    return max(0.0, 100 * foreign / seconds) if seconds >= _FOREIGN_SECONDS else None


def foreign_percent_of(samples: Sequence[Sample]) -> float | None:
    """The same share over all of these samples, of a job that has no epochs."""
    seconds, foreign = _foreign_seconds(samples)
    return max(0.0, 100 * foreign / seconds) if seconds >= _FOREIGN_SECONDS else None


def _foreign_seconds(samples: Sequence[Sample]) -> tuple[float, float]:
    """Seconds between samples that tell both, and the part of them in which others had the processors."""
    seconds, foreign = 0.0, 0.0
    for before, sample in pairwise(samples):
        if sample.cpu_percent is not None and sample.own_percent is not None:
            seconds += sample.unix - before.unix
            foreign += (sample.unix - before.unix) * (sample.cpu_percent - sample.own_percent) / 100
    return seconds, foreign


def quietness(percent: float | None) -> Quietness:
    """What a share of `pooled_foreign_percent` means."""
    if percent is None:
        return "unknown"
    return "disturbed" if percent > DISTURBED_PERCENT else "quiet"


def utilisation(samples: Sequence[Sample], timeline: Timeline) -> Utilisation:
    """The utilisation during a trial's epochs, or its queries.

    Medians over the samples within them; for the card's memory and temperature the highest. *_joules: of an epoch, the
    median of those after the first, if any.
    """
    if not samples:
        return Utilisation()
    spans = timeline.timed_spans
    during = [sample for sample in samples if any(began <= sample.unix <= ended for began, ended in spans)]

    def values(read: Callable[[Sample], float | None]) -> list[float]:
        return [value for sample in during if (value := read(sample)) is not None]

    def middle(read: Callable[[Sample], float | None]) -> float | None:
        known = values(read)
        return float(np.median(known)) if known else None

    def highest(read: Callable[[Sample], float | None]) -> float | None:
        return max(values(read), default=None)

    memory = _of_card(lambda card: None if card.memory_bytes is None else card.memory_bytes / 2**30)
    read = {series.name: series.read for series in SERIES}
    return Utilisation(
        cpu_percent=middle(read["cpu_percent"]),
        steal_percent=middle(lambda sample: sample.steal_percent),
        foreign_percent=foreign_percent(samples, timeline),
        cpu_joules=epoch_joules(samples, timeline, lambda sample: sample.cpu_joules),
        card_percent=middle(read["card_percent"]),
        card_gib=highest(memory),
        card_mhz=middle(read["card_mhz"]),
        card_watts=middle(read["card_watts"]),
        card_celsius=highest(read["card_celsius"]),
        card_joules=epoch_joules(samples, timeline, _of_card(lambda card: card.joules), read["card_watts"]),
    )


def epoch_joules(
    samples: Sequence[Sample],
    timeline: Timeline,
    counter: Callable[[Sample], float | None],
    watts: Callable[[Sample], float | None] = lambda sample: None,
) -> float | None:
    """Joules of an epoch, the median of those after the first; of the first if it is the only one.

    counter: the device's own energy counter. watts: integrated instead where a device has no counter.
    None without either, or if no epoch lies within the samples. Power is taken as constant between two samples.
    """
    spans = timeline.epoch_spans[1:] or timeline.epoch_spans
    times, joules = _told(samples, counter)
    if times.size < 2:
        times, power = _told(samples, watts)
        steps = np.diff(times) * (power[1:] + power[:-1]) / 2 if times.size else np.empty(0)
        joules = np.concatenate([[0.0], np.cumsum(steps)])[: times.size]
    if times.size < 2:
        return None
    whole = [span for span in spans if times[0] <= span[0] and span[1] <= times[-1]]
    each = [float(np.diff(np.interp(span, times, joules))[0]) for span in whole]
    return float(np.median(each)) if each else None


def throttled(samples: Sequence[Sample]) -> dict[str, float]:
    """Why the card's clock was reduced -> share of the card's samples, largest first."""
    cards = [sample.card for sample in samples if sample.card is not None]
    counts = Counter(reason for card in cards for reason in card.throttled)
    return {reason: count / len(cards) for reason, count in counts.most_common()}


def thinned(samples: Sequence[Sample], read: Callable[[Sample], float | None], count: int) -> tuple[Array, Array]:
    """Times and values, at most `count` of them: if there are more, means of neighbours."""
    times, values = _told(samples, read)
    if times.size <= count:
        return times, values
    parts = np.array_split(np.stack([times, values]), count, axis=1)
    times, values = np.array([part.mean(axis=1) for part in parts]).T
    return times, values


def _told(samples: Sequence[Sample], read: Callable[[Sample], float | None]) -> tuple[Array, Array]:
    """Times and values of the samples that have a value."""
    pairs = [(sample.unix, value) for sample in samples if (value := read(sample)) is not None]
    times, values = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return times, values
