"""One line of telemetry.jsonl: what the machine and a card did at one moment of a trial."""

import itertools
from contextlib import suppress

from pydantic import ValidationError

from orchestrator.environment import Bytes, Frozen, UnixSeconds


class CardSample(Frozen):
    """What a card did at one moment; None where it does not report a value.

    throttled: why its clock was reduced, in NVML's words. joules: energy since its driver was loaded.
    """

    busy_percent: int | None = None
    memory_bytes: Bytes | None = None
    clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    watts: float | None = None
    celsius: int | None = None
    throttled: tuple[str, ...] = ()
    joules: float | None = None


class Sample(Frozen):
    """One line of telemetry.jsonl: what the machine did at one moment of a trial.

    unix:          seconds since 1970.
    cpu_percent:   busy share of the trial's processors since the previous sample; None in the first.
    steal_percent: share of their time that other guests of the same machine took.
    own_percent:   share of their time that the trial's own processes used; None where it is not known.
    memory_bytes:  in use on the whole machine: total less available.
    cpu_joules:    energy of all processor packages since the first sample; None where it cannot be read.
    card:          the trial's, if it has one.
    """

    unix: UnixSeconds
    cpu_percent: float | None = None
    steal_percent: float | None = None
    own_percent: float | None = None
    memory_bytes: Bytes
    cpu_joules: float | None = None
    card: CardSample | None = None


MOST_SAMPLES = 200_000
"""Of one job: two days, one a second."""


def read_samples(text: str) -> tuple[Sample, ...]:
    """The samples of a telemetry.jsonl, at most MOST_SAMPLES; any other line (of another version) is left out."""
    samples: list[Sample] = []
    for line in itertools.islice(text.splitlines(), MOST_SAMPLES):
        with suppress(ValidationError):
            samples.append(Sample.model_validate_json(line))
    return tuple(samples)
