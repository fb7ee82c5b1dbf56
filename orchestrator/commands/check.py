"""`invoke check`: compares what every environment computes with numpy_ref."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from orchestrator import report
from orchestrator.console.flags import Rows
from orchestrator.console.progress import Console
from orchestrator.data import datasets
from orchestrator.environment import Environment
from orchestrator.errors import SpecError
from orchestrator.execution.job_runner import JobContext
from orchestrator.execution.selfcheck import SelfcheckRunner
from orchestrator.execution.session import RunOptions, RunPlan, Session, open_session
from orchestrator.home import Home
from orchestrator.networks import Network
from orchestrator.networks.features import input_of
from orchestrator.planning.catalogue import Catalogue, chosen
from orchestrator.planning.image_row import ImageRow
from orchestrator.planning.narrowing import load_cells
from orchestrator.planning.plan import datasets_of
from orchestrator.planning.spec import ExperimentSpec
from orchestrator.records.job import CheckRequest
from orchestrator.records.stored import CheckSubject, StoredCheck
from workers.optimisers import traits


@dataclass(frozen=True)
class ParityRequest:
    """The arguments of `invoke check`."""

    rows: Sequence[ImageRow]
    spec: ExperimentSpec
    options: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True)
class ParityResult:
    """rows: one per environment and network. has_passed: all were checked, and each passed or is unsupported."""

    rows: list[dict[str, object]]
    has_passed: bool


ALL = "all"
"""As a variant: every one of its framework."""


def request_for(
    spec_path: Path,
    asked: Rows,
    cells: Sequence[str],
    own: Sequence[ImageRow],
    catalogue: Catalogue,
    options: RunOptions,
) -> ParityRequest:
    """The networks of a spec in the rows asked for, as far as they train.

    A framework of which no variant is named is checked in those that the spec trains it in. own: the user's own images.
    Raises SpecError if none of them trains, CatalogueError for a name that is not declared.
    """
    spec = load_cells(spec_path, catalogue.frameworks, {}, cells)
    rows = list({row.label: row for row in (*_rows(spec, asked, catalogue), *own)}.values())
    if not rows:
        chosen(catalogue, asked.frameworks, asked.device, {})  # raises, with what it has looked for
    trainers = [row for row in rows if row.trains]
    if not trainers:
        names = ", ".join(dict.fromkeys(row.framework for row in rows))
        raise SpecError(
            f"{names} only runs networks that were trained elsewhere, and is compared with numpy_ref in each trial of: "
            "invoke sweep --spec=experiments/inference.json"
        )
    return ParityRequest(trainers, spec, options)


def _rows(spec: ExperimentSpec, asked: Rows, catalogue: Catalogue) -> Iterator[ImageRow]:
    named = asked.frameworks or tuple(dict.fromkeys((*asked.variants, *spec.axes.frameworks)))
    for framework in named:
        tags = asked.variants.get(framework)
        if not tags and not catalogue.rows(frameworks=(framework,), device=asked.device):
            continue
        if tags is not None and ALL in tags:
            yield from chosen(catalogue, (framework,), asked.device, {})
            continue
        known = spec.axes.variants_of(framework) if framework in spec.axes.frameworks else (None,)
        for tag in tags or known:
            yield catalogue.resolve(framework, asked.device, tag)


def check(request: ParityRequest, again: bool, home: Home, console: Console) -> ParityResult:
    """Check every row with every network of the spec: all steps at its smallest input size, the first at the others.

    again: repeat checks that have passed before.
    Raises WaymarkError for what stops the whole run; a check that fails, or a row that fits no card, is a row with its
    reason.
    """
    spec = request.spec
    with open_session(request.options, home, console) as session:
        threads = spec.threads or session.host.physical_cores
        wanted = list(_requests(request.rows, spec, threads, home))
        session.claim(request.rows, spec.limits)
        facts = {"kind": "check", "spec": spec.model_dump(mode="json")}
        run = session.begin(session.make(request.rows), RunPlan("check", threads, spec.limits, facts))
        checks = SelfcheckRunner(run.facts.run_id, run.context, 0, console)
        made = run.environments.made
        for wanted_check in wanted:
            environment = made.get(wanted_check.key)
            if environment and (again or not checks.has_passed(wanted_check, environment)):
                checks.check(wanted_check, environment)
        session.end(run)
        newest = [_newest(session, request, made.get(request.key), run.context) for request in wanted]
    failed = run.environments.failed
    reasons = [failed[request.key].reason if request.key in failed else "" for request in wanted]
    table = [report.check_row(*row) for row in zip(wanted, newest, reasons, strict=True)]
    return ParityResult(table, all(row["check"] in ("passed", "unsupported") for row in table))


def _requests(rows: Sequence[ImageRow], spec: ExperimentSpec, threads: int, home: Home) -> Iterator[CheckRequest]:
    classes = len(datasets.classes(spec.dataset, home))
    for entry in spec.axes.models:
        chains = {dataset.filters for dataset in datasets_of(spec)}
        asked = itertools.product(chains, entry.input_sizes or spec.axes.input_sizes)
        sizes = sorted({input_of(*pictures) for pictures in asked}, key=prod)
        for row, size in itertools.product(rows, sizes):
            network = Network.of(entry.model, size, classes)
            yield CheckRequest(
                framework=row.framework,
                variant=row.variant,
                model=entry.model,
                input_size=size,
                device=row.device,
                threads=threads,
                classes=classes,
                optimiser=spec.training.optimiser,
                initialiser=spec.training.initialiser,
                traits=traits(spec.training),
                batch_size=spec.training.batch_size,
                steps="all" if size == sizes[0] else "first",
                network_sha256=network.sha256,
            )


def _newest(
    session: Session, request: CheckRequest, environment: Environment | None, context: JobContext
) -> StoredCheck | None:
    """The newest such check with the current worker code; None if its environment could not be made."""
    if environment is None:
        return None
    where = (environment.identity, context.source.sha256, context.processor)
    return session.store.latest_check(CheckSubject.of_request(*where, request), request)
