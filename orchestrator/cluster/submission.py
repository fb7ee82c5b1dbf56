"""What was sent to a cluster, and what became of it: `submissions/<id>/` of waymark's folder.

submission.json is written by `invoke submit` alone. Each attempt at a shard has a file of its own, which the node that
makes it writes when it begins and again when it ends. What is done is told by the runs themselves.
"""

import itertools
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from orchestrator import files
from orchestrator.cluster.settings import SlurmSettings
from orchestrator.environment import Frozen, RunId, UnixSeconds
from orchestrator.errors import StoreError, did_you_mean
from orchestrator.home import Home
from orchestrator.records.run_folder import MOST_SHARDS, RUN, RunFacts, RunFolder, damage

SUBMISSION, SPEC, CONTROL, ATTEMPTS = "submission.json", "spec.json", "control.json", "attempts"
FAULTS_IN_A_ROW = 3
"""After so many failed attempts in a row a node is left out, and a shard is given up."""

_Number = Annotated[int, Field(ge=1, le=MOST_SHARDS)]


class Sent(Frozen):
    """A job of Slurm for one shard."""

    number: _Number
    job_id: Annotated[str, Field(pattern=r"^\d{1,12}(_\d{1,7})?$")]


class Submission(Frozen):
    """submission.json.

    flags: of the sweep of each shard. machine: the feature or node of the spec that it is for, '' for any.
    sent: all its jobs, the oldest first.
    """

    submission: RunId
    name: Annotated[str, Field(max_length=100)]
    began_unix: UnixSeconds
    count: _Number
    machine: Annotated[str, Field(max_length=60)] = ""
    flags: tuple[Annotated[str, Field(max_length=4096)], ...] = ()
    settings: SlurmSettings = SlurmSettings()
    sent: tuple[Sent, ...] = ()
    is_cancelled: bool = False


class Attempt(Frozen):
    """One attempt at a shard, by one job on one node.

    ended_unix: None while it goes on, or if its node was lost. code: of the sweep's exit; None for an end without one.
    why: a sentence about its end, '' for an ordinary one.
    """

    number: _Number
    job_id: Annotated[str, Field(max_length=40)]
    node: Annotated[str, Field(max_length=200)]
    began_unix: UnixSeconds
    ended_unix: UnixSeconds | None = None
    code: int | None = None
    why: Annotated[str, Field(max_length=1000)] = ""

    @property
    def is_turned_away(self) -> bool:
        """It ended as it began: its node is left out."""
        return self.ended_unix is not None and self.ended_unix == self.began_unix

    @property
    def has_failed(self) -> bool:
        """Because of its machine: not by a wrong spec, and not because it was stopped."""
        return self.code not in (None, 0, 1, 130)


@dataclass(frozen=True)
class ShardState:
    """One shard: its attempts, the oldest first, and its runs, that which is counted first."""

    number: int
    attempts: Sequence[Attempt] = ()
    runs: Sequence[RunFacts] = ()

    @property
    def node_of_run(self) -> str:
        """The node that can go on with a run that has begun; '' for none, and for one that nobody knows."""
        ran = [one.node for one in self.attempts if not one.has_failed]
        return ran[-1] if self.runs and ran else ""

    @property
    def is_done(self) -> bool:
        """One of its runs has ended."""
        return any(run.state == "ended" for run in self.runs)

    @property
    def is_given_up(self) -> bool:
        """It failed too often on more than one node, or in a way that another attempt would not change."""
        failed = list(itertools.takewhile(lambda one: one.has_failed, reversed(self._tried)))
        is_everywhere = len(failed) >= FAULTS_IN_A_ROW and len({one.node for one in failed}) > 1
        return is_everywhere or any(one.code == 2 for one in failed)

    @property
    def _tried(self) -> Sequence[Attempt]:
        """Without those that a node that is left out turned away."""
        return [one for one in self.attempts if not one.is_turned_away]


@dataclass(frozen=True)
class SubmissionFolder:
    """The folder of a submission in a home."""

    home: Home
    submission: str

    @property
    def path(self) -> Path:
        """`submissions/<id>`."""
        return self.home.submissions / self.submission

    def write(self, submission: Submission) -> None:
        """Write submission.json, atomically."""
        files.write_atomically(self.path / SUBMISSION, submission.model_dump_json(indent=1) + "\n")

    def read(self) -> Submission:
        """submission.json. Raises StoreError if there is none, or it does not read."""
        path = self.path / SUBMISSION
        try:
            return Submission.model_validate_json(files.read_bytes(path))
        except FileNotFoundError:
            known = [one.name for one in self.home.submissions.glob("*")]
            raise StoreError(
                f"there is no submission '{self.submission}'.{did_you_mean(self.submission, known)} "
                "`invoke jobs` lists them."
            ) from None
        except (OSError, ValidationError, ValueError) as error:
            raise StoreError(damage(path, error)) from None

    def remove(self) -> None:
        """Remove it: nothing was submitted."""
        files.remove(self.path)

    def forgive(self, numbers: Collection[int]) -> None:
        """Let shards that were given up be tried again: a user asks for it."""
        for path, attempt in self._attempts():
            if attempt.number in numbers and attempt.has_failed:
                why = f"{attempt.why} (exit code {attempt.code})"[:1000]
                forgiven = attempt.model_copy(update={"code": None, "why": why})
                files.write_atomically(path, forgiven.model_dump_json(indent=1) + "\n")

    def begin(self, attempt: Attempt) -> Path:
        """Write a new attempt; gives its file, which nobody else has."""
        folder = self.path / ATTEMPTS
        folder.mkdir(parents=True, exist_ok=True)
        for count in itertools.count(1):
            path = folder / f"{attempt.number:04d}-{count:03d}-{_plain(attempt.node)}.json"
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            except FileExistsError:
                continue
            files.write_atomically(path, attempt.model_dump_json(indent=1) + "\n")
            return path
        raise AssertionError("count does not end")

    def attempts(self) -> list[Attempt]:
        """All attempts, the oldest first; one that is being written is left out."""
        return sorted((attempt for _, attempt in self._attempts()), key=lambda attempt: attempt.began_unix)

    def _attempts(self) -> Iterator[tuple[Path, Attempt]]:
        for path in (self.path / ATTEMPTS).glob("*.json"):
            try:
                yield path, Attempt.model_validate_json(files.read_bytes(path))
            except (OSError, ValueError):
                continue

    def shards(self, count: int) -> list[ShardState]:
        """The state of each shard, by number."""
        attempts, runs = self.attempts(), self._runs(count)
        return [
            ShardState(number, [one for one in attempts if one.number == number], runs.get(number, []))
            for number in range(1, count + 1)
        ]

    def _runs(self, count: int) -> Mapping[int, Sequence[RunFacts]]:
        runs: dict[int, list[RunFacts]] = {}
        for facts in self._facts(f"*of{count}*"):
            if facts.shard and facts.shard.submission == self.submission:
                runs.setdefault(facts.shard.number, []).append(facts)
        return {number: sorted(found, key=_first_counted) for number, found in runs.items()}

    def controls(self) -> list[RunFacts]:
        """The runs that compare the nodes, one a machine, the oldest first."""
        runs = [run for run in self._facts("*-control-*") if run.control_of == self.submission and run.state == "ended"]
        runs.sort(key=lambda run: run.started_unix)
        return [run for at, run in enumerate(runs) if not any(run.host.is_same_machine(o.host) for o in runs[:at])]

    def _facts(self, names: str) -> Iterator[RunFacts]:
        """Of all runs that may be of this submission, by their names."""
        for path in self.home.runs.glob(f"{names}/{RUN}"):
            if not path.parent.name.startswith("."):
                try:
                    yield RunFolder(path.parent).facts()
                except StoreError:
                    continue


def _first_counted(run: RunFacts) -> tuple[bool, float]:
    return run.state != "ended", run.started_unix


def new_submission(name: str, home: Home) -> SubmissionFolder:
    """An empty folder with an id of its own, by date and name."""
    home.submissions.mkdir(parents=True, exist_ok=True)
    began = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}"
    for count in itertools.count(1):
        folder = SubmissionFolder(home, began if count == 1 else f"{began}-{count}")
        try:
            folder.path.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("count does not end")


def submissions(home: Home) -> list[SubmissionFolder]:
    """Those on record, the newest first."""
    paths = sorted(home.submissions.glob(f"*/{SUBMISSION}"), reverse=True)
    return [SubmissionFolder(home, path.parent.name) for path in paths]


def read_submission(name: str, home: Home) -> SubmissionFolder:
    """That submission, or the newest for ''. Raises StoreError if there is none."""
    if name and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        return SubmissionFolder(home, name)
    newest = submissions(home)[:1]
    if name or not newest:
        what = f"there is no submission '{name}'" if name else "no submission is on record"
        raise StoreError(f"{what}. `invoke submit` sends one, `invoke jobs` lists them.")
    return newest[0]


def _plain(node: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", node)[:60]
