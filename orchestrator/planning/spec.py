"""The experiment spec, as frozen data; for every mistake in it one sentence."""

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError, model_serializer
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from orchestrator.data import filters
from orchestrator.dataset import STUDY_FILTERS, Dataset, Filters
from orchestrator.environment import Device, Frozen, Name, Tag
from orchestrator.errors import SpecError, did_you_mean
from orchestrator.networks import InputSize, Model, Network, families
from orchestrator.networks.features import input_of
from orchestrator.networks.model import NetworkHash, without_default
from orchestrator.networks.recorded import OwnNetworks
from orchestrator.planning.spec_errors import sentence, shown
from orchestrator.planning.spec_file import changed, read_object
from orchestrator.planning.spec_networks import STARTS, with_networks
from orchestrator.records.job import trial_kinds
from orchestrator.trial import League, LoaderWorkers, Measure, Scenario, Study, Training
from workers import optimisers
from workers.net import INITIALISERS

STUDY_FRAMEWORKS = ("cntk", "mxnet", "neon", "pytorch", "tensorflow")

MachineName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
Epochs = Annotated[int, Field(ge=1, le=1000)]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
Repeats = Annotated[int, Field(ge=1, le=1000)]
Sizes = Annotated[tuple[InputSize, ...], Field(min_length=1)]
_SubjectName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*:[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Variants = Annotated[tuple[Tag, ...], Field(min_length=1)]


class ModelAxis(Frozen):
    """One network of the sweep, with its own input sizes and epochs if they differ from the sweep's.

    depth:  layers, for families that have a depth. params: what else the family takes, by name.
    network_sha256: of a user's own network: the hash of its ops in `networks`. A file says {"onnx": PATH} or
            {"net": PATH} in its place, beside the spec; its input size is then that of the file, if none is given.
    start_sha256: of first weights of its ONNX file; a file says "start": "file". Without it weights are drawn, by seed.
    """

    name: Name
    depth: Annotated[int, Field(ge=1, le=1202)] | None = None
    params: dict[Name, int] = {}
    network_sha256: NetworkHash = ""
    start_sha256: NetworkHash = ""
    input_sizes: Sizes | None = None
    epochs: Epochs | None = None

    @property
    def model(self) -> Model:
        """The network, without input sizes and epochs."""
        return Model(**{name: getattr(self, name) for name in Model.model_fields})

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_default(without_default(handler(self), "network_sha256", ""), "start_sha256", "")


class Axes(Frozen):
    """The sweep is the product of these. A framework without an entry in `variants` runs its default variant.

    epochs: by framework; they replace those of the models and of the training.
    repeats: of every cell; or by framework, where one that is not named runs once.
    machines: of a cluster, by a feature that Slurm knows or a node's name: `invoke submit` runs the whole spec on each.
            `invoke sweep` runs it on the machine that it is called on.
    batch_sizes: of trainings, in place of training.batch_size.
    clahe, filters: they replace dataset.filters. loader_workers: measure.loader_workers with the native feed.
    """

    frameworks: Annotated[tuple[Name, ...], Field(min_length=1)]
    variants: dict[Name, Tag | Variants] = {}
    models: Annotated[tuple[ModelAxis, ...], Field(min_length=1)]
    epochs: dict[Name, Epochs] = {}
    input_sizes: Sizes = (InputSize.square(32),)
    devices: Annotated[tuple[Device, ...], Field(min_length=1)] = ("cpu",)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=2**32 - 1)], ...], Field(min_length=1)] = (0,)
    clahe: Annotated[tuple[bool, ...], Field(min_length=1)] | None = None
    filters: Annotated[tuple[Filters, ...], Field(min_length=1)] | None = None
    loader_workers: Annotated[tuple[LoaderWorkers, ...], Field(min_length=1)] | None = None
    batch_sizes: Annotated[tuple[BatchSize, ...], Field(min_length=1)] | None = None
    repeats: Repeats | dict[Name, Repeats] = 1
    machines: Annotated[tuple[MachineName, ...], Field(max_length=100)] = ()

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = without_default(without_default(handler(self), "machines", ()), "machines", [])
        return without_default(fields, "batch_sizes", None)

    def variants_of(self, framework: str) -> tuple[str | None, ...]:
        """The variants of the spec; (None,) means the catalogue's default."""
        asked = self.variants.get(framework)
        if asked is None:
            return (None,)
        return (asked,) if isinstance(asked, str) else asked

    def repeats_of(self, framework: str) -> int:
        """How often each cell of `framework` runs."""
        return self.repeats if isinstance(self.repeats, int) else self.repeats.get(framework, 1)

    @property
    def networks(self) -> tuple[tuple[ModelAxis, InputSize], ...]:
        """Each model at each of its input sizes."""
        return tuple((entry, size) for entry in self.models for size in entry.input_sizes or self.input_sizes)

    @property
    def subjects(self) -> set[str]:
        """Every variant that the spec names, as 'mxnet:1.5-mkl'."""
        return {f"{name}:{tag}" for name in self.frameworks for tag in self.variants_of(name) if tag is not None}


class Limits(Frozen):
    """A trial that exceeds `memory_gib` is ended by the kernel, one that exceeds `trial_seconds` by the engine.

    silent_seconds:  a worker that reports nothing for so long is ended: it hangs while it imports, builds or trains.
    foreign_percent: while a trial trained, other processes may have used this share of its processors' time; beyond it
                     the trial is run again, and at last has the status `disturbed`.
    """

    trial_seconds: Annotated[float, Field(gt=0, le=30 * 86400)] = 6 * 3600
    memory_gib: Annotated[float, Field(ge=0.25, le=4096)] = 8
    silent_seconds: Annotated[float, Field(gt=0, le=30 * 86400)] = 1800
    foreign_percent: Annotated[float, Field(gt=0, le=100)] = 10


class InferenceAxes(Frozen):
    """What trained networks are asked; the sweep has a trial for each scenario, of `offline` for each batch size.

    streams:      pictures of one query of `multi-stream`. batch_sizes: of `offline`.
    seconds:      of each measurement, after warmup_seconds.
    bound_ms:     of `server`: its 99th percentile must stay below it.
    trained_with: the framework that trains a network of which no run on record has weights.
    """

    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)] = ("single-stream", "offline")
    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1)] = (32,)
    streams: Annotated[int, Field(ge=2, le=256)] = 8
    seconds: Annotated[float, Field(gt=0, le=3600)] = 10
    warmup_seconds: Annotated[float, Field(ge=0, le=600)] = 2
    bound_ms: Annotated[float, Field(gt=0, le=60_000)] = 15
    trained_with: Name = "pytorch"


class ExperimentSpec(Frozen):
    """One experiment: axes, data, training, how to measure, limits.

    kind: what a trial does; 'train' trains a network and times its steps, 'infer' runs a trained one.
    inference: of the kind 'infer': what the networks are asked. dataset and training say how they were trained.
    threads: processors a trial may use and threads its framework starts; null takes every physical core.
    study: the name of a shipped study, whose question the report answers in a section of its own.
    networks: ops of users' own networks, by their hash.
    league: whether the variants are those that come with the frameworks, or tuned ones; the report says so beside its
            numbers, because the two are not compared.
    pairs: [baseline, candidate], each 'framework:variant' of the axes: the report says by how much each candidate is
           faster; all pairs of a sweep are one family.
    """

    model_config = ConfigDict(title="waymark experiment")

    schema_path: Annotated[str | None, Field(alias="$schema")] = None
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
    description: str = ""
    kind: Name = "train"
    axes: Axes
    dataset: Dataset = Dataset()
    training: Training = Training()
    measure: Measure = Measure()
    inference: InferenceAxes | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    limits: Limits = Limits()
    study: Study | None = None
    league: League | None = None
    pairs: tuple[tuple[_SubjectName, _SubjectName], ...] = ()
    networks: OwnNetworks = {}

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_default(handler(self), "networks", {})


def load_spec(path: Path, frameworks: Collection[str], changes: Mapping[str, Any] | None = None) -> ExperimentSpec:
    """The spec in `path` after `changes`.

    frameworks: names that exist; others in axes.frameworks raise SpecError.
    changes:    dotted path -> value, e.g. {'training.epochs': 1}, replacing the file's; 'axes.models[].epochs' means
                that of every entry of the list. If frameworks or variants change, the file's variants of other
                frameworks, and pairs of which a subject is missing, are dropped.
    Raises SpecError: one sentence with the file, the path into the JSON, what was seen and what is allowed.
    """
    raw = with_networks(changed(read_object(path), changes or {}), path)
    try:
        spec = ExperimentSpec.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise SpecError(f"{path}: {sentence(error, raw, ExperimentSpec)}") from None
    if any(dotted.startswith(("axes.frameworks", "axes.variants")) for dotted in changes or ()):
        whole = tuple(pair for pair in spec.pairs if spec.axes.subjects.issuperset(pair))
        spec = spec.model_copy(update={"pairs": whole})
    fault = _fault(spec, {*frameworks, *STUDY_FRAMEWORKS})
    if fault:
        raise SpecError(f"{path}: {fault}")
    return spec


def recorded_spec(raw: object, where: str) -> ExperimentSpec:
    """The spec that a run has recorded. Raises SpecError if this program cannot read it."""
    try:
        return ExperimentSpec.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise SpecError(f"{where}: {sentence(error, raw, ExperimentSpec)}") from None


def schema_text() -> str:
    """The JSON Schema that editors read, as experiments/schema.json holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ExperimentSpec.model_json_schema()}
    for key, known in (("optimiser", optimisers.RULES), ("initialiser", INITIALISERS)):
        schema["$defs"]["Training"]["properties"][key]["enum"] = sorted(known)
    pictures = schema["$defs"]["Dataset"]["properties"]
    pictures["clahe"] = {"type": "boolean", "description": "In place of filters: CLAHE alone, or none."}
    for chain in (pictures["filters"], schema["$defs"]["Axes"]["properties"]["filters"]["anyOf"][0]["items"]):
        chain["items"]["enum"] = sorted(filters.FILTERS)
    schema["properties"]["kind"]["enum"] = trial_kinds()
    axis = schema["$defs"]["ModelAxis"]
    axis["properties"] |= {
        "onnx": {"type": "string", "description": "An ONNX file, beside the spec: a network of your own."},
        "net": {"type": "string", "description": "A file that `invoke import` wrote: a network of your own."},
        "start": {"enum": list(STARTS), "description": "First weights: drawn by seed, or those of the ONNX file."},
    }
    axis["anyOf"] = [{"required": [key]} for key in ("name", "onnx", "net")]
    del axis["required"]
    return json.dumps(schema, indent=2) + "\n"


def _fault(spec: ExperimentSpec, frameworks: Collection[str]) -> str:
    """The first mistake that types and ranges do not catch, as a sentence; '' if there is none."""
    axes = spec.axes
    for where, name, known in (
        ("kind", spec.kind, trial_kinds()),
        ("training.optimiser", spec.training.optimiser, optimisers.RULES),
        ("training.initialiser", spec.training.initialiser, INITIALISERS),
    ):
        if name not in known:
            return f"{where} is '{name}'; allowed: {', '.join(sorted(known))}.{did_you_mean(name, known)}"
    named = [(f"axes.frameworks[{at}]", name) for at, name in enumerate(axes.frameworks)]
    by_framework = {"variants": axes.variants, "epochs": axes.epochs, "repeats": axes.repeats}
    named += [(f"axes.{key}", name) for key, value in by_framework.items() if isinstance(value, dict) for name in value]
    for where, name in named:
        if name not in frameworks:
            listed = ", ".join(sorted(frameworks))
            return f"{where} is '{name}', which is no framework here. Known: {listed}.{did_you_mean(name, frameworks)}"
        if name not in axes.frameworks:
            return f"{where} names '{name}', which is not in axes.frameworks; add it there or remove it."
    for where, values in _lists(spec):
        for at, value in enumerate(values):
            if value in values[:at]:
                return f"{where}[{at}] repeats {shown(value)}; each value may stand once."
    if axes.clahe is not None and axes.filters is not None:
        return "axes.clahe and axes.filters are both set; write axes.filters alone."
    if spec.dataset.fraction is not None and spec.dataset.per_class is not None:
        return "dataset.fraction and dataset.per_class are both set; a part has one of them."
    for where, chain in (("dataset.filters", spec.dataset.filters), *_chains(axes)):
        for size in {size for _, size in axes.networks}:
            if fault := filters.fault(chain, size):
                return f"{where}: {fault}"
    chains = [chain for _, chain in _chains(axes)] or [spec.dataset.filters]
    for at, entry in enumerate(axes.models):
        fault = _model_fault(entry, entry.input_sizes or axes.input_sizes, chains)
        if fault:
            return f"axes.models[{at}]{fault}"
    if spec.dataset.synthetic is not None and spec.dataset.name != "synthetic":
        return f"dataset.synthetic is set while dataset.name is '{spec.dataset.name}'; set the name to 'synthetic'."
    return _training_fault(spec) or _inference_fault(spec, frameworks) or _feed_fault(spec) or _pairs_fault(spec)


def _chains(axes: Axes) -> list[tuple[str, Filters]]:
    """Each chain of filters of the axes, and where it stands."""
    if axes.clahe is not None:
        return [(f"axes.clahe[{at}]", STUDY_FILTERS if clahe else ()) for at, clahe in enumerate(axes.clahe)]
    return [(f"axes.filters[{at}]", chain) for at, chain in enumerate(axes.filters or ())]


def _inference_fault(spec: ExperimentSpec, frameworks: Collection[str]) -> str:
    if spec.inference is None:
        return ""
    if spec.kind != "infer":
        return f"inference is set while kind is '{spec.kind}'; set the kind to 'infer', or remove it."
    name = spec.inference.trained_with
    if name not in frameworks:
        nearest = did_you_mean(name, frameworks)
        return f"inference.trained_with is '{name}'. Known: {', '.join(sorted(frameworks))}.{nearest}"
    if spec.axes.loader_workers is not None:
        return "axes.loader_workers is set while kind is 'infer'; a query has no loader: remove it."
    return ""


def _training_fault(spec: ExperimentSpec) -> str:
    training, schedule = spec.training, spec.training.schedule
    rule = optimisers.RULES[training.optimiser]
    for name in ("beta2", "epsilon"):
        if getattr(training, name) is not None and name not in rule.SETTINGS:
            return (
                f"training.{name} is set while training.optimiser is '{training.optimiser}', which has none: remove it."
            )
    if training.optimiser == "nesterov" and not training.momentum:
        return (
            "training.momentum is 0 while training.optimiser is 'nesterov'; without momentum it is 'sgd': write that."
        )
    if training.decay not in (None, *rule.DECAYS):
        other = {"adam": "adamw", "adamw": "adam"}.get(training.optimiser)
        instead = f": write '{other}'" if other else f"; allowed: {', '.join(rule.DECAYS)}"
        return f"training.decay is '{training.decay}' while training.optimiser is '{training.optimiser}'{instead}."
    if training.decay is not None and not training.weight_decay:
        return "training.decay is set while training.weight_decay is 0; set the weight decay, or remove it."
    if schedule.milestones and schedule.kind != "step":
        return f"training.schedule.milestones is set while its kind is '{schedule.kind}'; only 'step' has them."
    if schedule.kind == "step" and not schedule.milestones:
        return "training.schedule.kind is 'step' without milestones; name the epochs at which the rate falls."
    if schedule.kind == "one-cycle" and schedule.warmup_epochs:
        return "training.schedule.warmup_epochs is set while its kind is 'one-cycle', which rises by itself: remove it."
    if training.target is not None and spec.measure.evaluate != "epoch":
        return (
            f"training.target is set while measure.evaluate is '{spec.measure.evaluate}'; only after each epoch can "
            "waymark see that it is reached: set it to 'epoch'."
        )
    if spec.axes.batch_sizes is not None and spec.kind != "train":
        return "axes.batch_sizes is set while kind is 'infer'; write inference.batch_sizes."
    return ""


def _feed_fault(spec: ExperimentSpec) -> str:
    feed, workers = spec.measure.feed, spec.measure.loader_workers
    if workers and feed != "native":
        return (
            f"measure.loader_workers is {workers} while measure.feed is '{feed}'; only the framework's own loader has "
            "workers: set the feed to 'native'."
        )
    if spec.dataset.augment is not None and (feed == "native" or spec.axes.loader_workers is not None):
        return (
            "dataset.augment is set while batches come from the framework's own loader, which takes pictures as they "
            "are; set measure.feed to 'host' (inside the clock) or 'resident' (outside)."
        )
    if spec.axes.loader_workers is not None and feed == "resident":
        return (
            "axes.loader_workers asks for the framework's own loader while measure.feed is 'resident'; leave one out."
        )
    return ""


def _pairs_fault(spec: ExperimentSpec) -> str:
    asked = spec.axes.subjects
    for at, pair in enumerate(spec.pairs):
        baseline, candidate = pair
        for subject in pair:
            if subject.endswith(":best"):
                return f"pairs[{at}] names '{subject}'; name the variant itself, or use: invoke compare"
            if subject not in asked:
                known = ", ".join(sorted(asked)) or "none"
                nearest = did_you_mean(subject, asked)
                return (
                    f"pairs[{at}] names '{subject}', which axes.variants does not ask for. Asked for: {known}.{nearest}"
                )
        if baseline == candidate:
            return (
                f"pairs[{at}] sets '{baseline}' against itself; an A/A control is made with: "
                f"invoke compare {baseline} {baseline}"
            )
        if baseline.partition(":")[0] != candidate.partition(":")[0]:
            return f"pairs[{at}] sets {baseline} against {candidate}; a pair is two builds of one framework."
        if pair in spec.pairs[:at]:
            return f"pairs[{at}] repeats {baseline} against {candidate}; each pair may stand once."
    return ""


def _lists(spec: ExperimentSpec) -> list[tuple[str, tuple[Any, ...]]]:
    axes, inference, milestones = spec.axes, spec.inference, spec.training.schedule.milestones
    lists: list[tuple[str, tuple[Any, ...]]] = [
        ("axes.frameworks", axes.frameworks),
        ("axes.input_sizes", axes.input_sizes),
        ("axes.devices", axes.devices),
        ("axes.seeds", axes.seeds),
        ("axes.clahe", axes.clahe or ()),
        ("axes.filters", axes.filters or ()),
        ("axes.loader_workers", axes.loader_workers or ()),
        ("axes.batch_sizes", axes.batch_sizes or ()),
        ("training.schedule.milestones", milestones),
        ("inference.scenarios", inference.scenarios if inference else ()),
        ("inference.batch_sizes", inference.batch_sizes if inference else ()),
        ("axes.models", tuple(entry.model.label for entry in axes.models)),
    ]
    lists += [(f"axes.variants.{name}", value) for name, value in axes.variants.items() if not isinstance(value, str)]
    lists += [
        (f"axes.models[{at}].input_sizes", entry.input_sizes)
        for at, entry in enumerate(axes.models)
        if entry.input_sizes
    ]
    return lists


_ANY_CLASSES = 2
"""Whether a network can be built does not depend on how many classes it tells apart."""


def _model_fault(entry: ModelAxis, sizes: tuple[InputSize, ...], chains: Sequence[Filters]) -> str:
    known = families.names()
    if not entry.network_sha256 and entry.name not in known:
        return f".name is '{entry.name}'. Known: {', '.join(sorted(known))}.{did_you_mean(entry.name, known)}"
    for size, chain in product(sizes, chains):
        try:
            Network.of(entry.model, input_of(chain, size), _ANY_CLASSES)
        except (ValueError, TypeError) as error:
            return f" cannot be built for {size.pixels}: {error}"
    return ""
