"""What a job of Slurm does on its node: it runs one shard, an ordinary `invoke sweep`, and records the attempt.

Slurm tells a job that its time ends, or that it is preempted; then the sweep is stopped as Ctrl-C stops it, and the
shard goes back to the queue. An attempt on the machine that began the shard's run continues it; on another machine it
begins a new one, because a run is one run on one machine.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import FrameType

from orchestrator import files
from orchestrator.cluster.submission import CONTROL, FAULTS_IN_A_ROW, SPEC, Attempt, ShardState, SubmissionFolder
from orchestrator.engines import process
from orchestrator.errors import WaymarkError
from orchestrator.home import Home
from orchestrator.host import boot_key, machine_marks
from orchestrator.records.run_folder import RunFacts

SUBMISSION_VARIABLE, MACHINE_VARIABLE = "WAYMARK_SUBMISSION", "WAYMARK_MACHINE"
"""What a job tells the sweep that it starts."""

STOP_SECONDS = 100.0
"""What a sweep may take to stop: it ends a worker, and writes its report."""

_WITHOUT_LIMIT = 1e9
_RECORD_SECONDS = 120.0
"""How long the end of an attempt is tried to be written, while the shared folder is away."""

_FAULT = 70
"""Exit code of an attempt that ended without the end of its run, in no way that a sweep knows."""

_PROGRAM = "from orchestrator.console.program import main; main()"


class _StoppedError(Exception):
    """Slurm ends the job. reason: 'its time ends'. is_sent_again: by us; a cancelled job is not."""

    def __init__(self, reason: str, *, is_sent_again: bool) -> None:
        super().__init__(reason)
        self.reason, self.is_sent_again = reason, is_sent_again


@dataclass
class ShardJob:
    """One shard of a submission; submitit pickles it, so all of it is plain.

    flags: of its sweep. machine: the feature or node that it is for, '' for any.
    """

    root: str
    reports: str
    submission: str
    number: int
    count: int
    flags: tuple[str, ...]
    machine: str = ""

    def __call__(self) -> int | None:
        """Run the shard, unless it is done; gives the exit code of its sweep, None if it was stopped."""
        folder = SubmissionFolder(Home(Path(self.root)), self.submission)
        _wait_for(folder.path)
        shard = self._shard(folder)
        if shard.is_done or folder.read().is_cancelled:
            return 0
        node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        job_id = os.environ.get("SLURM_JOB_ID", "")
        attempt = Attempt(number=self.number, job_id=job_id, node=node, began_unix=time.time())
        if _is_left_out(node, folder):
            why = f"{node} failed {FAULTS_IN_A_ROW} times in a row, and is left out"
            folder.begin(attempt.model_copy(update={"ended_unix": attempt.began_unix, "why": why}))
            _send_again(job_id, without=node)
            return None
        path = folder.begin(attempt)
        try:
            code, why = self._ended(shard, folder)
        except _StoppedError as stopped:
            _record(path, attempt, None, stopped.reason)
            if stopped.is_sent_again:
                _send_again(job_id, on=node)
            return None
        _record(path, attempt, code, why)
        if why and not self._shard(folder).is_given_up:
            _send_again(job_id, without=node if _is_left_out(node, folder) else "")
        return code

    def _shard(self, folder: SubmissionFolder) -> ShardState:
        return folder.shards(self.count)[self.number - 1]

    def _ended(self, shard: ShardState, folder: SubmissionFolder) -> tuple[int, str]:
        """Run the sweep to its end: its exit code, and a sentence if it did not end its run.

        A program that Python ended has the code of a sweep in which a trial failed; its run has not ended.
        """
        try:
            with _slurm_signals():
                code = self._sweep(shard, folder)
        except (WaymarkError, OSError) as error:
            return _FAULT, " ".join(str(error).split())
        if code == 0 or (code == 1 and self._shard(folder).is_done):
            return code, ""
        return _FAULT if code == 1 else code, _last_words(self._log(folder)) or f"the sweep ended with exit code {code}"

    def checkpoint(self) -> None:
        """Called by submitit when Slurm says that the time ends, or that the job is preempted."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one end is enough
        raise _StoppedError("its time ended, or it was preempted", is_sent_again=True)

    def _sweep(self, shard: ShardState, folder: SubmissionFolder) -> int:
        """Run the control, if this machine has none, and the shard."""
        begun = next((run for run in shard.runs if _is_of_this_machine(run)), None)
        if not begun and not any(_is_of_this_machine(run) for run in folder.controls()):
            self._waymark(folder, "sweep", f"--spec={folder.path / CONTROL}", *self._flags(has_weights=True))
        asked = (f"--spec={folder.path / SPEC}", f"--shard={self.number}/{self.count}")
        words = (f"--resume={begun.run_id}",) if begun else asked
        return self._waymark(folder, "sweep", *words, *self._flags(has_weights=bool(begun)))

    def _waymark(self, folder: SubmissionFolder, *words: str) -> int:
        """Run waymark to its end; gives its exit code."""
        stores = Path(self.root) / "stores"
        stores.mkdir(parents=True, exist_ok=True)
        env = {
            **os.environ,
            "WAYMARK_HOME": self.root,
            "WAYMARK_REPORTS": self.reports,
            "WAYMARK_STORE": f"sqlite:///{stores / boot_key()}.sqlite",
            SUBMISSION_VARIABLE: self.submission,
            MACHINE_VARIABLE: self.machine,
            **_staging(),
        }
        argv = (sys.executable, "-c", _PROGRAM, *words)
        log = self._log(folder)
        command = process.Command(argv, Path.cwd(), env, log, _WITHOUT_LIMIT, grace_seconds=STOP_SECONDS)
        ended = process.run(command, lambda: None)
        return ended.code if ended.code is not None else 128 + (ended.signal or 0)

    def _flags(self, *, has_weights: bool) -> tuple[str, ...]:
        """Those of the sweep. has_weights: it keeps its own, or takes the newest."""
        return tuple(flag for flag in self.flags if not (has_weights and flag.startswith("--weights=")))

    def _log(self, folder: SubmissionFolder) -> Path:
        return folder.path / f"shard-{self.number}.log"


@contextmanager
def _slurm_signals() -> Iterator[None]:
    """SIGTERM comes before Slurm ends a job that was cancelled, or that it sends again itself."""

    def end(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _StoppedError("Slurm ended it", is_sent_again=False)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _staging() -> dict[str, str]:
    """Where pictures and virtualenvs are copied to: the user's choice, or the disk that Slurm gives the job."""
    disk = os.environ.get("SLURM_TMPDIR")
    return {"WAYMARK_STAGING": f"{disk}/waymark"} if disk and "WAYMARK_STAGING" not in os.environ else {}


def _wait_for(folder: Path) -> None:
    """Until the shared folder is there, for a while."""
    deadline = time.monotonic() + _RECORD_SECONDS
    while not folder.is_dir() and time.monotonic() < deadline:
        time.sleep(1.0)


def _is_of_this_machine(run: RunFacts) -> bool:
    return not run.host.known_by.isdisjoint(machine_marks())


def _is_left_out(node: str, folder: SubmissionFolder) -> bool:
    """Whether the newest attempts on the node all failed; those that were left out do not count."""
    ended = [one for one in folder.attempts() if one.node == node and one.ended_unix and one.code is not None]
    failed = list(takewhile(lambda one: one.has_failed and one.code != 2, reversed(ended)))
    return len(failed) >= FAULTS_IN_A_ROW


def _record(path: Path, attempt: Attempt, code: int | None, why: str) -> None:
    """Write the end of the attempt, as soon as the shared folder is there."""
    ended = attempt.model_copy(update={"ended_unix": time.time(), "code": code, "why": why[:1000]})
    deadline = time.monotonic() + _RECORD_SECONDS
    while True:
        try:
            files.write_atomically(path, ended.model_dump_json(indent=1) + "\n")
        except OSError:
            if time.monotonic() > deadline:
                return
            time.sleep(1.0)
        else:
            return


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in process.tail(log, 5).splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


def _send_again(job_id: str, on: str = "", without: str = "") -> None:
    """Put this job back in the queue, for that node alone or for any other. Slurm ends this process meanwhile."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not job_id or process.output(("scontrol", "requeue", job_id)) is None:
        return
    wish = f"ReqNodeList={on}" if on else f"ExcNodeList={without}" if without else ""
    deadline = time.monotonic() + 10.0
    while wish and time.monotonic() < deadline:
        with suppress(OSError):
            if process.output(("scontrol", "update", f"JobId={job_id}", wish)) is not None:
                return
        time.sleep(0.2)
