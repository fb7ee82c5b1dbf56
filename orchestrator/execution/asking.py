"""The first stage of a sweep: what is asked, with all that is on record of it; nothing of the machine yet."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.data import datasets
from orchestrator.dataset import Dataset
from orchestrator.engines import rows_of
from orchestrator.errors import SpecError
from orchestrator.execution import weights as trained
from orchestrator.execution.run_record import recorded_run
from orchestrator.execution.session import RunOptions
from orchestrator.home import Home
from orchestrator.networks import InputSize, Model
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.narrowing import load_cells
from orchestrator.planning.plan import Order, Plan, datasets_of, expand, training_of
from orchestrator.planning.shards import cut, spec_sha256
from orchestrator.planning.spec import ExperimentSpec, InferenceAxes, recorded_spec
from orchestrator.records.host_facts import HostFacts
from orchestrator.records.run_folder import RunFacts, Shard, TrainedWeights, Until
from orchestrator.trial import SubjectPair


@dataclass(frozen=True)
class SentBy:
    """The submission of a cluster, and the feature or node that its part is for, '' for any."""

    submission: str
    machine: str = ""


@dataclass(frozen=True)
class SweepRequest:
    """The arguments of `invoke sweep`.

    changes:  dotted path into the spec -> value, from flags.
    cells:    only these of the spec; () for all.
    resume:   a run to continue ('latest' or its id); its recorded spec and engine are used.
    compared: the two subjects of an `invoke compare`.
    until:    when that has pairs enough, or a scout turns enough; None for a fixed number of them.
    is_scout: its changes are those of a scout; the run says so.
    weights:  of an inference: the run whose weights its subjects run; '' for the newest that has them.
    shard:    number and count: this part of the plan; None for all of it.
    sent_by:  the job of a cluster that runs it; None for one that was started by hand.
    """

    spec_path: Path
    changes: Mapping[str, Any] = field(default_factory=dict)
    cells: tuple[str, ...] = ()
    resume: str | None = None
    compared: SubjectPair | None = None
    until: Until | None = None
    is_scout: bool = False
    weights: str = ""
    shard: tuple[int, int] | None = None
    sent_by: SentBy | None = None
    options: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True)
class Asked:
    """A request with its spec.

    catalogue: the rows that the engine knows. recorded: the run that is resumed, None for a new one.
    order:     of the trials: that of the recorded run, or a new one.
    weights:   of an inference: those on record that its subjects run. missing: what no run has trained yet.
    shard:     the part of the plan that is run; None for all of it.
    """

    request: SweepRequest
    spec: ExperimentSpec
    catalogue: Catalogue
    recorded: RunFacts | None
    order: Order
    weights: Sequence[TrainedWeights] = ()
    missing: Sequence[trained.Wanted] = ()
    shard: Shard | None = None

    @property
    def options(self) -> RunOptions:
        """Those of the request; of a resumed run with its engine."""
        engine = self.recorded.engine if self.recorded else self.request.options.engine
        return replace(self.request.options, engine=engine)


def ask(request: SweepRequest, catalogue: Catalogue, home: Home, say: Callable[[str], None], seed: int = 0) -> Asked:
    """Read the spec, from its file or from the run that is resumed, and find the weights that it runs.

    seed: of the order of a new run; `--dry-run` shows that of seed 0.
    Raises SpecError for a mistake in it, StoreError for a run that is not there.
    """
    recorded = recorded_run(request.resume, home, say) if request.resume else None
    engine = recorded.engine if recorded else request.options.engine
    rows_here, changes = rows_of(engine, catalogue), request.changes
    compared = recorded.compared if recorded else request.compared
    order = Order(recorded.order_seed if recorded else seed, runs_together=2 if compared else 1)
    if recorded:
        spec = recorded_spec(recorded.spec, f"the spec in run.json of {recorded.run_id}")
        rows_here = rows_here.with_best(recorded.best)
    else:
        if rows_here is not catalogue:  # the engine has its own variants, not those of the spec
            changes = {"axes.variants": {}, **changes}
        spec = load_cells(request.spec_path, rows_here.frameworks, changes, request.cells)
    _require_data(spec.dataset, home)
    weights, missing = _known_weights(request, spec, recorded, home)
    shard = recorded.shard if recorded else None
    if request.shard and not recorded:
        shard = Shard(
            number=request.shard[0],
            count=request.shard[1],
            spec_sha256=spec_sha256(spec),
            submission=request.sent_by.submission if request.sent_by else "",
            machine=request.sent_by.machine if request.sent_by else "",
        )
    return Asked(request, spec, rows_here, recorded, order, weights, missing, shard)


def plan_of(asked: Asked, host: HostFacts) -> Plan:
    """The trials on that machine, of the shard if one is asked for.

    Raises SpecError for a variant that its framework does not declare, and for more shards than there are groups.
    """
    plan = expand(asked.spec, asked.catalogue, host, asked.order, trained.hashes(asked.weights))
    return cut(plan, asked.spec, asked.catalogue, asked.shard) if asked.shard else plan


def _require_data(dataset: Dataset, home: Home) -> None:
    """Before anything is prepared. Raises DataError for a name that nothing has, SpecError for a class like that."""
    classes = datasets.classes(dataset, home)
    try:
        if dataset.augment:
            dataset.augment.numbered(classes)
    except ValueError as error:
        raise SpecError(str(error)) from None


def _known_weights(
    request: SweepRequest, spec: ExperimentSpec, recorded: RunFacts | None, home: Home
) -> tuple[Sequence[TrainedWeights], Sequence[trained.Wanted]]:
    """The weights on record for the networks of an inference, and what has none; of a resumed run its own."""
    if spec.kind != "infer":
        if request.weights:
            raise SpecError(f"--weights is for a spec that runs networks; {request.spec_path} trains them.")
        return (), ()
    if request.is_scout:
        raise SpecError(f"--scout tells how long a training takes; {request.spec_path} runs networks. Leave it out.")
    if recorded is not None:
        return recorded.weights, ()
    framework = (spec.inference or InferenceAxes()).trained_with
    wanted = [
        trained.Wanted(entry.model, size, dataset, None if request.weights else training_of(spec, entry, framework))
        for entry, size in spec.axes.networks
        for dataset in datasets_of(spec)
    ]
    return trained.find(wanted, home, request.weights)


def training_first(asked: Asked) -> SweepRequest:
    """The sweep that trains the networks whose weights are missing.

    Raises SpecError if a run was named that has none of them.
    """
    if asked.request.weights:
        raise SpecError(
            f"run {asked.request.weights} has left no weights of {labels_of(asked.missing)} on this data; leave out "
            "--weights."
        )
    spec, sizes = asked.spec, dict[Model, set[InputSize]]()
    for want in asked.missing:
        sizes.setdefault(want.model, set()).add(want.input_size)
    changes = {
        **asked.request.changes,
        "name": f"{spec.name[:50]}-weights",
        "kind": "train",
        "inference": None,
        "pairs": [],
        "study": None,
        "axes.frameworks": [(spec.inference or InferenceAxes()).trained_with],
        "axes.variants": {},
        "axes.repeats": 1,
        "axes.seeds": spec.axes.seeds[:1],
        "axes.models": [
            {**entry.model_dump(mode="json", exclude_none=True), "input_sizes": _written(sizes[entry.model])}
            for entry in spec.axes.models
            if entry.model in sizes
        ],
    }
    # Whole: a shard's networks are all of one plan of trainings, which is cut otherwise.
    return replace(asked.request, changes=changes, cells=(), compared=None, until=None, shard=None, sent_by=None)


def _written(sizes: Iterable[InputSize]) -> list[int | list[int]]:
    return [size.written for size in sorted(sizes)]


def labels_of(missing: Sequence[trained.Wanted]) -> str:
    """'IDSIA@48, ResNet-20@32'."""
    return ", ".join(dict.fromkeys(want.label for want in missing))
