"""The commands of Slurm: jobs are sent by submitit, and asked after by squeue, which needs no accounting."""

import io
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cluster.settings import SlurmSettings
from orchestrator.cluster.shard_job import ShardJob
from orchestrator.engines import process
from orchestrator.errors import AbsentError, EngineError

MOST_WARNING_SECONDS = 120
"""How long before the end of a job it is told: what its sweep takes to stop as Ctrl-C stops it."""

_COMMANDS = ("sbatch", "srun", "squeue", "scancel")
_RUNNING = ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STAGE_OUT", "SIGNALING")
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
_USABLE = ("idle", "mixed", "allocated", "completing")


@dataclass(frozen=True)
class JobState:
    """A job that is queued or running. node: '' while it waits. why: why it waits, in Slurm's word."""

    is_running: bool
    node: str
    why: str


def require_slurm() -> None:
    """Raises AbsentError where there is no Slurm, or no submitit."""
    missing = [name for name in _COMMANDS if shutil.which(name) is None]
    if missing:
        raise AbsentError(
            f"no {missing[0]} here: `invoke submit` is for the login node of a Slurm cluster. On machines without "
            "Slurm run the shards by hand: invoke sweep --shard=1/2 (docs/cluster.md)."
        )
    _submitit()


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise AbsentError("submitit, which sends jobs to Slurm, is not installed: pip install '.[slurm]'") from None
    return submitit


def send(jobs: Sequence[ShardJob], settings: SlurmSettings, folder: Path, node: str = "") -> list[str]:
    """Send one exclusive job a shard, all or none; gives their ids in the same order. node: only on this one.

    Raises EngineError, with what Slurm says, if it refuses them.
    """
    submitit = _submitit()
    minutes = settings.limit_minutes
    executor = submitit.SlurmExecutor(folder=folder / "jobs")
    wanted = {name: getattr(settings, name) for name in ("partition", "account", "constraint", "qos")}
    executor.update_parameters(
        job_name=f"waymark-{folder.name}",
        time=minutes,
        nodes=1,
        ntasks_per_node=1,
        exclusive=True,
        signal_delay_s=min(MOST_WARNING_SECONDS, minutes * 15),
        srun_args=["--cpu-bind=none"],
        additional_parameters={"requeue": True, "mem": 0, **({"nodelist": node} if node else {})},
        **{name: value for name, value in wanted.items() if value},
    )
    try:
        with redirect_stderr(io.StringIO()):  # it repeats there what the error says
            sent = executor.submit_array(list(jobs))
    except (RuntimeError, OSError) as error:
        raise EngineError(f"Slurm refused the jobs, and nothing was submitted: {_said(error)}.") from None
    return [str(job.job_id) for job in sent]


def _said(error: Exception) -> str:
    """The last thing that sbatch said: 'invalid partition specified: nope'."""
    lines = [line.strip() for line in str(error).splitlines() if "error:" in line]
    told = [re.sub(r"^(sbatch: )?error: ", "", line) for line in lines]
    first = [line for line in told if not line.startswith("Batch job submission failed")] or told
    if first and "nvalid feature specification" in first[0]:
        return "no node has what --constraint asks for (Invalid feature specification)"
    return (first[0] if first else " ".join(str(error).split())).rstrip(".")[:300]


def job_states(job_ids: Collection[str]) -> Mapping[str, JobState] | None:
    """Of these jobs those that are queued or running; None if Slurm's controller does not answer."""
    said = process.output(("squeue", "-h", "-r", "-t", "all", "-u", str(os.geteuid()), "-o", "%i|%T|%N|%r"))
    if said is None:
        return None
    states = {}
    for line in said.splitlines():
        job_id, state, node, why = [*line.strip().split("|", 3), "", "", ""][:4]
        if job_id in job_ids and state in (*_RUNNING, *_WAITING):
            is_running = state in _RUNNING
            states[job_id] = JobState(is_running, node, "" if is_running or why == "None" else why)
    return states


def usable_nodes() -> Collection[str]:
    """The nodes that can be given a job, now or later."""
    said = process.output(("sinfo", "-h", "-N", "-o", "%N %T")) or ""
    words = [line.split() for line in said.splitlines()]
    return {node for node, state in words if state in _USABLE}


def all_nodes() -> Collection[str]:
    """The names of all nodes."""
    return set((process.output(("sinfo", "-h", "-N", "-o", "%N")) or "").split())


def cancel(job_ids: Collection[str]) -> bool:
    """End these jobs, and no others; False if Slurm's controller does not answer."""
    return not job_ids or process.output(("scancel", *sorted(job_ids))) is not None
