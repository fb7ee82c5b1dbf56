"""Plays recorded job folders instead of running workers, to try recording and reporting with nothing installed.

A recording is a job folder, as run_folder.py describes it, with at least record.json, events.jsonl and exit.json.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from orchestrator import files
from orchestrator.engines.engine import Launch, Say
from orchestrator.environment import Environment, digest
from orchestrator.errors import EngineError
from orchestrator.planning.image_row import ImageRow
from orchestrator.records import run_folder
from orchestrator.records.event import LIMIT_BYTES
from orchestrator.records.run_folder import JobFolder, Record, damage
from orchestrator.trial import Exit

_WRITTEN_ANEW = (run_folder.RECORD, run_folder.JOB, run_folder.EVENTS, run_folder.EXIT, run_folder.OUTCOME)


class ReplayEngine:
    """See Engine.

    folder: one recording, played for every job; or a run's folder, in which each job plays the recording of the same
            trial or check.
    """

    name = "replay"
    is_local = False

    def __init__(self, folder: Path) -> None:
        """Raises EngineError if the folder holds no recording."""
        self._folder = folder
        self._is_single = (folder / run_folder.EXIT).exists()
        folders = [folder] if self._is_single else [path.parent for path in sorted(folder.glob(f"*/{run_folder.EXIT}"))]
        self._waiting: dict[str, list[Path]] = {}
        for path in folders:
            self._waiting.setdefault(self._key(path), []).append(path)
        if not folders:
            raise EngineError(f"{folder} holds no recording: neither it nor a folder in it has an {run_folder.EXIT}.")

    def prepare(self, row: ImageRow, say: Say) -> Environment:
        """The environment of the recordings for `row`. Raises EngineError if there is none."""
        for path in (path for paths in self._waiting.values() for path in paths):
            recorded = _record(path).environment
            if (recorded.framework, recorded.variant, recorded.device) == (row.framework, row.variant, row.device):
                say(f"{row.label}: as recorded in {path}")
                return recorded
        raise EngineError(f"No recording in {self._folder} was made with {row.label}.")

    def run(self, launch: Launch, tick: Callable[[], None]) -> Exit:
        """Write the recorded events to the job's folder, a tick after each, and end as the recording did."""
        launched_unix = time.time()
        recording = self._next(launch)
        for path in recording.iterdir():
            if path.name not in _WRITTEN_ANEW:
                with suppress(files.UnsafeFileError):  # a recording may be somebody else's: no link is followed
                    files.copy(path, launch.job_dir / path.name, LIMIT_BYTES)
        tick()
        try:
            lines = files.read_bytes(recording / run_folder.EVENTS, LIMIT_BYTES).splitlines(keepends=True)
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise EngineError(f"{recording / run_folder.EVENTS} cannot be read ({error.strerror}).") from None
        if lines:
            with files.create(launch.job_dir / run_folder.EVENTS) as file:
                for line in lines:
                    file.write(line)
                    tick()
        try:
            recorded = JobFolder(recording).exit()
        except (OSError, ValueError) as error:
            raise EngineError(damage(recording / run_folder.EXIT, error)) from None
        if recorded is None:
            raise EngineError(f"{recording / run_folder.EXIT} does not exist any more.")
        return recorded.model_copy(update={"launched_unix": launched_unix})

    def close(self) -> None:
        """Nothing to close."""

    def _key(self, folder: Path) -> str:
        """What the job in `folder` asks, from its record, which is readable for all versions of job.json."""
        if self._is_single:
            return ""
        record = _record(folder)
        asked = record.trial or record.check or record.audit
        # Checks that were recorded before 2026-11-27 do not hold the batch of their trials; before 0.6, their ops.
        fields = asked.model_dump(mode="json", exclude={"batch_size", "network_sha256"}) if asked else None
        return digest([record.environment.variant, fields])

    def _next(self, launch: Launch) -> Path:
        waiting = self._waiting.get(self._key(launch.job_dir), [])
        if not waiting:
            raise EngineError(f"{self._folder} holds no recording of what {launch.job_dir / run_folder.RECORD} asks.")
        return waiting[0] if len(waiting) == 1 else waiting.pop(0)


def _record(folder: Path) -> Record:
    try:
        return JobFolder(folder).record()
    except (OSError, ValueError) as error:
        raise EngineError(damage(folder / run_folder.RECORD, error)) from None
