"""Pure: a spec, a catalogue and a machine become trials in the order they will run, and skips with reasons.

Touches no disk and no daemon, so `--dry-run` prints exactly what would run.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from orchestrator.catalogue import Catalogue, ImageRow
from orchestrator.errors import SpecError
from orchestrator.host import HostFacts
from orchestrator.spec import ExperimentSpec, ModelAxis
from orchestrator.trial import Device, Training, Trial
from orchestrator.wire import Skip


@dataclass(frozen=True)
class Plan:
    """trials: in running order. rows: the environments they need, each once. skips: cells that cannot run here."""

    trials: tuple[Trial, ...]
    rows: tuple[ImageRow, ...]
    skips: tuple[Skip, ...]


def expand(spec: ExperimentSpec, catalogue: Catalogue, host: HostFacts) -> Plan:
    """All trials of `spec`: repeat 1 of every cell in an order drawn from the spec's name, then repeat 2 ...

    Within a cell the subjects stand next to each other, in an order drawn anew for each repeat: a drift of the machine
    hits alike what is compared.
    Raises CatalogueError for a variant that its framework does not declare, SpecError for more threads than processors.
    """
    threads = spec.threads or host.physical_cores
    if threads > len(host.cpus):
        raise SpecError(
            f"threads is {threads}; this machine lets waymark use {len(host.cpus)} processors. "
            "Lower it, or leave it out to take every physical core."
        )
    order = random.Random(spec.name)  # noqa: S311 - an order, not a secret
    trials: list[Trial] = []
    rows: dict[tuple[str, str, str], ImageRow] = {}
    skips: dict[tuple[str, str], Skip] = {}
    for repeat in range(spec.axes.repeats):
        turn: list[Trial] = []
        for trial in _cells(spec, catalogue, threads, repeat):
            reason = _why_not(trial, catalogue, host)
            if reason:
                skips.setdefault((trial.subject, f"{trial.cell} {trial.device}"), _skip(trial, reason))
                continue
            turn.append(trial)
            row = catalogue.resolve(trial.framework, trial.device, trial.variant)
            rows.setdefault((trial.framework, trial.variant, trial.device), row)
        trials += _shuffled(turn, order)
    return Plan(tuple(trials), tuple(rows.values()), tuple(skips.values()))


def _shuffled(turn: list[Trial], order: random.Random) -> Iterator[Trial]:
    """The trials of one repeat, cell by cell."""
    cells: dict[tuple[str, str, int], list[Trial]] = {}
    for trial in turn:
        cells.setdefault((trial.cell, trial.device, trial.seed), []).append(trial)
    for cell in order.sample(list(cells.values()), len(cells)):
        yield from order.sample(cell, len(cell))


def _cells(spec: ExperimentSpec, catalogue: Catalogue, threads: int, repeat: int) -> Iterator[Trial]:
    axes = spec.axes
    for framework, device, seed in product(axes.frameworks, axes.devices, axes.seeds):
        for variant, entry in product(axes.variants_of(framework), axes.models):
            for size in entry.input_sizes or axes.input_sizes:
                yield Trial(
                    framework=framework,
                    variant=variant or _default_variant(catalogue, framework, device),
                    model=entry.model,
                    input_size=size,
                    device=device,
                    seed=seed,
                    repeat=repeat,
                    dataset=spec.dataset,
                    training=_training(spec, entry),
                    measure=spec.measure,
                    threads=threads,
                )


def _training(spec: ExperimentSpec, entry: ModelAxis) -> Training:
    return spec.training if entry.epochs is None else spec.training.model_copy(update={"epochs": entry.epochs})


def _default_variant(catalogue: Catalogue, framework: str, device: Device) -> str:
    return catalogue.default(framework, device) if framework in catalogue.frameworks else "none"


def _why_not(trial: Trial, catalogue: Catalogue, host: HostFacts) -> str:
    """Why this cell cannot run here, or ''."""
    if trial.framework not in catalogue.frameworks:
        return f"docker/{trial.framework}/images.toml is not there: waymark has no recipe for {trial.framework} yet"
    if trial.device == "gpu" and not host.gpus:
        return host.gpu_note
    rows = catalogue.rows(frameworks=(trial.framework,), device=trial.device)
    if not rows:
        return f"docker/{trial.framework}/images.toml declares no {trial.device} image"
    known = [row.variant for row in rows]
    if trial.variant not in known and catalogue.rows(frameworks=(trial.framework,), variant=trial.variant):
        return f"{trial.subject} has no {trial.device} image; with one: {', '.join(known)}"
    return ""


def _skip(trial: Trial, reason: str) -> Skip:
    return Skip(
        label=f"{trial.subject} {trial.cell} {trial.device}",
        framework=trial.framework,
        variant=trial.variant,
        cell=trial.cell,
        device=trial.device,
        reason=reason,
    )
