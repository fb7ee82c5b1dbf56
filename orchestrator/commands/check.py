"""The use case behind `invoke check`: what every environment computes, beside what numpy_ref does."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from orchestrator import report
from orchestrator.console.progress import View
from orchestrator.engines.source import snapshot
from orchestrator.execution.environments import EnvironmentKey, prepare
from orchestrator.execution.job_runner import Bench
from orchestrator.execution.locks import alone, lease, sigterm_as_interrupt
from orchestrator.execution.run_record import new_run, write_run
from orchestrator.execution.selfcheck import Gate
from orchestrator.execution.session import choose_engine
from orchestrator.home import Home
from orchestrator.host import GIB, read_host
from orchestrator.planning.gpu_fit import cards_for, narrowed
from orchestrator.planning.image_row import ImageRow
from orchestrator.planning.spec import ExperimentSpec
from orchestrator.records.job import CheckRequest
from orchestrator.records.store import CheckRow, Store
from orchestrator.trial import Environment


@dataclass(frozen=True)
class Result:
    """rows: one per environment and network. has_passed: all were checked and all passed."""

    rows: list[dict[str, object]]
    has_passed: bool


def check(
    rows: Sequence[ImageRow],
    spec: ExperimentSpec,
    engine: str | None,
    again: bool,
    argv: tuple[str, ...],
    home: Home,
    view: View,
    gpus: tuple[int, ...] = (),
) -> Result:
    """Check every row with every network of `spec`, at its smallest input size: the ops are the same at each.

    gpus: the cards to take, by number; none means any. A row that no card fits is a row of the table with its reason.
    engine: None takes docker, or virtualenv where no daemon answers. again: check what has passed before as well.
    Raises WaymarkError for what stops it all; a check that fails is a row.
    """
    with alone(home), Store.open(home.store_url) as store, ExitStack() as held:
        host, source = narrowed(read_host(), gpus), snapshot(home)
        opened, name = choose_engine(engine, home, host, view)
        try:
            held.enter_context(lease(cards_for(rows, host)))
            environments, failures = prepare(rows, opened, host, home, view)
            run = new_run("check", home, host, kind="check", argv=argv, engine=name, spec=spec.model_dump(mode="json"))
            write_run(run, home)
            store.add_run(run)
            threads = spec.threads or host.physical_cores
            bench = Bench(
                engine=opened,
                store=store,
                run_dir=home.runs / run.run_id,
                source=source.path,
                cpus=host.cpus[:threads],
                memory_bytes=int(spec.limits.memory_gib * GIB),
                timeout_seconds=spec.limits.trial_seconds,
            )
            gate = Gate(run.run_id, bench, source.sha256, 0, view)
            requests = list(_requests(rows, spec, threads))
            with sigterm_as_interrupt():
                for request in requests:
                    environment = environments.get(_key(request))
                    if environment and (again or not gate.has_passed(request, environment)):
                        gate.check(request, environment)
        finally:
            opened.close()
        checks = [(one, _newest(store, one, environments, source.sha256)) for one in requests]
    reasons = {key: outcome.reason for key, outcome in failures.items()}
    table = [report.check_row(request, found, reasons.get(_key(request), "")) for request, found in checks]
    return Result(table, all(found is not None and found.passed for _, found in checks))


def _requests(rows: Sequence[ImageRow], spec: ExperimentSpec, threads: int) -> Iterator[CheckRequest]:
    for entry in spec.axes.models:
        for row in rows:
            yield CheckRequest(
                framework=row.framework,
                variant=row.variant,
                model=entry.model,
                input_size=min(entry.input_sizes or spec.axes.input_sizes),
                device=row.device,
                threads=threads,
            )


def _key(request: CheckRequest) -> EnvironmentKey:
    return (request.framework, request.variant, request.device)


def _newest(
    store: Store, request: CheckRequest, environments: dict[EnvironmentKey, Environment], worker_sha256: str
) -> CheckRow | None:
    """The newest check of this with the code as it is; None if its environment could not be made."""
    environment = environments.get(_key(request))
    if environment is None:
        return None
    return store.latest_check(environment.identity, worker_sha256, request.model, request.input_size, request.device)
