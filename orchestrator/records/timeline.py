"""Clocks, scores and check figures of one worker, read from its events, which are validated.

All times are seconds on the worker's monotonic clock; `steady` steps are those after the warm-up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from orchestrator.records.event import Event
from orchestrator.records.payloads import (
    ONCE,
    TIMELINE_KINDS,
    Answers,
    Array,
    Audited,
    Built,
    Check,
    Confusion,
    Done,
    Epoch,
    Fingerprint,
    Hello,
    Payload,
    Peak,
    Queries,
    Score,
    joined,
    payload_of,
    payload_of_line,
)

_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Timeline:
    """One worker from its first event to its last.

    unread: how many events did not match the protocol.
    """

    hello: Hello | None = None
    built: Built | None = None
    epochs: tuple[Epoch, ...] = ()
    scores: tuple[Score, ...] = ()
    confusion: Confusion | None = None
    fingerprints: tuple[Fingerprint, ...] = ()
    audited: Audited | None = None
    place_seconds: tuple[float, ...] = ()
    check: Check | None = None
    queries: Queries | None = None
    answers: Answers | None = None
    peak: Peak | None = None
    done: Done | None = None
    unread: int = 0
    steady_steps: Array = field(default_factory=lambda: np.empty(0))

    @property
    def first_step_seconds(self) -> float | None:
        """Seconds of the very first step; None where steps were not timed one by one."""
        return next((float(epoch.step_seconds[0]) for epoch in self.epochs if epoch.step_seconds.size), None)

    @property
    def input_seconds(self) -> Array:
        """Seconds of cutting each batch (n,), over all epochs."""
        return joined(epoch.input_seconds for epoch in self.epochs)

    @property
    def spans_seconds(self) -> Array:
        """Seconds (n,) of each step or block, those of the warm-up too, or of each query."""
        if self.queries is not None:
            return np.asarray(self.queries.latency_seconds)
        return joined(epoch.spans_seconds for epoch in self.epochs)

    @cached_property
    def whole_step_seconds(self) -> float | None:
        """The mean step after the warm-up, with the mean wait for its batch; None without such a step."""
        if not self.steady_steps.size:
            return None
        wait = self.input_seconds
        return float(self.steady_steps.mean()) + (float(wait.mean()) if wait.size else 0.0)

    @property
    def drain_share(self) -> float:
        """How long the device was still busy after its epochs, as a share of them."""
        seconds = sum(epoch.epoch_seconds for epoch in self.epochs)
        return sum(epoch.drain_seconds for epoch in self.epochs) / seconds if seconds else 0.0

    @property
    def steady_epochs(self) -> Array:
        """Seconds of each epoch after the first, which is warm-up; of the first if there is no other."""
        seconds = np.array([epoch.epoch_seconds for epoch in self.epochs])
        return seconds[1:] if seconds.size > 1 else seconds

    @property
    def steady_input_seconds(self) -> Array:
        """Seconds that the steps of each epoch waited for their batches: of the epochs that `steady_epochs` counts."""
        seconds = np.array([epoch.input_seconds.sum() for epoch in self.epochs])
        return seconds[1:] if seconds.size > 1 else seconds

    @property
    def timed_spans(self) -> tuple[tuple[float, float], ...]:
        """Start and end of what was timed, in seconds since 1970: of each epoch, or of the queries."""
        if self.queries is None:
            return self.epoch_spans
        if self.hello is None or self.hello.started_unix is None:
            return ()
        end = self.hello.started_unix + self.queries.t
        return ((end - self.queries.wall_seconds, end),)

    @property
    def epoch_spans(self) -> tuple[tuple[float, float], ...]:
        """Start and end of each epoch in seconds since 1970; () if the worker's start is not known."""
        if self.hello is None or self.hello.started_unix is None:
            return ()
        began = self.hello.started_unix
        return tuple((began + epoch.t - epoch.epoch_seconds, began + epoch.t) for epoch in self.epochs)

    def accuracy(self, split: str) -> float | None:
        """The last accuracy over 'valid' or 'test'."""
        score = self.last_score(split)
        return None if score is None else score.accuracy

    def last_score(self, split: str) -> Score | None:
        """The last one over 'valid' or 'test'."""
        return next((score for score in reversed(self.scores) if score.split == split), None)


def read_timeline(events: Iterable[Event]) -> Timeline:
    """The timeline of one worker; events that do not match the protocol are counted and left out."""
    return _timeline((event.kind, payload_of(event)) for event in events if event.kind in TIMELINE_KINDS)


def read_lines(lines: Iterable[tuple[str, str]]) -> Timeline:
    """The timeline of events that are already known to be whole: pairs of a kind of TIMELINE_KINDS and the JSON."""
    return _timeline((kind, payload_of_line(kind, text)) for kind, text in lines)


def _timeline(payloads: Iterable[tuple[str, Payload | None]]) -> Timeline:
    said: dict[str, list[Any]] = {}
    unread = 0
    for kind, payload in payloads:
        if payload is None:
            unread += 1
        else:
            said.setdefault(kind, []).append(payload)
    epochs, queries = tuple(said.get("epoch", ())), _last(said.get("queries", ()))
    once: dict[str, Any] = {kind: _last(said.get(kind, ())) for kind in ONCE}
    return Timeline(
        **once,
        epochs=epochs,
        scores=tuple(said.get("score", ())),
        fingerprints=tuple(said.get("fingerprint", ())),
        place_seconds=tuple(second for place in said.get("place", ()) for second in place.place_seconds),
        unread=unread,
        steady_steps=queries.steady_steps if queries else joined(epoch.steady_steps for epoch in epochs),
    )


def flaw(events: Sequence[Event]) -> str:
    """Why the events of a job that ended well cannot be believed, a sentence; '' if they are whole and well-formed."""
    if [event.seq for event in events] != list(range(len(events))):
        return "its events have gaps: lines of events.jsonl are missing or damaged"
    unread = read_timeline(events).unread
    return f"{unread} of its events do not match the protocol: fields are missing or out of range" if unread else ""


def _last(said: Sequence[_Kind]) -> _Kind | None:
    return said[-1] if said else None
