"""A timeline as bytes, for the store: a header in JSON, and the series of all epochs as float64.

A run may have ten thousand trials, each with thousands of numbers; read as the JSON of events they take twice as
long. Events stay beside it, and are read where these bytes are missing or of another format.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from orchestrator.records.payloads import NONE, ONCE, Array, Epoch, Fingerprint, Score, joined, plain, read_plain
from orchestrator.records.timeline import Timeline

_FORMAT = 1
_SCALARS = ("t", "epoch", "epoch_seconds", "drain_seconds", "warmup_steps")
_SERIES = ("step_seconds", "block_steps", "block_seconds", "input_seconds", "loss")
_SCORE = ("split", "epoch", "accuracy", "loss", "pictures", "evaluate_seconds")
_ALIGNED = 8


def pack(timeline: Timeline) -> bytes:
    """The bytes of a timeline."""
    series = [getattr(epoch, name) for name in _SERIES for epoch in timeline.epochs]
    header = {
        "format": _FORMAT,
        "unread": timeline.unread,
        "epochs": [[getattr(epoch, name) for epoch in timeline.epochs] for name in _SCALARS],
        "sizes": [array.size for array in series],
        "scores": [[getattr(score, name) for score in timeline.scores] for name in _SCORE],
        "fingerprints": [
            [fingerprint.epoch, fingerprint.weights, fingerprint.predictions] for fingerprint in timeline.fingerprints
        ],
        "place_seconds": timeline.place_seconds,
        "once": {name: plain(name, payload) for name in ONCE if (payload := getattr(timeline, name)) is not None},
    }
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)
    return len(text).to_bytes(_ALIGNED, "little") + text + joined(series).astype("<f8").tobytes()


def unpack(packed: bytes) -> Timeline | None:
    """The timeline of these bytes; None if they are of another format, or damaged."""
    try:
        return _unpacked(packed)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None


def _unpacked(packed: bytes) -> Timeline | None:
    end = _ALIGNED + int.from_bytes(packed[:_ALIGNED], "little")
    header = json.loads(packed[_ALIGNED:end])
    if header["format"] != _FORMAT:
        return None
    values: Array = np.frombuffer(packed[end:], dtype="<f8")
    ends = np.cumsum([0, *header["sizes"]]).tolist()
    if ends[-1] != values.size:
        return None
    parts = [values[start:stop] if stop > start else NONE for start, stop in pairwise(ends)]
    count = len(header["epochs"][0])
    series = [parts[at * count : (at + 1) * count] for at in range(len(_SERIES))]
    epochs = tuple(map(_epoch, zip(*header["epochs"], *series, strict=True)))
    once: dict[str, Any] = {name: read_plain(name, fields) for name, fields in header["once"].items()}
    return Timeline(
        **once,
        epochs=epochs,
        scores=tuple(map(_score, zip(*header["scores"], strict=True))),
        fingerprints=tuple(
            Fingerprint(epoch=epoch, weights=weights, predictions=predictions)
            for epoch, weights, predictions in header["fingerprints"]
        ),
        place_seconds=tuple(header["place_seconds"]),
        unread=header["unread"],
        steady_steps=once["queries"].steady_steps if "queries" in once else _steady(epochs, values),
    )


def _steady(epochs: Sequence[Epoch], values: Array) -> Array:
    """The steps after the warm-up: where it is the beginning of single steps, the same numbers and no copy."""
    is_plain = not any(epoch.block_steps.size or (at and epoch.warmup_steps) for at, epoch in enumerate(epochs))
    if not is_plain or not epochs:
        return joined(epoch.steady_steps for epoch in epochs)
    first = min(epochs[0].warmup_steps, epochs[0].step_seconds.size)
    return values[first : sum(epoch.step_seconds.size for epoch in epochs)]


def _makers(kind: type[Any], names: tuple[str, ...]) -> Callable[[Iterable[Any]], Any]:
    """What makes an object of values that were validated before they were packed: doing that again takes most time."""
    setters = [getattr(kind, name).__set__ for name in names]

    def made(values: Iterable[Any]) -> Any:
        record = object.__new__(kind)
        for setter, value in zip(setters, values):  # noqa: B905 - twice as fast, and both are of one length
            setter(record, value)
        return record

    return made


_epoch, _score = _makers(Epoch, (*_SCALARS, *_SERIES)), _makers(Score, _SCORE)
