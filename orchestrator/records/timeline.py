"""Clocks, scores and check figures of one worker, read from its events, which are validated.

All times are seconds on the worker's monotonic clock; `steady` steps are those after the warm-up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator.environment import UnixSeconds
from orchestrator.records.event import Event

Array = NDArray[np.float64]

Seconds = Annotated[float, Field(ge=0, le=1e9)]
Duration = Annotated[float, Field(gt=0, le=1e9)]
"""Seconds of what cannot take none, because rates are divided by it."""
Loss = Annotated[float, Field(ge=-1e300, le=1e300)] | None
Fraction = Annotated[float, Field(ge=0, le=1)]


class EventPayload(BaseModel):
    """The fields that we read of one kind of event; there may be others."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Hello(EventPayload):
    """The framework's version and build facts."""

    python: str
    framework: str
    version: str
    import_seconds: Seconds
    started_unix: UnixSeconds | None = None
    describe: dict[str, Any] = {}


class Built(EventPayload):
    """The network is built: its size, the seconds of building it and of opening the arrays, and settings in force."""

    weights: Annotated[int, Field(ge=0, le=2**50)]
    multiply_adds: Annotated[int, Field(ge=0, le=2**60)]
    build_seconds: Seconds
    data_seconds: Seconds
    describe: dict[str, Any] = {}


class Position(EventPayload):
    """Position within the training, for the screen only."""

    epoch: Annotated[int, Field(ge=0, le=100_000)]
    step: Annotated[int, Field(ge=0, le=2**40)]
    steps: Annotated[int, Field(ge=1, le=2**40)]


class Epoch(EventPayload):
    """One epoch; with sync=block it has blocks in place of steps."""

    epoch: Annotated[int, Field(ge=0, le=100_000)]
    step_seconds: tuple[Duration, ...] = ()
    block_steps: tuple[Annotated[int, Field(ge=1, le=2**31)], ...] = ()
    block_seconds: tuple[Duration, ...] = ()
    input_seconds: tuple[Seconds, ...] = ()
    loss: tuple[Loss, ...] = ()
    epoch_seconds: Duration
    drain_seconds: Seconds = 0.0
    warmup_steps: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _blocks_match(self) -> "Epoch":
        if len(self.block_steps) != len(self.block_seconds):
            raise ValueError("every block needs its steps and its seconds")
        return self

    @property
    def steady_steps(self) -> Array:
        """Seconds per step (n,) after the warm-up; for each block after it, its mean step, once."""
        if not self.block_seconds:
            return np.array(self.step_seconds[self.warmup_steps :])
        steps: Array = np.array(self.block_steps, dtype=np.float64)
        begins = np.cumsum(steps) - steps
        means: Array = np.array(self.block_seconds, dtype=np.float64) / steps
        return means[begins >= self.warmup_steps]


class Score(EventPayload):
    """Accuracy over one split; `loss` is None where it is not finite."""

    split: str
    epoch: int
    accuracy: Fraction
    loss: Loss = None
    pictures: Annotated[int, Field(ge=0, le=2**40)]
    evaluate_seconds: Seconds


class Fingerprint(EventPayload):
    """Hashes after an epoch: of weights by name, in the network's order; of predictions by split."""

    epoch: int
    weights: dict[str, str] = {}
    predictions: dict[str, str] = {}


class Audited(EventPayload):
    """Which (epoch, step) the oracle can repeat, and the seconds that their copies took, outside every clock."""

    steps: tuple[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]], ...]
    seconds: Seconds


class Placement(EventPayload):
    """Batches placed one by one, the device idle before and after each."""

    place_seconds: tuple[Seconds, ...]


class Check(EventPayload):
    """Largest differences from numpy_ref by name, and their bounds; a figure that is not finite is None."""

    figures: dict[str, float | None]
    bounds: dict[str, float | None]
    passed: bool


Rates = dict[str, Annotated[float, Field(gt=0, le=1e9)]]


class Peak(EventPayload):
    """What the machine can do at best, float32: matrix products by library and side, convolutions by network and shape,
    all convolutions of a network together; bytes read and written by copies; and the libraries that did it."""

    gemm_gflops: Rates
    conv_gflops: Rates = {}
    network_conv_gflops: Rates = {}
    copy_gb_per_second: Annotated[float, Field(gt=0, le=1e9)]
    libraries: dict[str, Any] = {}


class Done(EventPayload):
    """The worker finished its job. throttled_periods: how often a CPU quota stopped it while it trained."""

    weights_sha256: str | None = None
    total_seconds: Seconds
    throttled_periods: Annotated[int, Field(ge=0, le=2**60)] | None = None


_PAYLOADS: dict[str, type[EventPayload]] = {
    "hello": Hello,
    "built": Built,
    "progress": Position,
    "epoch": Epoch,
    "score": Score,
    "fingerprint": Fingerprint,
    "audited": Audited,
    "place": Placement,
    "check": Check,
    "peak": Peak,
    "done": Done,
}


def payload_of(event: Event) -> EventPayload | None:
    """The fields that we read of an event; None for a kind that has none, and if they do not match the protocol."""
    kind = _PAYLOADS.get(event.kind)
    try:
        return None if kind is None else kind.model_validate(event.fields)
    except ValidationError:
        return None


_Kind = TypeVar("_Kind", bound=EventPayload)


@dataclass(frozen=True)
class Timeline:
    """One worker from its first event to its last.

    unread:     how many events did not match the protocol.
    epoch_ends: when each of `epochs` was reported, which is right after its end, in seconds on the worker's clock.
    """

    hello: Hello | None = None
    built: Built | None = None
    epochs: tuple[Epoch, ...] = ()
    scores: tuple[Score, ...] = ()
    fingerprints: tuple[Fingerprint, ...] = ()
    audited: Audited | None = None
    place_seconds: tuple[float, ...] = ()
    check: Check | None = None
    peak: Peak | None = None
    done: Done | None = None
    unread: int = 0
    steady_steps: Array = field(default_factory=lambda: np.empty(0))
    epoch_ends: tuple[float, ...] = ()

    @property
    def first_step_seconds(self) -> float | None:
        """Seconds of the very first step; None where steps were not timed one by one."""
        return next((epoch.step_seconds[0] for epoch in self.epochs if epoch.step_seconds), None)

    @property
    def input_seconds(self) -> Array:
        """Seconds of cutting each batch (n,), over all epochs."""
        return np.array([second for epoch in self.epochs for second in epoch.input_seconds])

    @property
    def whole_step_seconds(self) -> float | None:
        """The mean step after the warm-up, with the mean wait for its batch; None without such a step."""
        if not self.steady_steps.size:
            return None
        wait = self.input_seconds
        return float(self.steady_steps.mean()) + (float(wait.mean()) if wait.size else 0.0)

    @property
    def drain_share(self) -> float:
        """How long the device was still busy after its epochs, as a share of them."""
        seconds = sum(epoch.epoch_seconds for epoch in self.epochs)
        return sum(epoch.drain_seconds for epoch in self.epochs) / seconds if seconds else 0.0

    @property
    def steady_epochs(self) -> Array:
        """Seconds of each epoch after the first, which is warm-up; of the first if there is no other."""
        seconds = np.array([epoch.epoch_seconds for epoch in self.epochs])
        return seconds[1:] if seconds.size > 1 else seconds

    @property
    def steady_input_seconds(self) -> Array:
        """Seconds that the steps of each epoch waited for their batches: of the epochs that `steady_epochs` counts."""
        seconds = np.array([sum(epoch.input_seconds) for epoch in self.epochs])
        return seconds[1:] if seconds.size > 1 else seconds

    @property
    def epoch_spans(self) -> tuple[tuple[float, float], ...]:
        """Start and end of each epoch in seconds since 1970; () if the worker's start is not known."""
        if self.hello is None or self.hello.started_unix is None:
            return ()
        ends = [self.hello.started_unix + end for end in self.epoch_ends]
        return tuple((end - epoch.epoch_seconds, end) for epoch, end in zip(self.epochs, ends, strict=True))

    def accuracy(self, split: str) -> float | None:
        """The last accuracy over 'valid' or 'test'."""
        score = self.last_score(split)
        return None if score is None else score.accuracy

    def last_score(self, split: str) -> Score | None:
        """The last one over 'valid' or 'test'."""
        return next((score for score in reversed(self.scores) if score.split == split), None)


def read_timeline(events: Iterable[Event]) -> Timeline:
    """The timeline of one worker; events that do not match the protocol are counted and left out."""
    said: dict[str, list[Any]] = {}
    epoch_ends: list[float] = []
    unread = 0
    for event in events:
        if event.kind not in _PAYLOADS or event.kind == "progress":
            continue
        payload = payload_of(event)
        if payload is None:
            unread += 1
            continue
        said.setdefault(event.kind, []).append(payload)
        epoch_ends += [event.t] if event.kind == "epoch" else []
    epochs = tuple(said.get("epoch", ()))
    return Timeline(
        hello=_last(said.get("hello", ())),
        built=_last(said.get("built", ())),
        epochs=epochs,
        scores=tuple(said.get("score", ())),
        fingerprints=tuple(said.get("fingerprint", ())),
        audited=_last(said.get("audited", ())),
        place_seconds=tuple(second for place in said.get("place", ()) for second in place.place_seconds),
        check=_last(said.get("check", ())),
        peak=_last(said.get("peak", ())),
        done=_last(said.get("done", ())),
        unread=unread,
        epoch_ends=tuple(epoch_ends),
        steady_steps=np.concatenate([np.empty(0), *(epoch.steady_steps for epoch in epochs)]),
    )


def flaw(events: Sequence[Event]) -> str:
    """Why the events of a job that ended well cannot be believed, a sentence; '' if they are whole and well-formed."""
    if [event.seq for event in events] != list(range(len(events))):
        return "its events have gaps: lines of events.jsonl are missing or damaged"
    unread = read_timeline(events).unread
    return f"{unread} of its events do not match the protocol: fields are missing or out of range" if unread else ""


def _last(said: Sequence[_Kind]) -> _Kind | None:
    return said[-1] if said else None
