"""`invoke submit` and `invoke jobs`: the shards of a sweep as jobs of a Slurm cluster."""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cluster import (
    Sent,
    ShardJob,
    ShardState,
    SlurmSettings,
    Submission,
    SubmissionFolder,
    all_nodes,
    cancel,
    job_states,
    new_submission,
    read_submission,
    require_slurm,
    send,
    submissions,
    usable_nodes,
)
from orchestrator.cluster.slurm import JobState
from orchestrator.cluster.submission import CONTROL, SPEC
from orchestrator.commands.collections import join_shards, runs_of
from orchestrator.console.progress import Console
from orchestrator.errors import EngineError, SpecError
from orchestrator.execution.asking import SweepRequest, ask
from orchestrator.files import write_atomically
from orchestrator.home import Home
from orchestrator.host import file_system_of, is_local
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.plan import asked_trials
from orchestrator.planning.shards import control_of, numbered
from orchestrator.planning.spec import ExperimentSpec
from orchestrator.records.run_folder import MOST_SHARDS

POLL_SECONDS = 3.0
REQUEUE_SECONDS = 20.0
"""So long a job that is sent again may be in no state at all."""

INTERRUPTED = 130
LEFT = ("done", "given up", "cancelled", "to send again")
"""States of shards for which no job is queued or running."""


_Submitted = tuple[Submission, SubmissionFolder]


@dataclass(frozen=True)
class SubmitRequest:
    """The arguments of `invoke submit`.

    sweep: what each shard runs a part of. flags: of the sweeps on the nodes, besides spec and shard.
    is_detached: return when the jobs are sent.
    """

    sweep: SweepRequest
    nodes: int
    settings: SlurmSettings
    flags: tuple[str, ...] = ()
    is_detached: bool = False


def submit(request: SubmitRequest, catalogue: Catalogue, home: Home, reports: Path, console: Console) -> int:
    """Send a sweep to the cluster, a shard a node, and wait for it. Gives the exit code.

    Raises WaymarkError if anything is wrong with it; nothing is submitted then.
    """
    require_slurm()
    _require_shared(home, request.settings)
    asked = ask(request.sweep, catalogue, home, console.say)
    if not 1 <= request.nodes <= MOST_SHARDS:
        raise SpecError(f"--nodes is {request.nodes}; it takes 1 to {MOST_SHARDS}.")
    numbered(asked_trials(asked.spec, asked.catalogue), request.nodes, "--nodes")
    sent = _send_all(request, asked.spec, home, reports)
    for submission, folder in sent:
        on = f" on {submission.machine}" if submission.machine else ""
        console.say(f"submitted {folder.submission}: {request.nodes} jobs{on}, {', '.join(_ids(submission))}")
    return _wait(sent, reports, console, is_detached=request.is_detached)


def _send_all(request: SubmitRequest, spec: ExperimentSpec, home: Home, reports: Path) -> list[_Submitted]:
    """A submission for each machine that the spec names, or one. All are sent, or none is."""
    written = json.dumps(spec.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False) + "\n"
    control = json.dumps(control_of(spec).model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False) + "\n"
    sent: list[_Submitted] = []
    made: list[SubmissionFolder] = []
    try:
        for machine in spec.axes.machines or ("",):
            folder = new_submission(f"{spec.name}-{machine}" if machine else spec.name, home)
            made.append(folder)
            write_atomically(folder.path / SPEC, written)
            write_atomically(folder.path / CONTROL, control)
            submission = Submission(
                submission=folder.submission,
                name=spec.name,
                began_unix=time.time(),
                count=request.nodes,
                machine=machine,
                flags=request.flags,
                settings=request.settings,
            )
            folder.write(submission)
            sent.append((_with_jobs(submission, folder, range(1, request.nodes + 1), reports), folder))
    except BaseException:
        cancel([job_id for submission, _ in sent for job_id in _ids(submission)])
        for folder in made:
            folder.remove()
        raise
    return sent


def resume(name: str, home: Home, reports: Path, console: Console, *, is_detached: bool) -> int:
    """Send the shards of a submission that are neither done nor queued nor running, and wait for all."""
    require_slurm()
    folder = read_submission(name, home)
    submission = folder.read()
    states = job_states({sent.job_id for sent in submission.sent})
    if states is None:
        raise EngineError("Slurm's controller does not answer, so nobody knows which jobs are queued. Try again later.")
    left = {row.shard.number: row for row in _rows(submission, folder, states) if row.state in LEFT[1:]}
    if left:
        folder.forgive(left)
        submission = submission.model_copy(update={"is_cancelled": False})
        folder.write(submission)  # first: a job that begins at once reads it
        usable = usable_nodes()
        for number, row in left.items():
            node = row.shard.node_of_run
            submission = _with_jobs(submission, folder, [number], reports, node if node in usable else "")
        console.say(f"sent again: shards {', '.join(map(str, left))} of {submission.count}")
    else:
        console.say("no shard is missing: each is done, queued or running")
    return _wait([(submission, folder)], reports, console, is_detached=is_detached)


def job_rows(name: str, home: Home) -> list[dict[str, object]]:
    """A row for each shard of a submission, or of all that are not done and the newest for ''."""
    folders = [read_submission(name, home)] if name else submissions(home)
    rows: list[dict[str, object]] = []
    for at, folder in enumerate(folders):
        submission = folder.read()
        states = job_states({sent.job_id for sent in submission.sent})
        shards = _rows(submission, folder, states)
        if name or at == 0 or any(row.state not in ("done", "cancelled") for row in shards):
            rows += [{"submission": folder.submission, **row.shown(home)} for row in shards]
    return rows


@dataclass(frozen=True)
class _Row:
    """One shard with its state. job_id: of its newest job."""

    shard: ShardState
    state: str
    job_id: str
    node: str
    why: str

    def shown(self, home: Home) -> dict[str, object]:
        """As `invoke jobs` prints it."""
        run = self.shard.runs[0] if self.shard.runs else None
        ended = len(list((home.runs / run.run_id).glob("*/outcome.json"))) if run else 0
        return {
            "shard": self.shard.number,
            "state": self.state,
            "job": self.job_id,
            "node": self.node,
            "attempts": len(self.shard.attempts),
            "jobs_ended": ended,
            "trials": run.planned if run else None,
            "run": run.run_id if run else "",
            "why": self.why,
        }


def _rows(submission: Submission, folder: SubmissionFolder, states: Mapping[str, JobState] | None) -> list[_Row]:
    """states: of the jobs that are queued or running; None if Slurm's controller does not answer."""
    rows, is_known, states = [], states is not None, states or {}
    for shard in folder.shards(submission.count):
        job_ids = [sent.job_id for sent in submission.sent if sent.number == shard.number]
        live = next((job_id for job_id in reversed(job_ids) if job_id in states), "")
        job = states.get(live)
        newest = shard.attempts[-1] if shard.attempts else None
        if shard.is_done:
            state = "done"
        elif job:
            state = "running" if job.is_running else "queued"
        elif not is_known:
            state = "not known: Slurm does not answer"
        elif submission.is_cancelled:
            state = "cancelled"
        else:
            state = "given up" if shard.is_given_up else "to send again"
        why = job.why if job and state == "queued" else newest.why if newest and state != "done" else ""
        node = job.node if job else newest.node if newest else ""
        rows.append(_Row(shard, state, live or (job_ids[-1] if job_ids else ""), node, why))
    return rows


def _with_jobs(
    submission: Submission, folder: SubmissionFolder, numbers: Collection[int], reports: Path, node: str = ""
) -> Submission:
    """Send these shards; gives the submission with their jobs, which is written."""
    count, flags = submission.count, submission.flags
    root, machine, settings = str(folder.home.root), submission.machine, submission.settings
    if machine in all_nodes():
        node = machine
    elif machine:
        both = f"{settings.constraint}&{machine}" if settings.constraint else machine
        settings = settings.model_copy(update={"constraint": both})
    jobs = [ShardJob(root, str(reports), folder.submission, at, count, flags, machine) for at in numbers]
    job_ids = send(jobs, settings, folder.path, node)
    new = [Sent(number=number, job_id=job_id) for number, job_id in zip(numbers, job_ids, strict=True)]
    submission = submission.model_copy(update={"sent": (*submission.sent, *new)})
    folder.write(submission)
    return submission


def _ids(submission: Submission) -> list[str]:
    return [sent.job_id for sent in submission.sent]


def _require_shared(home: Home, settings: SlurmSettings) -> None:
    """Raises EngineError where other machines cannot see the home."""
    if not settings.home_is_shared and is_local(home.root if home.root.exists() else home.root.parent):
        raise EngineError(
            f"{home.root}, waymark's folder, lies on {file_system_of(home.root)}, a disk of this machine alone, so no "
            "node sees it, and nothing was submitted. Set WAYMARK_HOME to a folder that all nodes share; if they do "
            f"share this one, write home_is_shared = true below [slurm] in {home.settings}."
        )


def _wait(sent: Sequence[_Submitted], reports: Path, console: Console, *, is_detached: bool) -> int:
    names = ",".join(folder.submission for _, folder in sent)
    if is_detached:
        console.say(f"`invoke jobs` tells how it goes; at the end: invoke join {names}")
        return 0
    try:
        rows = _watched(sent, console)
    except KeyboardInterrupt:
        for _, folder in sent:
            folder.write(folder.read().model_copy(update={"is_cancelled": True}))
        job_ids = [job_id for submission, _ in sent for job_id in _ids(submission)]
        said = "its jobs are cancelled"
        if not cancel(job_ids):
            said = f"Slurm's controller does not answer: scancel {' '.join(job_ids)}"
        console.say(f"stopped; {said}. What is done is kept. Go on: {_resume_words(sent)}")
        return INTERRUPTED
    if not any(row.shard.runs for row in rows):
        return 1
    page = join_shards(runs_of(names.split(","), sent[0][1].home, console), sent[0][1].home, reports, console)
    console.say(f"report: {page.page}")
    if not page.is_whole:
        console.say(f"not all shards are done. Send what is missing: {_resume_words(sent)}")
    return 0 if page.is_whole else 1


def _resume_words(sent: Sequence[_Submitted]) -> str:
    return "; ".join(f"invoke submit --resume={folder.submission}" for _, folder in sent)


def _watched(sent: Sequence[_Submitted], console: Console) -> Sequence[_Row]:
    """Wait until no job is queued or running; each change of a shard is said."""
    known: dict[tuple[str, int], tuple[str, str]] = {}
    job_ids = {job_id for submission, _ in sent for job_id in _ids(submission)}
    ended_at: float | None = None
    while True:
        states = job_states(job_ids)
        rows: list[_Row] = []
        for submission, folder in sent if states is not None else ():
            here = _rows(submission, folder, states)
            for row in here:
                now = row.state, row.node if row.state in ("running", "done") else ""
                place = folder.submission, row.shard.number
                if known.get(place) != now and (now[0] not in LEFT[1:] or ended_at is not None):
                    known[place] = now
                    on = f" on {now[1]}" if now[1] else f" ({row.why})" if row.why else ""
                    of = f" for {submission.machine}" if submission.machine else ""
                    console.say(f"shard {row.shard.number} of {submission.count}{of}: {row.state}{on}")
            rows += here
        has_ended = bool(rows) and all(row.state in LEFT for row in rows)
        ended_at = (ended_at or time.monotonic()) if has_ended else None
        is_whole = all(row.state == "done" for row in rows)
        if ended_at is not None and (is_whole or time.monotonic() - ended_at > REQUEUE_SECONDS):
            return rows
        time.sleep(POLL_SECONDS)
