"""A sweep on a Slurm cluster: its shards are sent as jobs, and every attempt at one is on record.

The only user of submitit and of Slurm's commands.
"""

from orchestrator.cluster.settings import SlurmSettings, read_settings
from orchestrator.cluster.shard_job import MACHINE_VARIABLE, SUBMISSION_VARIABLE, ShardJob
from orchestrator.cluster.slurm import JobState, all_nodes, cancel, job_states, require_slurm, send, usable_nodes
from orchestrator.cluster.submission import (
    Attempt,
    Sent,
    ShardState,
    Submission,
    SubmissionFolder,
    new_submission,
    read_submission,
    submissions,
)

__all__ = [
    "MACHINE_VARIABLE",
    "SUBMISSION_VARIABLE",
    "Attempt",
    "JobState",
    "Sent",
    "ShardJob",
    "ShardState",
    "SlurmSettings",
    "Submission",
    "SubmissionFolder",
    "all_nodes",
    "cancel",
    "job_states",
    "new_submission",
    "read_settings",
    "read_submission",
    "require_slurm",
    "send",
    "submissions",
    "usable_nodes",
]
