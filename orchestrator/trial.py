"""The shared values: what a trial asks, where it runs, how it ended; with its key and its id.

`Trial.key` is the hash of the question (all but the variant): comparing two variants is a join on it.
`trial_id` adds what gave the answer: environment, data and worker code. One changed byte in any of them changes
the id, so nothing stale is ever taken for an answer.
"""

import hashlib
import json
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_serializer
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from workers import models

Device = Literal["cpu", "gpu"]
InputSize = Literal[32, 48, 64]
LoaderWorkers = Annotated[int, Field(ge=0, le=256)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]

Status = Literal[
    "ok",
    "unsupported",
    "unverified",
    "out_of_memory",
    "timeout",
    "diverged",
    "crashed",
    "no_protocol",
    "lost",
    "cancelled",
    "misconfigured",
]
Fault = Literal["none", "subject", "environment", "unknown"]

Study = Literal["build-flags", "clahe", "depth", "determinism", "input-size", "loader-workers"]


ORACLE = "numpy_ref"
"""The framework that all others are checked against; it is slow, and competes with none."""

SubjectPair = tuple[str, str]
"""Baseline and candidate, each 'framework:variant'."""


class Frozen(BaseModel):
    """An immutable record that refuses unknown keys and silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def digest(value: object) -> str:
    """sha256 (hex) of a JSON value in canonical form: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_default(fields: dict[str, Any], name: str, default: object) -> dict[str, Any]:
    """`fields` without `name` where it says nothing new: hashes of older questions, which knew no such field, stand."""
    return {key: value for key, value in fields.items() if key != name or value != default}


class EnvironmentKey(NamedTuple):
    """What an environment is for: one variant of one framework on one device."""

    framework: str
    variant: str
    device: Device

    @property
    def subject(self) -> str:
        """'pytorch:2.13'."""
        return f"{self.framework}:{self.variant}"

    @property
    def label(self) -> str:
        """'pytorch:2.13 cpu'."""
        return f"{self.subject} {self.device}"


class Model(Frozen):
    """A network of workers/models: its family and the arguments of the family's `build`.

    depth:  layers, for families that have a depth.
    params: what else the family takes, by name.
    """

    name: Name
    depth: Annotated[int, Field(ge=1, le=1202)] | None = None
    params: dict[Name, int] = {}

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_default(handler(self), "params", {})

    def __hash__(self) -> int:
        return hash((self.name, self.depth, *sorted(self.params.items())))

    @property
    def label(self) -> str:
        """'ResNet-20', 'IDSIA': the name people use."""
        depth = "" if self.depth is None else f"-{self.depth}"
        return f"{self.family}{depth}" + "".join(f" {name} {value}" for name, value in sorted(self.params.items()))

    @property
    def family(self) -> str:
        """'ResNet', 'IDSIA': the same, of all its depths."""
        label: str = models.label(self.name)
        return label

    @property
    def arguments(self) -> dict[str, int]:
        """Keyword arguments of the family's `build`."""
        return {**self.params, **({} if self.depth is None else {"depth": self.depth})}


class Cell(Frozen):
    """What subjects are compared in: one network on one device, fed in one way.

    loader_workers: of the framework's own loader; None where waymark cuts the batches.
    """

    model: Model
    input_size: int
    device: Device
    clahe: bool = True
    loader_workers: int | None = None

    @property
    def network(self) -> str:
        """'ResNet-20@32': what is trained, however it is fed."""
        return f"{self.model.label}@{self.input_size}"

    @property
    def label(self) -> str:
        """'ResNet-20@32', with what is out of the ordinary about it: '... without CLAHE', '... 4 loader workers'."""
        clahe = "" if self.clahe else " without CLAHE"
        workers = "" if self.loader_workers is None else f" {self.loader_workers} loader workers"
        return f"{self.network}{clahe}{workers}"

    @property
    def title(self) -> str:
        """'ResNet-20@32 cpu'."""
        return f"{self.label} {self.device}"


class Synthetic(Frozen):
    """Size of the drawn data set: tracks of each class, each track one sign in changing light and pose.

    weather: `clear` draws large signs in even light, which a network learns in a few hundred steps.
    """

    tracks_per_class: Annotated[int, Field(ge=2, le=500)] = 10
    frames_per_track: Annotated[int, Field(ge=1, le=60)] = 6
    test_tracks_per_class: Annotated[int, Field(ge=1, le=200)] = 2
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    weather: Literal["any", "clear"] = "any"

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_default(handler(self), "weather", "any")


class Dataset(Frozen):
    """Which pictures, how they are split and how they are prepared."""

    name: Name = "gtsrb"
    split: Literal["paper", "by-track"] = "paper"
    split_seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    clahe: bool = True
    synthetic: Synthetic | None = None


class Training(Frozen):
    """How a network is trained: mean softmax cross-entropy at a constant rate, reshuffled every epoch.

    optimiser, initialiser: by name, of workers/optimisers.py and of workers/net.py.
    """

    optimiser: Name = "sgd"
    initialiser: Name = "he_normal"
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 64
    epochs: Annotated[int, Field(ge=1, le=1000)] = 25


class Measure(Frozen):
    """How the clock reads.

    sync: `step` waits after every step (latency), `block` once per block of at least 200 ms (throughput).
    feed: `host` places each batch inside the clock; `resident` places the epoch's batches before it starts; `native`
          takes them from the framework's own loader, with `loader_workers` workers (0: the training cuts them itself).
    warmup_steps, warmup_seconds: steps up to the later of the two are kept and flagged, and left out of summaries.
    evaluate: validation accuracy after each epoch, or only after the last one.
    fingerprint: `epoch` hashes every weight array and the predicted classes after each epoch, outside every clock.
    """

    sync: Literal["step", "block"] = "step"
    feed: Literal["host", "resident", "native"] = "host"
    loader_workers: LoaderWorkers = 0
    warmup_steps: Annotated[int, Field(ge=0, le=10_000)] = 20
    warmup_seconds: Annotated[float, Field(ge=0, le=600)] = 3.0
    evaluate: Literal["epoch", "end"] = "epoch"
    fingerprint: Literal["none", "epoch"] = "none"


class Trial(Frozen):
    """One process that does what is measured once, in one cell.

    kind: of its job, in records/job.py.
    """

    kind: Name = "train"
    framework: Name
    variant: Tag
    model: Model
    input_size: InputSize
    device: Device
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    repeat: Annotated[int, Field(ge=0)]
    dataset: Dataset
    training: Training
    measure: Measure
    threads: Annotated[int, Field(ge=1, le=1024)]

    @property
    def key(self) -> str:
        """Hash of the question: all but the variant."""
        # 'train' was the only kind once: such trials keep the keys that they had then.
        left_out = {"variant", "kind"} if self.kind == "train" else {"variant"}
        return digest(self.model_dump(mode="json", exclude=left_out))

    @property
    def label(self) -> str:
        """'pytorch:2.13 ResNet-20@32 cpu seed 0 repeat 0'."""
        return f"{self.subject} {self.cell.title} seed {self.seed} repeat {self.repeat}"

    @property
    def environment_key(self) -> EnvironmentKey:
        """What its environment is for."""
        return EnvironmentKey(self.framework, self.variant, self.device)

    @property
    def subject(self) -> str:
        """'pytorch:2.13'."""
        return self.environment_key.subject

    @property
    def cell(self) -> Cell:
        """What its subject is compared in."""
        return Cell(
            model=self.model,
            input_size=self.input_size,
            device=self.device,
            clahe=self.dataset.clahe,
            loader_workers=self.measure.loader_workers if self.measure.feed == "native" else None,
        )


class Card(Frozen):
    """One NVIDIA card, as NVML tells of it.

    index:      its number, as `nvidia-smi` prints it.
    uuid:       names this one card in the world, so it is written into no record.
    capability: '9.0'. driver: '580.159.04'.
    is_mig: it is divided (MIG is on): what a process gets is a part of it. Called `is_divided` in older records.
    """

    index: int
    uuid: Annotated[str, Field(exclude=True)] = ""
    name: str
    memory_bytes: int
    capability: str
    driver: str
    is_mig: Annotated[bool, Field(validation_alias=AliasChoices("is_mig", "is_divided"))] = False

    @property
    def label(self) -> str:
        """'GPU 0 (NVIDIA H200)'."""
        return f"GPU {self.index} ({self.name})"


class Environment(Frozen):
    """A catalogue row made real.

    identity: hash of everything in it: image id or installed packages, with the row's variables and options; and of the
              make of its card and the driver, which compute too.
    location: image reference for Docker, path of the interpreter for a virtualenv.
    freeze:   installed distributions, 'name==version', sorted.
    env:      variables set for the worker, placeholders resolved.
    options:  what the row tells the adapter.
    expects:  what the worker must find in force in itself (name in an adapter's `describe` -> value), or give up.
    card:     the only card that its workers are given; None means none.
    """

    engine: str
    framework: Name
    variant: Tag
    device: Device
    identity: str
    location: str
    python: str
    freeze: tuple[str, ...]
    env: dict[str, str] = {}
    options: dict[str, Any] = {}
    expects: dict[str, Any] = {}
    card: Card | None = None

    @property
    def key(self) -> EnvironmentKey:
        """What it is for."""
        return EnvironmentKey(self.framework, self.variant, self.device)

    def on(self, card: Card) -> "Environment":
        """The same with that card: what another make of card or another driver computes is another answer."""
        identity = digest([self.identity, card.name, card.capability, card.driver])
        return self.model_copy(update={"card": card, "identity": identity})


class Exit(Frozen):
    """How a worker process ended, as its engine saw it.

    code:            exit code, or None if a signal or the engine ended it.
    log_tail:        the last lines of its stdout and stderr.
    launched_unix:   seconds since 1970 when the engine was asked to start it.
    wall_seconds:    from that moment until it was gone.
    started_seconds: from that moment until its process ran; None if the engine cannot tell.
    """

    code: int | None
    signal: int | None = None
    is_timeout: bool = False
    is_out_of_memory: bool = False
    is_cancelled: bool = False
    log_tail: str = ""
    launched_unix: float
    wall_seconds: float
    started_seconds: float | None = None


class Outcome(Frozen):
    """Status of a trial, whose fault it is, and one sentence of reason ('' when ok)."""

    status: Status
    fault: Fault
    reason: str = ""

    @field_validator("status", mode="before")
    @classmethod
    def _current(cls, status: object) -> object:
        """'misconfigured' was called 'environment' until 0.1: records keep the old word."""
        return "misconfigured" if status == "environment" else status


def trial_id(trial: Trial, environment: Environment, data_sha256: str, worker_sha256: str) -> str:
    """Hash of the question and of everything that gave the answer."""
    return digest([trial.key, trial.variant, environment.identity, data_sha256, worker_sha256])
