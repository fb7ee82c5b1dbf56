"""The values that all rooms share: a trial, its outcome, its key and its id.

`Trial.key` is the hash of all that is asked but the variant: comparing two variants is a join on it.
`trial_id` adds environment, data, the network's ops and worker code. If one byte of them changes the id changes, so an
old result is never taken for a new one.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from orchestrator.dataset import Dataset, Filtered, filters_words
from orchestrator.environment import (
    FLOAT32,
    Device,
    Environment,
    EnvironmentKey,
    Frozen,
    Name,
    Precision,
    Tag,
    Token,
    UnixSeconds,
    digest,
)
from orchestrator.networks import InputSize, Model, Network, label_at
from orchestrator.networks.features import input_of
from orchestrator.networks.model import without_default
from workers.optimisers import RULES

LoaderWorkers = Annotated[int, Field(ge=0, le=256)]

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
    "disturbed",
    "undrained",
]
Fault = Literal["none", "subject", "environment", "unknown"]

Study = Literal["build-flags", "clahe", "depth", "determinism", "filters", "input-size", "loader-workers", "unit-gain"]

League = Literal["as shipped", "tuned"]

Scenario = Literal["single-stream", "multi-stream", "offline", "server"]
"""How a trained network is asked; see workers/scenarios.py."""

UNTRAINED = "untrained"
"""In place of the hash of weights that are not there yet, in a plan that is only shown."""

ORACLE = "numpy_ref"
"""The framework that all others are checked against; it is slow, so its speed is not compared."""

AUDITED_STEPS = 2
"""Of a trial, if nothing else is asked for."""

Turn = tuple[int, int]
"""Seed and repeat: the runs of one turn in a cell follow each other."""

SubjectPair = tuple[str, str]
"""Baseline and candidate, each 'framework:variant'."""


class Cell(Filtered):
    """What subjects are compared in: one network, input size and device, with one preparation and loader.

    loader_workers: of the framework's own loader; None where waymark cuts the batches.
    scenario:       in which a trained network is asked, with its batch if that may differ: 'offline 64'; None for a
                    training.
    precision:      the number format that is asked for: subjects of two formats do not meet in a cell.
    batch_size:     of a training, in a sweep over several; None in any other.
    """

    model: Model
    input_size: InputSize
    device: Device
    loader_workers: int | None = None
    scenario: str | None = None
    precision: Precision = FLOAT32
    batch_size: int | None = None

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = without_default(self.as_before(handler(self)), "scenario", None)
        return without_default(without_default(fields, "precision", FLOAT32), "batch_size", None)

    @property
    def network(self) -> str:
        """'ResNet-20@32': network and input size only."""
        return label_at(self.model, self.input_size)

    @property
    def label(self) -> str:
        """'ResNet-20@32', with what differs from the defaults: '... without CLAHE', '... offline 64'."""
        workers = "" if self.loader_workers is None else f" {self.loader_workers} loader workers"
        scenario = "" if self.scenario is None else f" {self.scenario}"
        precision = "" if self.precision == FLOAT32 else f" in {self.precision}"
        batch = "" if self.batch_size is None else f" batch {self.batch_size}"
        return f"{self.network}{filters_words(self.filters)}{workers}{scenario}{batch}{precision}"

    @property
    def in_float32(self) -> "Cell":
        """The same cell in float32."""
        return self.model_copy(update={"precision": FLOAT32})

    @property
    def title(self) -> str:
        """'ResNet-20@32 cpu'."""
        return f"{self.label} {self.device}"


class Schedule(Frozen):
    """The rate of each step, as a share of the learning rate; defined in workers/protocol.py.

    warmup_epochs: over which the rate rises in a line; not of one-cycle, which rises by itself.
    milestones, factor: of `step`: at each of these epochs (from 0) the rate is multiplied by the factor.
    floor: of `cosine`: the share at its end. rise: of `one-cycle`: the share of the training in which the rate rises.
    """

    kind: Literal["constant", "step", "cosine", "one-cycle"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0, le=1000)] = 0.0
    # Not strict: the defaults of a Training make Python of its JSON, in which this is a list.
    milestones: Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], Field(max_length=100, strict=False)] = ()
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3

    @property
    def label(self) -> str:
        """'cosine, warm-up 2', or '' for a constant rate."""
        kind = "" if self.kind == "constant" else self.kind
        return ", ".join(filter(None, [kind, f"warm-up {self.warmup_epochs:g}" if self.warmup_epochs else ""]))


CONSTANT = Schedule()


class Target(Frozen):
    """A training ends after the epoch in which its accuracy over the validation pictures is at least this."""

    accuracy: Annotated[float, Field(gt=0, le=1)]
    split: Literal["valid"] = "valid"


class Training(Frozen):
    """How a network is trained: on the mean softmax cross-entropy, shuffled anew in each epoch.

    optimiser, initialiser: names of workers/optimisers.py, which defines the rule and its settings, and of
    workers/net.py. What an optimiser has by default follows from its name; None for what it does not have.
    decay:  'coupled' or 'apart', how the weight decay is applied; None is the optimiser's own way.
    target: at which the training ends, with `epochs` as the most; None: it takes them all.
    """

    optimiser: Name = "sgd"
    initialiser: Name = "he_normal"
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 64
    epochs: Annotated[int, Field(ge=1, le=1000)] = 25
    beta2: Annotated[float, Field(gt=0, lt=1)] | None = None
    epsilon: Annotated[float, Field(ge=1e-12, le=1)] | None = None
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    decay: Literal["coupled", "apart"] | None = None
    clip_norm: Annotated[float, Field(ge=0.01, le=1e6)] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    schedule: Schedule = CONSTANT
    target: Target | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: object) -> object:
        """The settings of its optimiser that are not given, so that equal trainings have equal fields."""
        if not isinstance(given, dict) or given.get("optimiser", "sgd") not in RULES:
            return given
        return {**RULES[given.get("optimiser", "sgd")].SETTINGS, **given}

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what says nothing new, so that the keys of older trials stand."""
        fields = handler(self)
        for name in ("beta2", "epsilon", "decay", "clip_norm", "target"):
            fields = without_default(fields, name, None)
        for name in ("weight_decay", "label_smoothing"):
            fields = without_default(fields, name, 0.0)
        return fields if self.schedule != CONSTANT else without_default(fields, "schedule", fields.get("schedule"))

    @property
    def rule(self) -> str:
        """'adam, rate 0.001, cosine, clipped at 1': how weights are updated, in words."""
        words = [
            self.optimiser,
            f"rate {self.learning_rate:g}",
            self.schedule.label,
            f"weight decay {self.weight_decay:g} {self.decay or RULES[self.optimiser].DECAYS[0]}"
            if self.weight_decay
            else "",
            "" if self.clip_norm is None else f"clipped at {self.clip_norm:g}",
            f"labels smoothed by {self.label_smoothing:g}" if self.label_smoothing else "",
        ]
        return ", ".join(filter(None, words))


class Measure(Frozen):
    """What is timed, and how.

    sync: `step` waits after every step (latency), `block` once per block of at least 200 ms (throughput).
    feed: `host` places each batch inside the clock; `resident` places the epoch's batches before it starts; `native`
          takes them from the framework's own loader, with `loader_workers` workers (0: in the training process).
    warmup_steps, warmup_seconds: steps up to the later of the two are kept and flagged, and left out of summaries.
    evaluate: validation accuracy after each epoch, or only after the last one.
    fingerprint: `epoch` hashes every weight array and the predicted classes after each epoch, outside every clock.
    audit: steps that the oracle repeats after the run; the loop copies the weights around them, outside every clock.
    """

    sync: Literal["step", "block"] = "step"
    feed: Literal["host", "resident", "native"] = "host"
    loader_workers: LoaderWorkers = 0
    warmup_steps: Annotated[int, Field(ge=0, le=10_000)] = 20
    warmup_seconds: Annotated[float, Field(ge=0, le=600)] = 3.0
    evaluate: Literal["epoch", "end"] = "epoch"
    fingerprint: Literal["none", "epoch"] = "none"
    audit: Annotated[int, Field(ge=0, le=100)] = AUDITED_STEPS

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_default(handler(self), "audit", AUDITED_STEPS)


class Inference(Frozen):
    """What a trained network is asked.

    batch_size:     pictures of one query. seconds: of the measurement, after warmup_seconds.
    bound_seconds:  of `server`: its 99th percentile must stay below it.
    weights_sha256: which weights; the same for all subjects of a cell.
    """

    scenario: Scenario
    batch_size: Annotated[int, Field(ge=1, le=4096)]
    seconds: Annotated[float, Field(gt=0, le=3600)]
    warmup_seconds: Annotated[float, Field(ge=0, le=600)]
    bound_seconds: Annotated[float, Field(gt=0, le=60)]
    weights_sha256: Token

    @property
    def label(self) -> str:
        """'single-stream', 'offline 64'."""
        return f"{self.scenario} {self.batch_size}" if self.scenario == "offline" else self.scenario


class Trial(Frozen):
    """One measurement of one subject in one cell, in a process of its own.

    kind:      a name of JOB_KINDS in records/job.py.
    training:  how the network is trained; of an inference: how its weights were.
    inference: what the trained network is asked; None for a training.
    precision: the number format that is asked for, which the row of its variant declares.
    by_batch:  whether its batch size tells its cell from others, as in a sweep over batch sizes.
    """

    kind: Name = "train"
    framework: Name
    variant: Tag
    model: Model
    input_size: InputSize
    device: Device
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    repeat: Annotated[int, Field(ge=0, le=99_999)]
    dataset: Dataset
    training: Training
    measure: Measure
    threads: Annotated[int, Field(ge=1, le=1024)]
    inference: Inference | None = None
    precision: Precision = FLOAT32
    by_batch: bool = False

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = without_default(without_default(handler(self), "inference", None), "precision", FLOAT32)
        return without_default(fields, "by_batch", False)

    @property
    def network_input(self) -> InputSize:
        """What its network takes: pictures of its input size, or the features of such pictures."""
        return input_of(self.dataset.filters, self.input_size)

    def network(self, classes: int) -> Network:
        """Its network. Raises ValueError, a sentence for the user, for one that cannot be."""
        return Network.of(self.model, self.network_input, classes)

    @property
    def batch_size(self) -> int:
        """Pictures of a step, or of a query."""
        return self.inference.batch_size if self.inference else self.training.batch_size

    @property
    def key(self) -> str:
        """Hash of all that is asked but the variant."""
        # 'train' was the only kind until 0.1: such trials keep the keys that they had then.
        left_out = {"variant", "kind", "by_batch"} if self.kind == "train" else {"variant", "by_batch"}
        return digest(self.model_dump(mode="json", exclude=left_out))

    @property
    def label(self) -> str:
        """'pytorch:2.13 ResNet-20@32 cpu seed 0 repeat 0'."""
        return f"{self.subject} {self.cell.title} seed {self.seed} repeat {self.repeat}"

    @property
    def environment_key(self) -> EnvironmentKey:
        """Which environment it needs."""
        return EnvironmentKey.of(self)

    @property
    def subject(self) -> str:
        """'pytorch:2.13'."""
        return self.environment_key.subject

    @property
    def turn(self) -> Turn:
        """Its seed and repeat."""
        return self.seed, self.repeat

    @property
    def cell(self) -> Cell:
        """The cell in which its subject is compared."""
        return Cell(
            model=self.model,
            input_size=self.input_size,
            device=self.device,
            filters=self.dataset.filters,
            loader_workers=self.measure.loader_workers if self.measure.feed == "native" else None,
            scenario=self.inference.label if self.inference else None,
            precision=self.precision,
            batch_size=self.training.batch_size if self.by_batch else None,
        )


class Exit(Frozen):
    """How a worker process ended, as its engine saw it.

    code:            exit code, or None if a signal or the engine ended it.
    full_at_bytes:   all memory of the machine, or of the container that waymark runs in, where the kernel ended it
                     because that ran out.
    log_tail:        the last lines of its stdout and stderr.
    launched_unix:   seconds since 1970 when the engine was asked to start it.
    wall_seconds:    from that moment until it had ended.
    started_seconds: from that moment until its process ran; None if the engine does not know.
    events_sha256:   of events.jsonl when it had ended; None in records of before 0.3.
    """

    code: int | None
    signal: int | None = None
    is_timeout: bool = False
    is_out_of_memory: bool = False
    full_at_bytes: Annotated[int, Field(ge=0, le=2**60)] | None = None
    is_cancelled: bool = False
    log_tail: str = ""
    launched_unix: UnixSeconds
    wall_seconds: Annotated[float, Field(ge=0, le=1e9)]
    started_seconds: Annotated[float, Field(ge=0, le=1e9)] | None = None
    events_sha256: Token | None = None


class Outcome(Frozen):
    """Status of a trial, what caused it, and the reason in one sentence ('' when ok)."""

    status: Status
    fault: Fault
    reason: str = ""

    @field_validator("status", mode="before")
    @classmethod
    def _current(cls, status: object) -> object:
        """'misconfigured' was called 'environment' until 0.1; old records hold that word."""
        return "misconfigured" if status == "environment" else status


def trial_id(trial: Trial, environment: Environment, data_sha256: str, network_sha256: str, worker_sha256: str) -> str:
    """Hash of what is asked, and of environment, data, the network's ops and worker code."""
    return digest([trial.key, trial.variant, environment.identity, data_sha256, network_sha256, worker_sha256])
