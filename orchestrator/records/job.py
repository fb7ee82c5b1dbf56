"""job.json, which is what a worker may see; and the table of the kinds of job.

A kind is one entry of JOB_KINDS and one file of that name in workers/jobs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import model_serializer
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from orchestrator.environment import FLOAT32, Device, Environment, EnvironmentKey, Frozen, Precision, Token
from orchestrator.networks import InputSize, Model, Network, label_at
from orchestrator.networks.model import without_default
from orchestrator.records.event import Event
from orchestrator.trial import Inference, Measure, Target, Training, Trial
from workers import protocol

CLASSES_BEFORE = 43
"""Of GTSRB. Records of before 2026-11-25 do not hold the number, because all data sets had the same."""


class Job(Frozen):
    """job.json. payload: what only its kind of job needs. See workers/protocol.py for the rest of its folder."""

    v: int = protocol.VERSION
    kind: str
    framework: str
    device: Device
    network: Network
    precision: Precision = FLOAT32
    seed: int
    threads: int
    options: dict[str, Any] = {}
    expects: dict[str, Any] = {}
    payload: dict[str, Any] = {}


class CheckRequest(Frozen):
    """A selfcheck to run: one model in one environment, trained with this optimiser and initialiser.

    traits: what the rule has beside its optimiser; of workers/optimisers.py.
    batch_size: of the trials, in which the first step is taken. steps: all of a selfcheck, or the first one alone.
    network_sha256: of its ops; '' in records of before 0.6, whose worker held the families.
    """

    framework: str
    variant: str
    model: Model
    input_size: InputSize
    device: Device
    threads: int
    classes: int = CLASSES_BEFORE
    optimiser: str = "sgd"
    initialiser: str = "he_normal"
    traits: tuple[str, ...] = ()
    batch_size: int = 64
    steps: Literal["all", "first"] = "all"
    network_sha256: Token = ""

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_default(without_default(handler(self), "traits", ()), "traits", [])

    @property
    def rule(self) -> tuple[str, ...]:
        """What one passed check vouches for: optimiser, initialiser and traits."""
        return (self.optimiser, self.initialiser, *self.traits)

    @property
    def network(self) -> Network:
        """The network that is trained. Raises ValueError for one that this clone cannot build."""
        return Network.of(self.model, self.input_size, self.classes)

    @property
    def key(self) -> EnvironmentKey:
        """Which environment it needs."""
        return EnvironmentKey.of(self)

    @property
    def label(self) -> str:
        """'pytorch:2.13 selfcheck ResNet-20@32', with a rule that is not plain SGD: '... with adam, clipping'."""
        rule = ", ".join([self.optimiser, *self.traits])
        with_rule = "" if rule == "sgd" else f" with {rule}"
        steps = "" if self.steps == "all" else f", first step of {self.batch_size}"
        return f"{self.key.subject} selfcheck {label_at(self.model, self.input_size)}{with_rule}{steps}"

    def is_at(self, input_size: InputSize, batch_size: int) -> bool:
        """Whether its first step is one of that input size and batch."""
        return (self.input_size, self.batch_size) == (input_size, batch_size)

    def includes(self, other: "CheckRequest") -> bool:
        """Whether it takes the steps of `other`, of the same ops, at its input size and batch; of the same subject."""
        is_alike = self.is_at(other.input_size, other.batch_size) and self.network_sha256 == other.network_sha256
        return is_alike and self.steps in ("all", other.steps)


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
    augment: dict[str, Any] | None = None

    @model_serializer(mode="wrap")
    def _whole(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """With `audit`, which a record leaves out where it is the default."""
        fields: dict[str, Any] = without_default(handler(self), "augment", None)
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


def trial_job(trial: Trial, environment: Environment, network: Network, classes: Sequence[str] = ()) -> Job:
    """The job of a trial of any kind. network: its own, with the classes of its data set; classes: their names."""
    payload = JOB_KINDS[trial.kind].payload
    if payload is None:
        raise ValueError(f"a job of the kind '{trial.kind}' is no trial")
    return Job(
        kind=trial.kind,
        framework=trial.framework,
        device=trial.device,
        network=network,
        precision=trial.precision,
        seed=trial.seed,
        threads=trial.threads,
        options=environment.options,
        expects=environment.expects,
        payload=payload(trial).model_dump(mode="json") | _augment(trial, classes),
    )


def _augment(trial: Trial, classes: Sequence[str]) -> dict[str, Any]:
    """The part of a payload that says how training pictures are changed; {} where they are not, and for a query."""
    augment = None if trial.inference else trial.dataset.augment
    return {"augment": augment.numbered(classes)} if augment else {}


def check_job(request: CheckRequest, environment: Environment) -> Job:
    """The job of a selfcheck."""
    return Job(
        kind="selfcheck",
        framework=request.framework,
        device=request.device,
        network=request.network,
        precision=environment.precision,
        seed=0,
        threads=request.threads,
        options=environment.options,
        expects=environment.expects,
        payload={
            "traits": [],
            **request.model_dump(include={"optimiser", "initialiser", "traits", "batch_size", "steps"}),
        },
    )


def audit_job(
    request: AuditRequest,
    environment: Environment,
    network: Network,
    losses: Sequence[Sequence[float | None]],
    classes: Sequence[str] = (),
) -> Job:
    """The job of an audit. environment: the oracle's; losses: of each epoch and step, as the worker read them."""
    trial = request.trial
    return Job(
        kind="audit",
        framework=environment.framework,
        device="cpu",
        network=network,
        precision=trial.precision,
        seed=trial.seed,
        threads=1,
        options=environment.options,
        expects=environment.expects,
        payload={"training": trial.training.model_dump(mode="json"), "losses": losses} | _augment(trial, classes),
    )


_SMALL = (Model(name="resnet", depth=8), InputSize.square(32), CLASSES_BEFORE)


def probe_job(environment: Environment) -> Job:
    """The job that tries an environment with one training step of a small network on a few pictures."""
    return Job(
        kind="probe",
        framework=environment.framework,
        device=environment.device,
        network=Network.of(*_SMALL),
        seed=0,
        threads=1,
        options=environment.options,
    )


def fit_job(environment: Environment, network: Network, trial: Trial) -> Job:
    """The job that takes a few training steps of drawn pictures, in batches as large as those of `trial`."""
    return Job(
        kind="fit",
        framework=environment.framework,
        device=environment.device,
        network=network,
        precision=trial.precision,
        seed=trial.seed,
        threads=trial.threads,
        options=environment.options,
        payload={"training": trial.training.model_dump(mode="json")},
    )


def peak_job(environment: Environment, networks: Sequence[Network], threads: int) -> Job:
    """The job that measures what this machine can do at best. networks: whose convolutions are timed."""
    return Job(
        kind="peak",
        framework=environment.framework,
        device="cpu",
        network=Network.of(*_SMALL),
        seed=0,
        threads=threads,
        options=environment.options,
        payload={"networks": [network.model_dump(mode="json") for network in networks]},
    )


def export_job(environment: Environment, network: Network, weights_sha256: str) -> Job:
    """The job that writes trained weights as the files of a runtime."""
    return _with_weights("export", environment, network, weights_sha256, 1)


def serve_job(environment: Environment, network: Network, weights_sha256: str, threads: int) -> Job:
    """The job that answers pictures as they come."""
    return _with_weights("serve", environment, network, weights_sha256, threads)


def _with_weights(kind: str, environment: Environment, network: Network, weights_sha256: str, threads: int) -> Job:
    return Job(
        kind=kind,
        framework=environment.framework,
        device=environment.device,
        network=network,
        precision=environment.precision,
        seed=0,
        threads=threads,
        options=environment.options,
        expects=environment.expects,
        payload={"weights_sha256": weights_sha256},
    )


def _train_missing(job: Job, events: Sequence[Event]) -> str:
    built = next((event.fields for event in events if event.kind == "built"), {})
    wanted, weights = _TrainPayload.model_validate(job.payload), job.network.net.weight_count
    if built.get("weights") != weights:
        return f"it built {built.get('weights')} weights; {job.network.label} has {weights}"
    epochs = [event.fields.get("epoch") for event in events if event.kind == "epoch"]
    due = wanted.training.epochs
    if wanted.training.target is not None and _reaches(wanted.training.target, events, len(epochs) - 1):
        due = len(epochs)
    if epochs != list(range(due)):
        return f"it reported {len(epochs)} epochs of {due}"
    if not any(event.kind == "score" and event.fields.get("split") == "test" for event in events):
        return "it ended without a test accuracy"
    fingerprints = sum(event.kind == "fingerprint" for event in events)
    if wanted.measure.fingerprint == "epoch" and fingerprints != due + 1:
        return f"it left {fingerprints} fingerprints of {due + 1}"
    return ""


def _reaches(target: Target, events: Sequence[Event], epoch: int) -> bool:
    """Whether that epoch reached the target, so that it may be the last."""
    scores = [event.fields for event in events if event.kind == "score" and event.fields.get("epoch") == epoch]
    reached = [fields.get("accuracy") for fields in scores if fields.get("split") == target.split]
    return any(isinstance(accuracy, float | int) and accuracy >= target.accuracy for accuracy in reached)


def _infer_payload(trial: Trial) -> _InferPayload:
    if trial.inference is None:
        raise ValueError(f"{trial.label} is no inference")
    return _InferPayload(inference=trial.inference)


def _infer_missing(job: Job, events: Sequence[Event]) -> str:
    fields_of = {event.kind: event.fields for event in events}
    for kind, what in (("check", "a comparison with the oracle"), ("queries", "latencies"), ("answers", "answers")):
        if kind not in fields_of:
            return f"it ended without {what}"
    pictures = fields_of.get("score", {}).get("pictures")
    if len(fields_of["answers"].get("classes", ())) != pictures:
        return f"it answered for {len(fields_of['answers'].get('classes', ()))} test pictures and scored {pictures}"
    if fields_of["done"].get("weights_sha256") != _InferPayload.model_validate(job.payload).inference.weights_sha256:
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
    "fit": JobKind(lambda job, events: ""),
    "peak": JobKind(_peak_missing),
    "export": JobKind(_check_missing),
    "serve": JobKind(_check_missing),
}


def trial_kinds() -> list[str]:
    """The kinds that a spec may ask for."""
    return sorted(kind for kind, entry in JOB_KINDS.items() if entry.payload is not None)
