"""What a worker says, kind by kind, validated. A store may hold ten thousand trials: series are arrays, and payloads
have slots.

All times are seconds on the worker's monotonic clock; `steady` steps are those after the warm-up.
"""

import math
from collections.abc import Iterable
from dataclasses import field
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, dataclass_transform

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


_Class = Annotated[int, Field(ge=0, lt=2**20)]


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
    """The network is built: its size, the seconds of building it and of opening the arrays, and settings in force.

    optimiser: of a training: whose update it takes ('own', 'aligned' or 'ours'), and what the framework calls it; None
    in records of before 0.10.
    """

    weights: Annotated[int, Field(ge=0, le=2**50)]
    multiply_adds: Annotated[int, Field(ge=0, le=2**60)]
    build_seconds: Seconds
    data_seconds: Seconds
    describe: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[Literal["source", "what"], Annotated[str, Field(max_length=200)]] | None = None


@_event_payload
class Position:
    """Position within the training, for the screen only; with a phase, within that part of another work.

    phase: of a training 'scoring test pictures'; of a selfcheck its part, while step and steps are of the whole.
    """

    epoch: Annotated[int, Field(ge=0, le=100_000)]
    step: Annotated[int, Field(ge=0, le=2**40)]
    steps: Annotated[int, Field(ge=1, le=2**40)]
    phase: Annotated[str, Field(max_length=100)] = ""


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
    def spans_seconds(self) -> Array:
        """Seconds (n,) of each block; of each step, with the wait for its batch."""
        if self.block_seconds.size:
            return self.block_seconds
        is_timed = self.input_seconds.size == self.step_seconds.size
        return self.step_seconds + self.input_seconds if is_timed else self.step_seconds

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
class Confusion:
    """What the test pictures were taken for: (class, class that it was taken for, pictures), without zeros."""

    counts: tuple[tuple[_Class, _Class, Annotated[int, Field(ge=1, le=2**40)]], ...]


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
    """Largest differences from numpy_ref by name, and their bounds; a figure that is not finite is None.

    seconds: of each part of a selfcheck; empty in records of before 0.4, and of other jobs.
    batch:   pictures of a step in its regimes 'clean' and 'study', fewer for a network that costs the oracle much; None
             where it has none of them, and in records of before 0.7.
    """

    figures: dict[str, float | None]
    bounds: dict[str, float | None]
    passed: bool
    seconds: dict[str, Seconds] = field(default_factory=dict)
    batch: int | None = None


@_event_payload
class Queries:
    """The latencies of a trained network, after the warm-up, in the order in which the queries were asked.

    answered: how many queries that were; None in records of before 0.4, where `offline` does not tell.
    rate:     of `server`, queries a second; its probes are [rate, queries, late, passed].
    """

    t: Seconds = 0.0
    latency_seconds: tuple[Duration, ...]
    wall_seconds: Seconds
    warmup_queries: Annotated[int, Field(ge=0, le=2**40)]
    answered: Annotated[int, Field(ge=0, le=2**40)] | None = None
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
    """The worker finished its job. throttled_periods: how often a CPU quota stopped it while it trained.

    peak_rss_bytes: the most memory that its process had in use at once; None in records of before 0.10.
    """

    weights_sha256: str | None = None
    total_seconds: Seconds
    throttled_periods: Annotated[int, Field(ge=0, le=2**60)] | None = None
    peak_rss_bytes: Annotated[int, Field(ge=0, le=2**60)] | None = None


Payload = (
    Hello
    | Built
    | Position
    | Epoch
    | Score
    | Confusion
    | Fingerprint
    | Audited
    | Placement
    | Check
    | Queries
    | Answers
    | Peak
    | Done
)


class EventKind(NamedTuple):
    """One kind of event. is_once: a timeline keeps the last one, in a field of that name."""

    payload: TypeAdapter[Any]
    is_once: bool = False


KINDS = {
    "hello": EventKind(TypeAdapter(Hello), is_once=True),
    "built": EventKind(TypeAdapter(Built), is_once=True),
    "progress": EventKind(TypeAdapter(Position)),
    "epoch": EventKind(TypeAdapter(Epoch)),
    "score": EventKind(TypeAdapter(Score)),
    "confusion": EventKind(TypeAdapter(Confusion), is_once=True),
    "fingerprint": EventKind(TypeAdapter(Fingerprint)),
    "audited": EventKind(TypeAdapter(Audited), is_once=True),
    "place": EventKind(TypeAdapter(Placement)),
    "check": EventKind(TypeAdapter(Check), is_once=True),
    "queries": EventKind(TypeAdapter(Queries), is_once=True),
    "answers": EventKind(TypeAdapter(Answers), is_once=True),
    "peak": EventKind(TypeAdapter(Peak), is_once=True),
    "done": EventKind(TypeAdapter(Done), is_once=True),
}
"""The one list of them here; workers/protocol.py has the worker's, and a test compares both."""

ONCE = tuple(name for name, kind in KINDS.items() if kind.is_once)
TIMELINE_KINDS = tuple(name for name in KINDS if name != "progress")
"""The kinds of events that a timeline is made of."""


def payload_of(event: Event) -> Payload | None:
    """The fields that we read of an event; None for a kind that has none, and if they do not match the protocol."""
    kind = KINDS.get(event.kind)
    try:
        return None if kind is None else kind.payload.validate_python({**event.fields, "t": event.t})
    except ValidationError:
        return None


def payload_of_line(kind: str, text: str) -> Payload | None:
    """The same of the JSON of an event that is known to be whole."""
    try:
        return KINDS[kind].payload.validate_json(text)  # type: ignore[no-any-return]
    except ValidationError:
        return None


def plain(kind: str, payload: Payload) -> dict[str, Any]:
    """The fields of a payload as JSON holds them; of a kind without series."""
    fields: dict[str, Any] = KINDS[kind].payload.dump_python(payload, mode="json")
    return fields


def read_plain(kind: str, fields: dict[str, Any]) -> Payload:
    """The payload of these fields. Raises ValueError if they are not those of the kind."""
    payload: Payload = KINDS[kind].payload.validate_python(fields)
    return payload


def joined(series: Iterable[Array]) -> Array:
    """All of them, one after the other."""
    return np.concatenate([NONE, *series])
