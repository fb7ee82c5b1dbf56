"""What the engines share in making an environment: room for it, the words when it fails, and its identity."""

import shutil
from collections.abc import Callable
from pathlib import Path

from orchestrator import files
from orchestrator.engines import process
from orchestrator.engines.engine import Launch
from orchestrator.engines.source import WorkerSource
from orchestrator.environment import FLOAT32, Environment, Frozen, digest
from orchestrator.errors import AbsentError, EngineError
from orchestrator.home import Home
from orchestrator.planning.image_row import Cores, ImageRow, resolve_env, resolve_expects
from orchestrator.scratch import scratch_folder
from orchestrator.trial import Exit

LIMIT_SECONDS = 3600.0
"""How long making one environment may take."""

_FREEZE_MEMORY_BYTES = 2**30
_FREEZE_SECONDS = 120.0


def need_source(row: ImageRow) -> None:
    """Raises AbsentError for a row whose source is nowhere left."""
    if row.retired:
        raise AbsentError(f"{row.label} is retired: {row.retired}.")


def need_room(row: ImageRow, folder: Path) -> None:
    """Raises EngineError if the disk of `folder` has less free than making `row` takes."""
    while not folder.exists():
        folder = folder.parent
    needed, free = row.disk_mb * 10**6, shutil.disk_usage(folder).free
    if free < needed:
        raise EngineError(
            f"{row.label} needs {needed / 1e9:.1f} GB free on the disk of {folder}; {free / 1e9:.1f} GB are. "
            "Make room, or move it to a larger disk."
        )


def failure(row: ImageRow, what: str, log: Path) -> EngineError:
    """The error of an environment that could not be made: the last lines of the log, and its path."""
    last = "\n".join(f"  {line}" for line in process.tail(log, 8).splitlines())
    return EngineError(f"{row.label}: {what}. The whole log is {log}; it ends:\n{last}")


def declared(engine: str, row: ImageRow, cores: Cores, prefix: str) -> Environment:
    """What `row` says of an environment whose packages lie under `prefix`: where it is, its engine says."""
    return Environment(
        engine=engine,
        framework=row.framework,
        variant=row.variant,
        device=row.device,
        identity="",
        location="",
        python=row.python,
        freeze=(),
        env=resolve_env(row, cores, prefix),
        options=row.options,
        precision=row.precision,
        expects=resolve_expects(row, cores),
    )


def frozen(
    environment: Environment, run: Callable[[Launch, Callable[[], None]], Exit], source: WorkerSource, home: Home
) -> Environment:
    """`environment` with its Python, its packages and its identity, as `workers.freeze` sees them from inside.

    environment.identity says what it is made of, '' where its packages are all there is to say.
    """
    with scratch_folder(home.root) as scratch:
        folder = scratch / "job"
        folder.mkdir()
        launch = Launch(
            environment=environment,
            module="workers.freeze",
            source=source.path,
            job_dir=folder,
            data_dir=None,
            cpus=(),
            memory_bytes=_FREEZE_MEMORY_BYTES,
            timeout_seconds=_FREEZE_SECONDS,
            labels={"run": "prepare", "job": f"{environment.framework}-{environment.variant}"},
        )
        ended = run(launch, _nothing)
        if ended.code != 0:
            raise EngineError(
                f"{environment.framework}:{environment.variant} at {environment.location} cannot list its packages: "
                f"exit code {ended.code}, signal {ended.signal}.\n{ended.log_tail}"
            )
        try:
            seen = _Freeze.model_validate_json(files.read_bytes(folder / "freeze.json"))
        except (OSError, ValueError):
            raise EngineError(
                f"{environment.framework}:{environment.variant} at {environment.location} did not list its packages "
                "as a Python environment does; it cannot be used."
            ) from None
    packages = tuple(sorted(seen.freeze))
    known = [environment.engine, environment.identity, seen.python, packages, environment.env, environment.options]
    identity = digest([*known, *([] if environment.precision == FLOAT32 else [environment.precision])])
    return environment.model_copy(update={"python": seen.python, "freeze": packages, "identity": identity})


class _Freeze(Frozen):
    """freeze.json, as workers/freeze.py writes it."""

    python: str
    freeze: tuple[str, ...]


def exit_of(ended: process.Ended, log: Path) -> Exit:
    """What the sweep needs to know of a process that ended."""
    return Exit(
        code=ended.code,
        signal=ended.signal,
        is_timeout=ended.is_timeout,
        is_out_of_memory=ended.is_over_memory,
        full_at_bytes=ended.full_at_bytes,
        log_tail=process.tail(log),
        launched_unix=ended.launched_unix,
        wall_seconds=ended.wall_seconds,
        started_seconds=ended.started_seconds,
    )


def _nothing() -> None:
    """Freezing has nothing to follow."""
