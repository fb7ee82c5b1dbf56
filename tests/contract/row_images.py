"""Rows in their images: where no virtualenv can be made, its tests run in the container that a trial would get."""

import os
from pathlib import Path

from orchestrator.engines import images, open_builder, open_engine, upstream
from orchestrator.engines.container import bind_mount, container_options, worker_user
from orchestrator.engines.engine import Launch
from orchestrator.environment import Environment
from orchestrator.errors import AbsentError
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import GIB, read_host
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import ImageRow, recipe_sha256

SCRIPTS = Path(__file__).parent


def is_legacy(row: ImageRow) -> bool:
    """The default of a framework whose Python has had its last release; test_images.py builds and checks each."""
    default = Catalogue.load(REPOSITORY / "docker").default(row.framework)
    return row.variant == default and row.python in ("3.6", "3.7", "3.8", "3.9")


class RowImages:
    """The Docker engine, for tests that run a script of their own beside the workers."""

    def __init__(self, catalogue: Catalogue, home: Home) -> None:
        """Raises EngineError if no daemon answers."""
        self._home = home
        self._engine = open_engine("docker", home, read_host())
        self._daemon = open_builder()
        self._built_anyway = {recipe_sha256(row) for row in catalogue.rows(device="cpu") if is_legacy(row)}
        self._made: dict[str, Environment] = {}

    def environment(self, row: ImageRow) -> Environment:
        """The image of `row`. Raises AbsentError where it is not here and nobody asked for it to be built."""
        if row.slug not in self._made:
            if not (self._is_here(row) or self._may_be_built(row)):
                raise AbsentError(f"{images.reference(row)} is not here; WAYMARK_BUILD_IMAGES=1 has it built.")
            if row.source:
                upstream.checkout(row, self._home)
            self._made[row.slug] = self._engine.prepare(row, print)
        return self._made[row.slug]

    def run(self, row: ImageRow, arguments: tuple[str | Path, ...], job: Path) -> str:
        """What the row's interpreter says, on both streams. Paths are those of this machine; only `job` is written."""
        environment = self.environment(row)
        log = job.with_name(f"{job.name}.log")
        caller = (os.geteuid(), os.getegid())
        launch = Launch(
            environment, "", REPOSITORY, job, None, (), 8 * GIB, 900.0, {"run": "contract", "job": row.slug}
        )
        # As root of the container the caller may write what is the caller's, and has no capability to do more.
        options = container_options(launch, worker_user(caller, self._daemon.is_rootless) if caller[0] else caller)
        read = (
            REPOSITORY / "workers",
            SCRIPTS,
            *(path for path in arguments if isinstance(path, Path) and path != job),
        )
        options["mounts"] = [
            *(bind_mount(path, str(path)) for path in read),
            bind_mount(job, str(job), is_writable=True),
        ]
        options["command"] = [str(argument) for argument in arguments]
        options["working_dir"] = str(job)
        options["environment"] = {**options["environment"], "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}
        ended = self._daemon.run(options, log, launch.timeout_seconds, lambda: None)
        said = log.read_text(encoding="utf-8", errors="replace")
        assert ended.code == 0, said[-2000:]
        return said

    def close(self) -> None:
        """Let go of the daemon."""
        self._daemon.close()
        self._engine.close()

    def _is_here(self, row: ImageRow) -> bool:
        return images.adopt(self._daemon, row, self._home) is not None

    def _may_be_built(self, row: ImageRow) -> bool:
        return os.environ.get("WAYMARK_BUILD_IMAGES") == "1" or recipe_sha256(row) in self._built_anyway
