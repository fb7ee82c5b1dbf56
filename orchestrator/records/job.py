"""job.json, which is what a worker may see; and the table of the kinds of job.

A kind is one entry of JOB_KINDS and one file of that name in workers/jobs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import model_serializer
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from orchestrator.environment import Device, Environment, EnvironmentKey, Frozen, Token
from orchestrator.records.event import Event
from orchestrator.trial import Inference, Measure, Model, Training, Trial
from workers import models, protocol

CLASSES = 43
"""Of GTSRB. Records of before 2026-11-25 do not hold the number, because all data sets had the same."""


class Network(Frozen):
    """A network, as the arguments of workers.models.build."""

    model: str
    params: dict[str, int]
    input_size: int
    classes: int

    @property
    def slug(self) -> str:
        """'resnet-8-32-43': for file names."""
        return "-".join(map(str, [self.model, *self.params.values(), self.input_size, self.classes]))


class Job(Frozen):
    """job.json. payload: what only its kind of job needs. See workers/protocol.py for the rest of its folder."""

    v: int = protocol.VERSION
    kind: str
    framework: str
    device: Device
    network: Network
    seed: int
    threads: int
    options: dict[str, Any] = {}
    expects: dict[str, Any] = {}
    payload: dict[str, Any] = {}


class CheckRequest(Frozen):
    """A selfcheck to run: one model in one environment, trained with this optimiser and initialiser.

    batch_size: of the trials, in which the first step is taken. steps: all of a selfcheck, or the first one alone.
    """

    framework: str
    variant: str
    model: Model
    input_size: int
    device: Device
    threads: int
    classes: int = CLASSES
    optimiser: str = "sgd"
    initialiser: str = "he_normal"
    batch_size: int = 64
    steps: Literal["all", "first"] = "all"

    @property
    def key(self) -> EnvironmentKey:
        """Which environment it needs."""
        return EnvironmentKey.of(self)

    @property
    def label(self) -> str:
        """'pytorch:2.13 selfcheck ResNet-20@32'."""
        steps = "" if self.steps == "all" else f", first step of {self.batch_size}"
        return f"{self.key.subject} selfcheck {self.model.label}@{self.input_size}{steps}"

    def is_at(self, input_size: int, batch_size: int) -> bool:
        """Whether its first step is one of that input size and batch."""
        return (self.input_size, self.batch_size) == (input_size, batch_size)

    def includes(self, other: "CheckRequest") -> bool:
        """Whether it takes the steps of `other`, at its input size and batch; of the same subject."""
        return self.is_at(other.input_size, other.batch_size) and self.steps in ("all", other.steps)


class AuditRequest(Frozen):
    """An audit to run: the oracle repeats the audited steps of a trial.

    ordinal: of the trial's job in its run. events_sha256: of its events, so that no other attempt is vouched for.
    """

    ordinal: int
    trial: Trial
    events_sha256: Token | None


class _TrainPayload(Frozen):
    training: Training
    measure: Measure

    @model_serializer(mode="wrap")
    def _whole(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """With `audit`, which a record leaves out where it is the default."""
        fields: dict[str, Any] = handler(self)
        return {**fields, "measure": {**fields["measure"], "audit": self.measure.audit}}


class _InferPayload(Frozen):
    inference: Inference


@dataclass(frozen=True)
class JobKind:
    """One kind of job.

    missing: what is missing in the events of a finished job, a sentence; '' if nothing is.
    payload: the payload of a trial's job. None for a kind that is not a trial: it reads no pictures and is not timed.
    needs_selfcheck: whether its subject must have passed the selfcheck, which trains; else it shows its proof itself.
    """

    missing: Callable[[Job, Sequence[Event]], str]
    payload: Callable[[Trial], Frozen] | None = None
    needs_selfcheck: bool = True


def needs_selfcheck(trial: Trial) -> bool:
    """Whether its subject must have passed the selfcheck; of a kind that this program does not know, too."""
    kind = JOB_KINDS.get(trial.kind)
    return kind is None or kind.needs_selfcheck


def trial_job(trial: Trial, environment: Environment, classes: int) -> Job:
    """The job of a trial of any kind. classes: of its data set."""
    payload = JOB_KINDS[trial.kind].payload
    if payload is None:
        raise ValueError(f"a job of the kind '{trial.kind}' is no trial")
    return Job(
        kind=trial.kind,
        framework=trial.framework,
        device=trial.device,
        network=_network(trial.model, trial.input_size, classes),
        seed=trial.seed,
        threads=trial.threads,
        options=environment.options,
        expects=environment.expects,
        payload=payload(trial).model_dump(mode="json"),
    )


def check_job(request: CheckRequest, environment: Environment) -> Job:
    """The job of a selfcheck."""
    return Job(
        kind="selfcheck",
        framework=request.framework,
        device=request.device,
        network=_network(request.model, request.input_size, request.classes),
        seed=0,
        threads=request.threads,
        options=environment.options,
        expects=environment.expects,
        payload=request.model_dump(include={"optimiser", "initialiser", "batch_size", "steps"}),
    )


def audit_job(
    request: AuditRequest, environment: Environment, classes: int, losses: Sequence[Sequence[float | None]]
) -> Job:
    """The job of an audit. environment: the oracle's; losses: of each epoch and step, as the worker read them."""
    trial = request.trial
    return Job(
        kind="audit",
        framework=environment.framework,
        device="cpu",
        network=_network(trial.model, trial.input_size, classes),
        seed=trial.seed,
        threads=1,
        options=environment.options,
        expects=environment.expects,
        payload={"training": trial.training.model_dump(mode="json"), "losses": losses},
    )


def probe_job(environment: Environment) -> Job:
    """The job that tries an environment with one training step of a small network on a few pictures."""
    return Job(
        kind="probe",
        framework=environment.framework,
        device=environment.device,
        network=_network(Model(name="resnet", depth=8), 32, CLASSES),
        seed=0,
        threads=1,
        options=environment.options,
    )


def peak_job(environment: Environment, networks: Sequence[tuple[Model, int]], threads: int) -> Job:
    """The job that measures what this machine can do at best. networks: whose convolutions are timed, with sizes."""
    return Job(
        kind="peak",
        framework=environment.framework,
        device="cpu",
        network=_network(Model(name="resnet", depth=8), 32, CLASSES),
        seed=0,
        threads=threads,
        options=environment.options,
        payload={
            "networks": [[f"{model.label}@{size}", model.name, model.arguments, size] for model, size in networks]
        },
    )


WeightsOf = tuple[Model, int, int, str]
"""Model, input size, classes, hash."""


def export_job(environment: Environment, weights: WeightsOf) -> Job:
    """The job that writes trained weights as the files of a runtime."""
    return _with_weights("export", environment, weights, 1)


def serve_job(environment: Environment, weights: WeightsOf, threads: int) -> Job:
    """The job that answers pictures as they come."""
    return _with_weights("serve", environment, weights, threads)


def _with_weights(kind: str, environment: Environment, weights: WeightsOf, threads: int) -> Job:
    model, input_size, classes, sha256 = weights
    return Job(
        kind=kind,
        framework=environment.framework,
        device=environment.device,
        network=_network(model, input_size, classes),
        seed=0,
        threads=threads,
        options=environment.options,
        expects=environment.expects,
        payload={"weights_sha256": sha256},
    )


def _network(model: Model, input_size: int, classes: int) -> Network:
    return Network(model=model.name, params=model.arguments, input_size=input_size, classes=classes)


def _train_missing(job: Job, events: Sequence[Event]) -> str:
    built = next((event.fields for event in events if event.kind == "built"), {})
    asked, wanted = job.network, _TrainPayload.model_validate(job.payload)
    net = models.build(asked.model, asked.classes, asked.input_size, **asked.params)
    if built.get("weights") != net.weight_count:
        return f"it built {built.get('weights')} weights; {asked.model}@{asked.input_size} has {net.weight_count}"
    epochs = [event.fields.get("epoch") for event in events if event.kind == "epoch"]
    if epochs != list(range(wanted.training.epochs)):
        return f"it reported {len(epochs)} epochs of {wanted.training.epochs}"
    if not any(event.kind == "score" and event.fields.get("split") == "test" for event in events):
        return "it ended without a test accuracy"
    fingerprints = sum(event.kind == "fingerprint" for event in events)
    if wanted.measure.fingerprint == "epoch" and fingerprints != wanted.training.epochs + 1:
        return f"it left {fingerprints} fingerprints of {wanted.training.epochs + 1}"
    return ""


def _infer_payload(trial: Trial) -> _InferPayload:
    if trial.inference is None:
        raise ValueError(f"{trial.label} is no inference")
    return _InferPayload(inference=trial.inference)


def _infer_missing(job: Job, events: Sequence[Event]) -> str:
    found = {event.kind: event.fields for event in events}
    for kind, what in (("check", "a comparison with the oracle"), ("queries", "latencies"), ("answers", "answers")):
        if kind not in found:
            return f"it ended without {what}"
    pictures = found.get("score", {}).get("pictures")
    if len(found["answers"].get("classes", ())) != pictures:
        return f"it answered for {len(found['answers'].get('classes', ()))} test pictures and scored {pictures}"
    if found["done"].get("weights_sha256") != _InferPayload.model_validate(job.payload).inference.weights_sha256:
        return "it ran other weights than those that were asked for"
    return ""


def _check_missing(job: Job, events: Sequence[Event]) -> str:
    return "" if any(event.kind == "check" for event in events) else "it ended without the result of its check"


def _peak_missing(job: Job, events: Sequence[Event]) -> str:
    return "" if any(event.kind == "peak" for event in events) else "it ended without its rates"


JOB_KINDS: dict[str, JobKind] = {
    "train": JobKind(_train_missing, lambda trial: _TrainPayload(training=trial.training, measure=trial.measure)),
    "infer": JobKind(_infer_missing, _infer_payload, needs_selfcheck=False),
    "audit": JobKind(_check_missing),
    "selfcheck": JobKind(_check_missing),
    "probe": JobKind(lambda job, events: ""),
    "peak": JobKind(_peak_missing),
    "export": JobKind(_check_missing),
    "serve": JobKind(_check_missing),
}


def trial_kinds() -> list[str]:
    """The kinds that a spec may ask for."""
    return sorted(kind for kind, entry in JOB_KINDS.items() if entry.payload is not None)
