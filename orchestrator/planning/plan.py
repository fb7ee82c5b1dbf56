"""Expands a spec, for a catalogue and a machine, into trials in running order, and skips with reasons.

Pure: it uses no disk and no daemon, so `--dry-run` prints exactly what would run.
"""

import random
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from orchestrator.dataset import STUDY_FILTERS, Dataset, Filters
from orchestrator.environment import FLOAT32, Device, EnvironmentKey, Precision
from orchestrator.errors import CatalogueError, SpecError
from orchestrator.networks import InputSize, Model
from orchestrator.planning import gpu_fit
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import ImageRow, resolve_env
from orchestrator.planning.spec import ExperimentSpec, InferenceAxes, ModelAxis
from orchestrator.records.host_facts import HostFacts
from orchestrator.records.job import needs_selfcheck
from orchestrator.records.run_folder import Skip
from orchestrator.trial import UNTRAINED, Cell, Inference, Measure, SubjectPair, Training, Trial


@dataclass(frozen=True)
class Plan:
    """trials: in running order. rows: of the environments that they need. skips: cells that cannot run here."""

    trials: tuple[Trial, ...]
    rows: tuple[ImageRow, ...]
    skips: tuple[Skip, ...]


@dataclass(frozen=True)
class Order:
    """How the order of a run's trials is drawn.

    seed:           of the random order; None for that of runs before 0.3, which follows from the spec.
    runs_together:  so many repeats of a cell run one after the other: 2 for a comparison of two builds (AB BA), and for
                    one of a build with itself, whose pairs they are.
    """

    seed: int | None = None
    runs_together: int = 1


Weights = Mapping[tuple[Model, InputSize, Dataset], str]
"""Network, input size and data set -> hash of the trained weights."""


def expand(
    spec: ExperimentSpec,
    catalogue: Catalogue,
    host: HostFacts,
    order: Order | None = None,
    weights: Weights | None = None,
) -> Plan:
    """All trials of `spec`: repeat 1 of every cell, in random order, then repeat 2 ...

    The subjects of a cell run one after the other, and those that `pairs` connect next to each other, so that a drift
    of the machine affects all of them equally. Every second repeat reverses the order of the one before, so that of two
    subjects each runs first equally often, and runs of one build that follow each other show what noise alone does.
    weights: of the networks of an inference; one that is not there is planned as UNTRAINED.
    Raises SpecError for a variant that its framework does not declare, and for more threads than processors.
    """
    threads = spec.threads or host.physical_cores
    if threads > len(host.cpus):
        raise SpecError(
            f"threads is {threads}; this machine lets waymark use {len(host.cpus)} processors. "
            "Lower it, or leave it out to take every physical core."
        )
    order = order or Order()
    drawn = _Drawn(spec, order.seed)
    trials: list[Trial] = []
    rows: dict[EnvironmentKey, ImageRow] = {}
    skips: dict[tuple[EnvironmentKey, Cell], Skip] = {}
    repeats = range(max(map(spec.axes.repeats_of, spec.axes.frameworks)))
    for first in repeats[:: order.runs_together]:
        turn: list[Trial] = []
        together = repeats[first : first + order.runs_together]
        for trial in (
            trial for repeat in together for trial in _cells(spec, catalogue, threads, repeat, weights or {})
        ):
            reason = _why_not(trial, catalogue, host)
            if reason:
                skips.setdefault((trial.environment_key, trial.cell), skip_of(trial, reason))
                continue
            turn.append(trial)
            rows.setdefault(trial.environment_key, _row_of(trial, catalogue))
        trials += drawn.of_turn(turn)
    return Plan(tuple(trials), tuple(rows.values()), tuple(skips.values()))


def asked_trials(spec: ExperimentSpec, catalogue: Catalogue) -> Iterator[Trial]:
    """All that a spec asks for, whether it can run on this machine or not, in no order that means anything."""
    for repeat in range(max(map(spec.axes.repeats_of, spec.axes.frameworks))):
        yield from _cells(spec, catalogue, 1, repeat, {})


def oversubscribed(plan: Plan, host: HostFacts) -> list[str]:
    """A warning for each row that starts more threads than a trial has processors, which slows it down."""
    threads = min((trial.threads for trial in plan.trials), default=0)
    warnings = []
    for row in plan.rows:
        asked = resolve_env(row, host, "").get("OMP_NUM_THREADS", "")
        if asked.isdigit() and int(asked) > threads:
            warnings.append(f"{row.subject} starts {asked} threads on the {threads} processors of a trial.")
    return warnings


class _Drawn:
    """Draws the orders of a plan's turns; see expand."""

    def __init__(self, spec: ExperimentSpec, seed: int | None) -> None:
        seed_ = f"{spec.name} {sorted(spec.axes.subjects)}" if seed is None else seed
        self._random = random.Random(seed_)  # noqa: S311 - no secret
        self._families = _families(spec.pairs)
        self._last: dict[Hashable, list[Hashable]] = {}

    def of_turn(self, turn: Sequence[Trial]) -> Iterator[Trial]:
        """Network by network, in each of them block by block."""
        networks: dict[tuple[str, str, int], list[Trial]] = {}
        for trial in turn:
            networks.setdefault((trial.cell.network, trial.device, trial.seed), []).append(trial)
        for trials in self._random.sample(list(networks.values()), len(networks)):
            blocks: dict[Hashable, list[Trial]] = {}
            for trial in trials:
                family = self._families.get(trial.subject)
                alike = trial.cell.in_float32 if family else (trial.cell.network, trial.cell.scenario)
                blocks.setdefault((family, alike), []).append(trial)
            for block in self._random.sample(list(blocks), len(blocks)):
                yield from self._of_block((block, trials[0].device), blocks[block])

    def _of_block(self, name: Hashable, trials: Sequence[Trial]) -> Iterator[Trial]:
        """For each repeat a new random order, or the reverse of the block's last one, in turn."""
        repeats: dict[int, dict[Hashable, Trial]] = {}
        for trial in trials:
            repeats.setdefault(trial.repeat, {})[trial.subject, trial.cell] = trial
        for members in repeats.values():
            last = self._last.pop(name, [])
            if set(last) == set(members):
                drawn = last[::-1]
            else:
                self._last[name] = drawn = self._random.sample(list(members), len(members))
            yield from (members[member] for member in drawn)


def _families(pairs: Iterable[SubjectPair]) -> dict[str, str]:
    """Subject -> the first one, by name, of all that pairs connect it with."""
    families: dict[str, str] = {}
    for pair in pairs:
        joined = {families.get(subject, subject) for subject in pair}
        family = min(joined)
        families.update({subject: family for subject, old in families.items() if old in joined})
        families.update(dict.fromkeys(pair, family))
    return families


def _cells(spec: ExperimentSpec, catalogue: Catalogue, threads: int, repeat: int, weights: Weights) -> Iterator[Trial]:
    axes = spec.axes
    repeated = [framework for framework in axes.frameworks if repeat < axes.repeats_of(framework)]
    for framework, device, seed in product(repeated, axes.devices, axes.seeds):
        asked = (_variant(catalogue, framework, device, variant) for variant in axes.variants_of(framework))
        for variant, (entry, size) in product(dict.fromkeys(asked), axes.networks):
            trainings = _trainings(spec, training_of(spec, entry, framework))
            for dataset, measure, training in product(datasets_of(spec), _measures(spec), trainings):
                trial = Trial(
                    kind=spec.kind,
                    framework=framework,
                    variant=variant,
                    model=entry.model,
                    input_size=size,
                    device=device,
                    seed=seed,
                    repeat=repeat,
                    dataset=dataset,
                    training=training,
                    by_batch=spec.axes.batch_sizes is not None,
                    measure=measure,
                    threads=threads,
                    precision=_precision(catalogue, framework, device, variant),
                )
                if spec.kind != "infer":
                    yield trial
                    continue
                sha256 = weights.get((entry.model, size, dataset), UNTRAINED)
                for inference in _asked(spec.inference or InferenceAxes(), sha256):
                    yield trial.model_copy(update={"inference": inference})


def _asked(axes: InferenceAxes, weights_sha256: str) -> Iterator[Inference]:
    """Each scenario once, `offline` once for each batch size."""
    for scenario in axes.scenarios:
        batches = {"offline": axes.batch_sizes, "multi-stream": (axes.streams,)}.get(scenario, (1,))
        for batch_size in batches:
            yield Inference(
                scenario=scenario,
                batch_size=batch_size,
                seconds=axes.seconds,
                warmup_seconds=axes.warmup_seconds,
                bound_seconds=axes.bound_ms / 1000,
                weights_sha256=weights_sha256,
            )


def training_of(spec: ExperimentSpec, entry: ModelAxis, framework: str) -> Training:
    """How a network of the spec is trained, by that framework."""
    epochs = spec.axes.epochs.get(framework) or entry.epochs or spec.training.epochs
    return spec.training.model_copy(update={"epochs": epochs})


def _trainings(spec: ExperimentSpec, training: Training) -> list[Training]:
    if spec.axes.batch_sizes is None:
        return [training]
    return [training.model_copy(update={"batch_size": size}) for size in spec.axes.batch_sizes]


def _row_of(trial: Trial, catalogue: Catalogue) -> ImageRow:
    try:
        return catalogue.resolve(trial.framework, trial.device, trial.variant)
    except CatalogueError as error:
        raise SpecError(f"axes.variants.{trial.framework}: {error}") from None


def datasets_of(spec: ExperimentSpec) -> list[Dataset]:
    """The data sets of a spec: one, or with each of several chains of filters."""
    if spec.axes.clahe is not None:
        chains: Sequence[Filters] = [STUDY_FILTERS if clahe else () for clahe in spec.axes.clahe]
    else:
        chains = spec.axes.filters if spec.axes.filters is not None else [spec.dataset.filters]
    return [spec.dataset.model_copy(update={"filters": chain}) for chain in chains]


def _measures(spec: ExperimentSpec) -> list[Measure]:
    if spec.axes.loader_workers is None:
        return [spec.measure]
    counts = spec.axes.loader_workers
    return [spec.measure.model_copy(update={"feed": "native", "loader_workers": count}) for count in counts]


def _variant(catalogue: Catalogue, framework: str, device: Device, asked: str | None) -> str:
    """The variant that is run: the default one if none is asked for, and what `best` stands for here."""
    if framework not in catalogue.frameworks:
        return asked or "none"
    try:
        return catalogue.resolve(framework, device, asked).variant
    except CatalogueError:  # _why_not says why
        return asked or catalogue.default(framework, device)


def _precision(catalogue: Catalogue, framework: str, device: Device, variant: str) -> Precision:
    """What the row of that variant computes in; float32 where there is no such row, as _why_not says."""
    try:
        return catalogue.resolve(framework, device, variant).precision
    except CatalogueError:
        return FLOAT32


def _why_not(trial: Trial, catalogue: Catalogue, host: HostFacts) -> str:
    """Why this cell cannot run here, or ''. Raises SpecError for a variant that its framework does not declare."""
    if trial.framework not in catalogue.frameworks:
        return f"docker/{trial.framework}/images.toml is not there: waymark has no recipe for {trial.framework} yet"
    if trial.device == "gpu" and not host.gpus:
        return host.gpu_note
    table = f"docker/{trial.framework}/images.toml"
    if not catalogue.rows(frameworks=(trial.framework,), device=trial.device):
        return f"{table} declares no {trial.device} image"
    devices = [row.device for row in catalogue.rows(frameworks=(trial.framework,), variant=trial.variant)]
    if devices and trial.device not in devices:
        return f"{table} declares {trial.variant} for the {devices[0]} only"
    row = _row_of(trial, catalogue)
    if needs_selfcheck(trial) and not row.trains:
        return f"unsupported: {trial.framework} only runs networks that were trained elsewhere"
    return gpu_fit.why_not(row, host) if trial.device == "gpu" else ""


def skip_of(trial: Trial, reason: str) -> Skip:
    """The skip of the cell of `trial`."""
    return Skip(framework=trial.framework, variant=trial.variant, cell=trial.cell, reason=reason)
