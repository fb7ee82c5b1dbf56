"""job.json: what a worker may see of what it is asked."""

from typing import Any, Literal

from orchestrator.trial import CLASSES, Environment, Frozen, Model, Trial
from workers import protocol


class Job(Frozen):
    """job.json: the part of a trial that a worker may see. See workers/protocol.py for the rest of its folder."""

    v: int = protocol.VERSION
    kind: Literal["train", "selfcheck", "probe"]
    framework: str
    device: Literal["cpu", "gpu"]
    model: str
    model_params: dict[str, int]
    input_size: int
    classes: int = CLASSES
    seed: int
    learning_rate: float
    momentum: float
    batch_size: int
    epochs: int
    sync: Literal["step", "block"] = "step"
    feed: Literal["host", "resident", "native"] = "host"
    loader_workers: int = 0
    warmup_steps: int = 20
    warmup_seconds: float = 3.0
    evaluate: Literal["epoch", "end"] = "epoch"
    fingerprint: Literal["none", "epoch"] = "none"
    threads: int
    options: dict[str, Any] = {}
    expects: dict[str, Any] = {}


def train_job(trial: Trial, environment: Environment) -> Job:
    """The job of a timed trial."""
    return Job(
        kind="train",
        framework=trial.framework,
        device=trial.device,
        model=trial.model.name,
        model_params=trial.model.params,
        input_size=trial.input_size,
        seed=trial.seed,
        learning_rate=trial.training.learning_rate,
        momentum=trial.training.momentum,
        batch_size=trial.training.batch_size,
        epochs=trial.training.epochs,
        sync=trial.measure.sync,
        feed=trial.measure.feed,
        loader_workers=trial.measure.loader_workers,
        warmup_steps=trial.measure.warmup_steps,
        warmup_seconds=trial.measure.warmup_seconds,
        evaluate=trial.measure.evaluate,
        fingerprint=trial.measure.fingerprint,
        threads=trial.threads,
        options=environment.options,
        expects=environment.expects,
    )


def probe_job(environment: Environment) -> Job:
    """The job that tries an environment: one training step of a small network on a few pictures."""
    return Job(
        kind="probe",
        framework=environment.framework,
        device=environment.device,
        model="resnet",
        model_params={"depth": 8},
        input_size=32,
        seed=0,
        learning_rate=0.01,
        momentum=0.9,
        batch_size=8,
        epochs=1,
        threads=1,
        options=environment.options,
    )


class CheckRequest(Frozen):
    """A selfcheck: does this environment compute `model` as numpy_ref does?"""

    framework: str
    variant: str
    model: Model
    input_size: int
    device: Literal["cpu", "gpu"]
    threads: int

    @property
    def label(self) -> str:
        """'pytorch:2.13 selfcheck ResNet-20@32'."""
        return f"{self.framework}:{self.variant} selfcheck {self.model.label}@{self.input_size}"


def check_job(request: CheckRequest, environment: Environment) -> Job:
    """The job of a selfcheck; the worker sets both regimes itself, so rate, momentum and epochs are not read."""
    return Job(
        kind="selfcheck",
        framework=request.framework,
        device=request.device,
        model=request.model.name,
        model_params=request.model.params,
        input_size=request.input_size,
        seed=0,
        learning_rate=0.001,
        momentum=0.9,
        batch_size=64,
        epochs=1,
        threads=request.threads,
        options=environment.options,
        expects=environment.expects,
    )
