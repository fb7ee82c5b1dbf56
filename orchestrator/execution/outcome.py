"""Decides the outcome of a job from its events and exit. Pure, so a recorded job gives the same outcome again."""

import re
from collections.abc import Sequence

from orchestrator.analysis.utilisation import foreign_percent
from orchestrator.records.event import Event
from orchestrator.records.job import JOB_KINDS, Job
from orchestrator.records.sample import Sample
from orchestrator.records.timeline import flaw, read_timeline
from orchestrator.trial import Exit, Fault, Outcome
from workers import protocol

DRAIN_SHARE = 0.01
DRAIN_SECONDS = 0.02
"""What a device may still do after its epochs; less than so many seconds says nothing in a short training."""

_NO_KERNEL = re.compile(
    r"^.*(no kernel image is available|CUDA_ERROR_NO_BINARY_FOR_GPU|invalid device function).*$",
    re.IGNORECASE | re.MULTILINE,
)
"""CUDA's messages for a build that holds no code for a card; they differ by version and by how a kernel is loaded."""


def decide(job: Job, events: Sequence[Event], exit_: Exit | None) -> Outcome:
    """The outcome of a job. It is `ok` only if every event that the job must leave is there, in order."""
    kinds = [event.kind for event in events]
    fail = next((event.fields for event in events if event.kind == "fail"), None)
    if exit_ is None:
        return Outcome(status="lost", fault="unknown", reason="waymark ended before this job did")
    if exit_.is_cancelled:
        return Outcome(status="cancelled", fault="none", reason="stopped by the user")
    if exit_.is_out_of_memory:
        return Outcome(status="out_of_memory", fault="subject", reason="the kernel ended it at its memory limit")
    if exit_.full_at_bytes is not None:
        reason = (
            f"the kernel ended it because memory ran out: this machine, or the container that waymark runs in, has "
            f"{exit_.full_at_bytes / 2**30:.1f} GiB"
        )
        return Outcome(status="out_of_memory", fault="environment", reason=reason)
    if exit_.is_timeout:
        return Outcome(status="timeout", fault="subject", reason=f"still running after {exit_.wall_seconds:.0f} s")
    if job.device == "gpu" and (exit_.code != 0 or fail is not None):
        lacking = _NO_KERNEL.search(f"{(fail or {}).get('reason', '')}\n{exit_.log_tail}")
        if lacking:
            reason = f"built without code for this card: {lacking[0].strip()}"
            return Outcome(status="unsupported", fault="subject", reason=reason)
    if exit_.code is None and exit_.signal is None:
        last = exit_.log_tail.strip().splitlines()[-1:] or ["nobody saw it end"]
        return Outcome(status="lost", fault="environment", reason=f"its engine lost it: {last[0]}")
    if fail is not None:
        return _failed(fail)
    if not kinds:
        last = exit_.log_tail.strip().splitlines()[-1:] or ["its log is empty"]
        return Outcome(status="no_protocol", fault="environment", reason=f"wrote no event; {_ending(exit_)}: {last[0]}")
    if "done" not in kinds or exit_.code != 0:
        after = "after its last event" if "done" in kinds else f"after '{kinds[-1]}'"
        return Outcome(status="crashed", fault=_crash_fault(exit_), reason=f"{_ending(exit_)} {after}")
    gap = _gap(job, events)
    if gap:
        return Outcome(status="no_protocol", fault="environment", reason=gap)
    late = _undrained(events)
    if late:
        return Outcome(status="undrained", fault="subject", reason=late)
    return Outcome(status="ok", fault="none")


def judge_load(events: Sequence[Event], samples: Sequence[Sample], limit_percent: float) -> Outcome:
    """The outcome of a trial that ended ok: still ok, unless other processes used too much of its processors' time."""
    foreign = foreign_percent(samples, read_timeline(events))
    if foreign is None or foreign <= limit_percent:
        return Outcome(status="ok", fault="none")
    reason = (
        f"other processes used {foreign:.0f} % of its processors' time while it trained; limits.foreign_percent is "
        f"{limit_percent:g}"
    )
    return Outcome(status="disturbed", fault="environment", reason=reason)


def _failed(fail: dict[str, object]) -> Outcome:
    code, reason = fail.get("code"), str(fail.get("reason", ""))
    if code == protocol.UNSUPPORTED:
        return Outcome(status="unsupported", fault="subject", reason=reason)
    if code == protocol.NOT_FINITE:
        return Outcome(status="diverged", fault="subject", reason=reason)
    if code == protocol.NOT_EQUAL:
        return Outcome(status="unverified", fault="subject", reason=reason)
    if code == protocol.NOT_AS_DECLARED:
        return Outcome(status="misconfigured", fault="environment", reason=reason)
    if code in (protocol.BAD_JOB, protocol.NO_FRAMEWORK):
        return Outcome(status="crashed", fault="environment", reason=reason)
    return Outcome(status="crashed", fault="unknown", reason=reason)


def _gap(job: Job, events: Sequence[Event]) -> str:
    """What is missing in the events of a finished job, or ''."""
    return flaw(events) or JOB_KINDS[job.kind].missing(job, events)


def _undrained(events: Sequence[Event]) -> str:
    """Why the clocks of a training say nothing about its speed: the device worked on after them; or ''."""
    timeline = read_timeline(events)
    seconds, share = sum(epoch.drain_seconds for epoch in timeline.epochs), timeline.drain_share
    if seconds <= DRAIN_SECONDS or share <= DRAIN_SHARE:
        return ""
    return (
        f"its device was busy for {seconds:.2g} s after the clocks of its epochs had stopped ({share:.0%} of them): "
        "steps were only queued"
    )


def _ending(exit_: Exit) -> str:
    return f"ended by signal {exit_.signal}" if exit_.signal else f"ended with exit code {exit_.code}"


def _crash_fault(exit_: Exit) -> Fault:
    """A segmentation fault or abort is caused by the framework; a kill from outside is of unknown cause."""
    return "subject" if exit_.signal in (4, 6, 7, 8, 11) or exit_.code in (132, 134, 135, 136, 139) else "unknown"
