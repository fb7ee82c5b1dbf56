"""`invoke sweep --dry-run`: what a sweep would do, and how long it takes."""

from collections.abc import Iterator, Sequence
from contextlib import closing

from orchestrator.engines import images, open_builder
from orchestrator.errors import EngineError
from orchestrator.execution.asking import SweepRequest, ask, plan_of
from orchestrator.execution.forecast import forecast, forecast_checks
from orchestrator.home import Home
from orchestrator.host import read_host
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.gpu_fit import narrowed
from orchestrator.planning.plan import Plan
from orchestrator.records.run_folder import RunFacts
from orchestrator.records.store import Store
from orchestrator.trial import Trial


def outline(request: SweepRequest, catalogue: Catalogue, home: Home) -> tuple[str, list[dict[str, object]]]:
    """A title and a row per selfcheck, trial and skip, for `--dry-run`: nothing is started, made or written."""
    asked = ask(request, catalogue, home, lambda line: None)
    host = narrowed(read_host(), asked.options.gpus)
    plan = plan_of(asked, host)
    done = _done(asked.recorded, home)
    to_run = [trial for trial in plan.trials if _asked_key(trial) not in done]
    expected = dict(zip(map(_asked_key, to_run), forecast(to_run, home), strict=True))
    checks = forecast_checks(to_run, home, host.cpu_model)
    rows = [_row(check.request.label, "check", minutes=check.seconds / 60, reason=check.basis) for check in checks]
    for trial in plan.trials:
        key = _asked_key(trial)
        seconds, what = expected.get(key), "run" if key in expected else "done"
        epochs = None if trial.inference else trial.training.epochs
        rows.append(_row(trial.label, what, epochs, trial.threads, None if seconds is None else seconds / 60))
    rows += [_row(skip.label, "skip", reason=skip.reason) for skip in plan.skips]
    rows += [
        _row(label, "absent", reason=reason)
        for label, reason in _without_base(asked.options.engine, plan, to_run, home)
    ]
    made = sum(check.seconds for check in checks)
    already = f" ({len(plan.trials) - len(to_run)} of them done)" if done else ""
    part = f", {asked.shard.label}" if asked.shard else ""
    title = (
        f"{asked.spec.name}{part}: {len(plan.trials)} trials{already}, {len(plan.skips)} cells skipped; "
        f"{_duration(list(expected.values()))}; "
        f"selfchecks before them: {f'about {_time(made)}' if made else 'none to make'}"
        f"{f'; {host.gpu_note}' if host.gpu_note and host.gpus else ''}"
        f"{'' if asked.recorded else '; a run draws an order of its own'}"
    )
    return title, rows


def _without_base(engine: str | None, plan: Plan, to_run: Sequence[Trial], home: Home) -> Iterator[tuple[str, str]]:
    """Rows of trials whose image cannot be built: their label, and why. Nothing where no Docker is asked or answers."""
    keys = {trial.environment_key for trial in to_run}
    wanted = [row for row in plan.rows if row.key in keys]
    if engine not in (None, "docker"):
        return
    try:
        builder = open_builder()
    except EngineError:
        return
    with closing(builder):
        for base, (why, rows) in images.absent_bases(builder, wanted, home).items():
            for row in rows:
                said = f"stands on {base}, which is not here and cannot be pulled ({why})."
                yield row.label, f"{said} {images.base_advice(base)}"


def _row(
    cell: str,
    plan: str,
    epochs: int | None = None,
    threads: int | None = None,
    minutes: float | None = None,
    reason: str = "",
) -> dict[str, object]:
    return {"cell": cell, "plan": plan, "epochs": epochs, "threads": threads, "minutes": minutes, "reason": reason}


def _done(recorded: RunFacts | None, home: Home) -> set[tuple[str, str]]:
    """Key and variant of the trials of a recorded run that ended ok: a resumed run does not repeat them.

    Unless its environment, pictures or worker code changed, which only the run itself can know.
    """
    if recorded is None:
        return set()
    with Store.open(home.store_url) as store:
        trials = [record.trial for record in store.ok_records(recorded.run_id)]
    return {_asked_key(trial) for trial in trials if trial is not None}


def _asked_key(trial: Trial) -> tuple[str, str]:
    """What a plan has once, and a resumed run does not repeat."""
    return trial.key, trial.variant


def _duration(expected: Sequence[float | None]) -> str:
    """'about 3.2 h by records of this machine', of those trials that are known."""
    if not expected:
        return "nothing is left to run"
    known = [seconds for seconds in expected if seconds is not None]
    if not known:
        return "how long they take is not known: `--scout` measures it"
    unknown = len(expected) - len(known)
    more = f", without {unknown} that have none (`--scout`)" if unknown else ""
    return f"about {_time(sum(known))} by records of this machine{more}"


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 3600 else f"{seconds / 60:.0f} min"
