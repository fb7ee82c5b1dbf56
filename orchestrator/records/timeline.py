"""Clocks, scores and check figures of one worker, read from its events, which are validated.

All times are seconds on the worker's monotonic clock; `steady` steps are those after the warm-up. A store may hold
ten thousand trials, so series are arrays, and payloads have slots.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, TypeVar, dataclass_transform

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, GetPydanticSchema, TypeAdapter, ValidationError
from pydantic_core.core_schema import no_info_after_validator_function

from orchestrator.environment import UnixSeconds
from orchestrator.records.event import Event

Array = NDArray[np.float64]
_Kind = TypeVar("_Kind")

Seconds = Annotated[float, Field(ge=0, le=1e9)]
Duration = Annotated[float, Field(gt=0, le=1e9)]
"""Seconds of what cannot take none, because rates are divided by it."""
Loss = Annotated[float, Field(ge=-1e300, le=1e300)] | None
Fraction = Annotated[float, Field(ge=0, le=1)]


NONE: Array = np.empty(0)
NONE.flags.writeable = False
"""A series without a number, one for all."""


def _array(values: tuple[float | None, ...]) -> Array:
    return np.array(values, dtype=np.float64) if values else NONE


def _series(item: Any) -> GetPydanticSchema:
    """Validates a list of such items, and keeps it as an array."""
    return GetPydanticSchema(
        lambda _, handler: no_info_after_validator_function(_array, handler.generate_schema(tuple[item, ...]))
    )


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def _event_payload(kind: type[_Kind]) -> type[_Kind]:
    """The fields that we read of one kind of event; there may be others."""
    config = ConfigDict(extra="ignore", allow_inf_nan=False)
    made: Any = pydantic.dataclasses.dataclass(frozen=True, slots=True, kw_only=True, config=config)(kind)
    return made  # type: ignore[no-any-return]


@_event_payload
class Hello:
    """The framework's version and build facts."""

    python: str
    framework: str
    version: str
    import_seconds: Seconds
    started_unix: UnixSeconds | None = None
    describe: dict[str, Any] = field(default_factory=dict)


@_event_payload
class Built:
    """The network is built: its size, the seconds of building it and of opening the arrays, and settings in force."""

    weights: Annotated[int, Field(ge=0, le=2**50)]
    multiply_adds: Annotated[int, Field(ge=0, le=2**60)]
    build_seconds: Seconds
    data_seconds: Seconds
    describe: dict[str, Any] = field(default_factory=dict)


@_event_payload
class Position:
    """Position within the training, for the screen only."""

    epoch: Annotated[int, Field(ge=0, le=100_000)]
    step: Annotated[int, Field(ge=0, le=2**40)]
    steps: Annotated[int, Field(ge=1, le=2**40)]


@_event_payload
class Epoch:
    """One epoch; with sync=block it has blocks in place of steps.

    t: when it was reported, right after its end. loss: of each step; NaN where it is not finite.
    """

    t: Seconds = 0.0
    epoch: Annotated[int, Field(ge=0, le=100_000)]
    step_seconds: Annotated[Array, _series(Duration)] = field(default_factory=lambda: NONE)
    block_steps: Annotated[Array, _series(Annotated[int, Field(ge=1, le=2**31)])] = field(default_factory=lambda: NONE)
    block_seconds: Annotated[Array, _series(Duration)] = field(default_factory=lambda: NONE)
    input_seconds: Annotated[Array, _series(Seconds)] = field(default_factory=lambda: NONE)
    loss: Annotated[Array, _series(Loss)] = field(default_factory=lambda: NONE)
    epoch_seconds: Duration
    drain_seconds: Seconds = 0.0
    warmup_steps: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        """Raises ValueError if a block lacks its steps or its seconds."""
        if self.block_steps.size != self.block_seconds.size:
            raise ValueError("every block needs its steps and its seconds")

    @property
    def steady_steps(self) -> Array:
        """Seconds per step (n,) after the warm-up; for each block after it, its mean step, once."""
        if not self.block_seconds.size:
            return self.step_seconds[self.warmup_steps :]
        begins = np.cumsum(self.block_steps) - self.block_steps
        means: Array = self.block_seconds / self.block_steps
        return means[begins >= self.warmup_steps]

    @property
    def known_losses(self) -> list[float | None]:
        """The losses as plain numbers; None where one is not finite."""
        return [loss if math.isfinite(loss) else None for loss in self.loss.tolist()]


@_event_payload
class Score:
    """Accuracy over one split; `loss` is None where it is not finite."""

    split: str
    epoch: int
    accuracy: Fraction
    loss: Loss = None
    pictures: Annotated[int, Field(ge=0, le=2**40)]
    evaluate_seconds: Seconds


@_event_payload
class Fingerprint:
    """Hashes after an epoch: of weights by name, in the network's order; of predictions by split."""

    epoch: int
    weights: dict[str, str] = field(default_factory=dict)
    predictions: dict[str, str] = field(default_factory=dict)


@_event_payload
class Audited:
    """Which (epoch, step) the oracle can repeat, and the seconds that their copies took, outside every clock."""

    steps: tuple[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]], ...]
    seconds: Seconds


@_event_payload
class Placement:
    """Batches placed one by one, the device idle before and after each."""

    place_seconds: tuple[Seconds, ...]


@_event_payload
class Check:
    """Largest differences from numpy_ref by name, and their bounds; a figure that is not finite is None."""

    figures: dict[str, float | None]
    bounds: dict[str, float | None]
    passed: bool


@_event_payload
class Queries:
    """The latencies of a trained network, after the warm-up, in the order in which the queries were asked.

    rate: of `server`, queries a second; its probes are [rate, queries, late, passed].
    """

    t: Seconds = 0.0
    latency_seconds: tuple[Duration, ...]
    wall_seconds: Seconds
    warmup_queries: Annotated[int, Field(ge=0, le=2**40)]
    rate: Annotated[float, Field(ge=0, le=1e9)] | None = None
    probes: tuple[tuple[Duration, int, int, bool], ...] = ()

    @property
    def steady_steps(self) -> Array:
        """Seconds of each query (n,); of `server` the one time between two queries of the largest rate, if any."""
        if self.rate is None:
            return _array(self.latency_seconds)
        return _array((1 / self.rate,)) if self.rate else NONE


@_event_payload
class Answers:
    """The predicted class of every test picture, and where it differs from the oracle's.

    differing: (picture, class, the oracle's class, by how much its logit is larger as a share of the largest).
    kept:      share of the oracle's accuracy, with the interval that holds in 95 % of cases.
    """

    classes: tuple[Annotated[int, Field(ge=0, le=10**6)], ...]
    differing: tuple[tuple[int, int, int, float], ...]
    kept: tuple[float, float, float] | None = None


Rates = dict[str, Annotated[float, Field(gt=0, le=1e9)]]


@_event_payload
class Peak:
    """What the machine can do at best, float32: matrix products by library and side, convolutions by network and shape,
    all convolutions of a network together; bytes read and written by copies; and the libraries that did it."""

    gemm_gflops: Rates
    conv_gflops: Rates = field(default_factory=dict)
    network_conv_gflops: Rates = field(default_factory=dict)
    copy_gb_per_second: Annotated[float, Field(gt=0, le=1e9)]
    libraries: dict[str, Any] = field(default_factory=dict)


@_event_payload
class Done:
    """The worker finished its job. throttled_periods: how often a CPU quota stopped it while it trained."""

    weights_sha256: str | None = None
    total_seconds: Seconds
    throttled_periods: Annotated[int, Field(ge=0, le=2**60)] | None = None


Payload = (
    Hello
    | Built
    | Position
    | Epoch
    | Score
    | Fingerprint
    | Audited
    | Placement
    | Check
    | Queries
    | Answers
    | Peak
    | Done
)

_PAYLOADS: dict[str, TypeAdapter[Any]] = {
    "hello": TypeAdapter(Hello),
    "built": TypeAdapter(Built),
    "progress": TypeAdapter(Position),
    "epoch": TypeAdapter(Epoch),
    "score": TypeAdapter(Score),
    "fingerprint": TypeAdapter(Fingerprint),
    "audited": TypeAdapter(Audited),
    "place": TypeAdapter(Placement),
    "check": TypeAdapter(Check),
    "queries": TypeAdapter(Queries),
    "answers": TypeAdapter(Answers),
    "peak": TypeAdapter(Peak),
    "done": TypeAdapter(Done),
}
TIMELINE_KINDS = tuple(kind for kind in _PAYLOADS if kind != "progress")
"""The kinds of events that a timeline is made of."""


def payload_of(event: Event) -> Payload | None:
    """The fields that we read of an event; None for a kind that has none, and if they do not match the protocol."""
    kind = _PAYLOADS.get(event.kind)
    try:
        return None if kind is None else kind.validate_python({**event.fields, "t": event.t})
    except ValidationError:
        return None


@dataclass(frozen=True)
class Timeline:
    """One worker from its first event to its last.

    unread: how many events did not match the protocol.
    """

    hello: Hello | None = None
    built: Built | None = None
    epochs: tuple[Epoch, ...] = ()
    scores: tuple[Score, ...] = ()
    fingerprints: tuple[Fingerprint, ...] = ()
    audited: Audited | None = None
    place_seconds: tuple[float, ...] = ()
    check: Check | None = None
    queries: Queries | None = None
    answers: Answers | None = None
    peak: Peak | None = None
    done: Done | None = None
    unread: int = 0
    steady_steps: Array = field(default_factory=lambda: np.empty(0))

    @property
    def first_step_seconds(self) -> float | None:
        """Seconds of the very first step; None where steps were not timed one by one."""
        return next((float(epoch.step_seconds[0]) for epoch in self.epochs if epoch.step_seconds.size), None)

    @property
    def input_seconds(self) -> Array:
        """Seconds of cutting each batch (n,), over all epochs."""
        return joined(epoch.input_seconds for epoch in self.epochs)

    @cached_property
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
        seconds = np.array([epoch.input_seconds.sum() for epoch in self.epochs])
        return seconds[1:] if seconds.size > 1 else seconds

    @property
    def timed_spans(self) -> tuple[tuple[float, float], ...]:
        """Start and end of what was timed, in seconds since 1970: of each epoch, or of the queries."""
        if self.queries is None:
            return self.epoch_spans
        if self.hello is None or self.hello.started_unix is None:
            return ()
        end = self.hello.started_unix + self.queries.t
        return ((end - self.queries.wall_seconds, end),)

    @property
    def epoch_spans(self) -> tuple[tuple[float, float], ...]:
        """Start and end of each epoch in seconds since 1970; () if the worker's start is not known."""
        if self.hello is None or self.hello.started_unix is None:
            return ()
        began = self.hello.started_unix
        return tuple((began + epoch.t - epoch.epoch_seconds, began + epoch.t) for epoch in self.epochs)

    def accuracy(self, split: str) -> float | None:
        """The last accuracy over 'valid' or 'test'."""
        score = self.last_score(split)
        return None if score is None else score.accuracy

    def last_score(self, split: str) -> Score | None:
        """The last one over 'valid' or 'test'."""
        return next((score for score in reversed(self.scores) if score.split == split), None)


def read_timeline(events: Iterable[Event]) -> Timeline:
    """The timeline of one worker; events that do not match the protocol are counted and left out."""
    return _timeline((event.kind, payload_of(event)) for event in events if event.kind in TIMELINE_KINDS)


def read_lines(lines: Iterable[tuple[str, str]]) -> Timeline:
    """The timeline of events that are already known to be whole: pairs of a kind of TIMELINE_KINDS and the JSON."""
    return _timeline((kind, _payload_of_line(kind, text)) for kind, text in lines)


def _payload_of_line(kind: str, text: str) -> Payload | None:
    try:
        return _PAYLOADS[kind].validate_json(text)  # type: ignore[no-any-return]
    except ValidationError:
        return None


def _timeline(payloads: Iterable[tuple[str, Payload | None]]) -> Timeline:
    said: dict[str, list[Any]] = {}
    unread = 0
    for kind, payload in payloads:
        if payload is None:
            unread += 1
        else:
            said.setdefault(kind, []).append(payload)
    epochs, queries = tuple(said.get("epoch", ())), _last(said.get("queries", ()))
    return Timeline(
        hello=_last(said.get("hello", ())),
        built=_last(said.get("built", ())),
        epochs=epochs,
        scores=tuple(said.get("score", ())),
        fingerprints=tuple(said.get("fingerprint", ())),
        audited=_last(said.get("audited", ())),
        place_seconds=tuple(second for place in said.get("place", ()) for second in place.place_seconds),
        check=_last(said.get("check", ())),
        queries=queries,
        answers=_last(said.get("answers", ())),
        peak=_last(said.get("peak", ())),
        done=_last(said.get("done", ())),
        unread=unread,
        steady_steps=queries.steady_steps if queries else joined(epoch.steady_steps for epoch in epochs),
    )


def plain(kind: str, payload: Payload) -> dict[str, Any]:
    """The fields of a payload as JSON holds them; of a kind without series."""
    fields: dict[str, Any] = _PAYLOADS[kind].dump_python(payload, mode="json")
    return fields


def read_plain(kind: str, fields: dict[str, Any]) -> Payload:
    """The payload of these fields. Raises ValueError if they are not those of the kind."""
    payload: Payload = _PAYLOADS[kind].validate_python(fields)
    return payload


def joined(series: Iterable[Array]) -> Array:
    """All of them, one after the other."""
    return np.concatenate([NONE, *series])


def flaw(events: Sequence[Event]) -> str:
    """Why the events of a job that ended well cannot be believed, a sentence; '' if they are whole and well-formed."""
    if [event.seq for event in events] != list(range(len(events))):
        return "its events have gaps: lines of events.jsonl are missing or damaged"
    unread = read_timeline(events).unread
    return f"{unread} of its events do not match the protocol: fields are missing or out of range" if unread else ""


def _last(said: Sequence[_Kind]) -> _Kind | None:
    return said[-1] if said else None
