"""A part of a plan, for one of several machines: the same cut wherever it is asked.

A shard has whole groups: all trials of one network at one input size, device and seed. So no pair, block or turn is
split.
"""

from collections.abc import Iterable, Mapping

from orchestrator.environment import Device, digest
from orchestrator.errors import SpecError
from orchestrator.networks import InputSize, Network
from orchestrator.networks.features import input_of
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.plan import Plan, asked_trials
from orchestrator.planning.spec import ExperimentSpec, ModelAxis
from orchestrator.records.run_folder import Shard
from orchestrator.trial import Trial

Group = tuple[str, Device, int]
"""Network at its input size, device and seed."""

CONTROL_REPEATS = 3

_ANY_CLASSES = 2
"""What a step costs does not depend much on how many classes there are; the pictures may not be on this machine."""


def spec_sha256(spec: ExperimentSpec) -> str:
    """Hash of what is asked: shards of one plan have the same."""
    return digest(spec.model_dump(mode="json", by_alias=True, exclude={"schema_path"}))


def cut(plan: Plan, spec: ExperimentSpec, catalogue: Catalogue, shard: Shard) -> Plan:
    """The part of `plan` that is this shard's. Raises SpecError for more shards than there are groups.

    Which groups it has depends on the spec alone, not on the machine: on what would run here, what is recorded here or
    how fast this machine is.
    """
    numbers = numbered(asked_trials(spec, catalogue), shard.count)
    mine = {group for group, number in numbers.items() if number == shard.number}
    trials = tuple(trial for trial in plan.trials if group_of(trial) in mine)
    keys = {trial.environment_key for trial in trials}
    cells = {(network, device) for network, device, _ in mine}
    return Plan(
        trials,
        tuple(row for row in plan.rows if row.key in keys),
        tuple(skip for skip in plan.skips if (skip.cell.network, skip.cell.device) in cells),
    )


def numbered(trials: Iterable[Trial], count: int, flag: str = "--shard") -> Mapping[Group, int]:
    """Group -> number of its shard, from 1: the largest group first, each to the shard that has least so far.

    Source: Graham 1969, "Bounds on multiprocessing timing anomalies" (LPT). Raises SpecError for too few groups.
    """
    sizes: dict[Group, float] = {}
    for trial in trials:
        sizes[group_of(trial)] = sizes.get(group_of(trial), 0.0) + size_of(trial)
    if len(sizes) < count:
        raise SpecError(
            f"{flag} asks for {count} shards, and the plan has {len(sizes)} groups of network, device and seed, which "
            f"are not split; ask for at most {len(sizes)}."
        )
    loads = [0.0] * count
    numbers = {}
    for group in sorted(sizes, key=lambda group: (-sizes[group], group)):
        at = loads.index(min(loads))
        loads[at] += sizes[group]
        numbers[group] = at + 1
    return numbers


def control_of(spec: ExperimentSpec) -> ExperimentSpec:
    """A few minutes of the spec, the same on each node, that tell how far nodes of one kind differ: an A/A.

    One epoch, CONTROL_REPEATS times, of its cheapest network by its first framework.
    """
    asked = _cheapest(spec)
    framework = spec.axes.frameworks[0]
    axes = spec.axes.model_copy(
        update={
            "frameworks": (framework,),
            "variants": {name: tag for name, tag in spec.axes.variants.items() if name == framework},
            "models": (asked,),
            "epochs": {},
            "devices": spec.axes.devices[:1],
            "seeds": spec.axes.seeds[:1],
            "clahe": None,
            "filters": None,
            "loader_workers": None,
            "repeats": CONTROL_REPEATS,
            "machines": (),
        }
    )
    variant = axes.variants_of(framework)[0]
    axes = axes.model_copy(update={"variants": {framework: variant} if variant else {}})
    changes = {"name": f"{spec.name[:50]}-control", "axes": axes, "study": None, "league": None, "pairs": ()}
    training = spec.training.model_copy(update={"epochs": 1})
    measure = spec.measure.model_copy(update={"audit": 0})
    return spec.model_copy(update={**changes, "training": training, "measure": measure})


def _cheapest(spec: ExperimentSpec) -> ModelAxis:
    """The network of the spec that computes least, at that input size and for one epoch."""

    def cost(asked: tuple[ModelAxis, InputSize]) -> int:
        entry, size = asked
        network = Network.of(entry.model, input_of(spec.dataset.filters, size), _ANY_CLASSES)
        return network.net.multiply_adds

    entry, size = min(spec.axes.networks, key=cost)
    return entry.model_copy(update={"input_sizes": (size,), "epochs": 1})


def group_of(trial: Trial) -> Group:
    """Its network at its input size, its device and its seed."""
    return trial.cell.network, trial.device, trial.seed


def size_of(trial: Trial) -> float:
    """How much a trial computes, in multiply-adds of a picture: of a training those of all its epochs."""
    cost = float(max(trial.network(_ANY_CLASSES).net.multiply_adds, 1))
    return cost * (1 if trial.inference else trial.training.epochs)
