"""Signs recognised in frames as they come, by a worker that answers; with a clock for each stage of a frame."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from orchestrator.analysis import latency
from orchestrator.console.progress import Console
from orchestrator.data import video
from orchestrator.data.pixels import Preparer
from orchestrator.data.ppm import Pixels
from orchestrator.data.video import Box, DrawnSign
from orchestrator.errors import SpecError
from orchestrator.execution.serving import Served
from orchestrator.records.run_folder import TrainedWeights

STAGES = ("decode", "propose", "crop", "resize", "filter", "infer", "pipe")
"""Of one frame, in this order; `pipe` is the way to the worker and back. Drawing comes after the latency has ended."""

VARIABLE_RATE = 1.5
"""A rate varies if the longest time between two frames is more than this many of the shortest; files round to 1 ms."""

FOUND_OVERLAP = 0.5
"""A region with so large an overlap has found a sign."""


@dataclass(frozen=True)
class Wanted:
    """What is looked at, and what is written of it.

    weights:   the network and its trained weights.
    roi:       the one region to look at; None for proposals.
    confidence: a region below it is no sign.
    output:    a video with what was recognised. lines: one JSON object a frame.
    """

    weights: TrainedWeights
    roi: Box | None = None
    confidence: float = 0.9
    output: Path | None = None
    lines: Path | None = None


class Frame(NamedTuple):
    """number: from 0. due_seconds: from the first frame, when it is there. bgr: (height, width, 3)."""

    number: int
    due_seconds: float
    bgr: Pixels


@dataclass
class Seen:
    """What was measured so far, in seconds. latencies: of each frame; stages: of each stage, a frame.

    due_seconds: of each frame of a file, dropped ones too. filter_seconds: of the processor, in each filter, over all
    `regions`.
    """

    period_seconds: float
    frames: int = 0
    dropped: int = 0
    missed: int = 0
    signs: int = 0
    regions: int = 0
    true_signs: int = 0
    found: int = 0
    recognised: int = 0
    latencies: list[float] = field(default_factory=list)
    due_seconds: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    filter_seconds: dict[str, float] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """For the table: a row for the whole, and one for each stage."""
        whole: list[tuple[str, Any]] = [
            ("frames", self.frames + self.dropped),
            ("frames dropped", self.dropped),
            ("deadlines missed", self.missed),
            ("signs reported", self.signs),
        ]
        for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99")):
            seconds = latency.percentile(self.latencies, share)
            whole.append((f"latency {name}, ms", None if seconds is None else seconds * 1000))
        whole += [(f"{name}, median ms", float(np.median(self.stages[name])) * 1000) for name in STAGES if self.frames]
        whole += [
            (f"{name} of a region, mean ms", 1000 * seconds / self.regions)
            for name, seconds in self.filter_seconds.items()
            if self.regions
        ]
        if self.true_signs:
            whole.append(("signs that are there", self.true_signs))
            whole.append(("found by a region, %", 100 * self.found / self.true_signs))
            whole.append(("recognised, %", 100 * self.recognised / self.true_signs))
        return [{"what": what, "value": value} for what, value in whole]


@dataclass
class Recogniser:
    """Takes frame after frame, and answers what the camera sees now.

    classes: the name of each class. truth: the signs that are there, by frame.
    """

    wanted: Wanted
    source: video.Source
    served: Served
    classes: Sequence[str]
    truth: Mapping[int, Sequence[DrawnSign]]

    def __post_init__(self) -> None:
        weights = self.wanted.weights
        self._preparer = Preparer(weights.input_size, weights.dataset, video.MOST_REGIONS)
        self._writer: video.Writer | None = None

    def run(self, console: Console) -> Seen:
        """Until the source ends, or the user stops it."""
        seen = Seen(1 / self.source.frames_per_second)
        lines = self.wanted.lines.open("w", encoding="utf-8") if self.wanted.lines else None
        try:
            with console.counting("watching") as progress:
                for frame, arrived, decode_seconds in self._frames(seen):
                    self._take(frame, arrived, decode_seconds, seen, lines)
                    progress(self.source.taken, self.source.expected or self.source.taken)
        except KeyboardInterrupt:
            self.source.was_stopped = True
        finally:
            if lines:
                lines.close()
            if self._writer:
                self._writer.close()
                if self._writer.fitted:
                    console.say(
                        f"note: {self._writer.fitted} frames have another size than the first; they were fitted into "
                        "the video's, on black"
                    )
        return seen

    def _frames(self, seen: Seen) -> Iterator[tuple[Frame, float, float]]:
        """Each frame that is not dropped, when it was there, and the seconds of its decoding.

        A frame of a file may be decoded before it is due; its latency counts the decoding all the same.
        """
        clock, source, period = time.perf_counter, self.source, seen.period_seconds
        began, first = clock(), 0.0
        while True:
            start = clock()
            due_seconds = source.grab()
            ready = clock()
            if due_seconds is None:
                return
            if source.is_live:  # it waited for the frame, and the driver has dropped those before it
                first = first or ready
                seen.dropped = max(seen.dropped, round((ready - first) / period) - seen.frames)
                arrived, decode_seconds = ready, 0.0
            else:
                seen.due_seconds.append(due_seconds)
                due, decode_seconds = began + due_seconds, ready - start
                if ready >= due + period:
                    seen.dropped += 1
                    continue
                if ready < due:
                    time.sleep(due - ready)
                arrived = min(due, max(start, due - decode_seconds))
            start = clock()
            bgr = source.picture()
            decode_seconds += clock() - start
            if bgr is None:
                seen.dropped += 1
            else:
                yield Frame(source.taken - 1, due_seconds, bgr), arrived, decode_seconds

    def _take(self, frame: Frame, arrived: float, decode_seconds: float, seen: Seen, lines: TextIO | None) -> None:
        self._require_region(frame)
        clock = time.perf_counter
        marks = [clock()]
        boxes = [self.wanted.roi] if self.wanted.roi else video.regions(frame.bgr)
        marks.append(clock())
        crops = [video.cropped(frame.bgr, box) for box in boxes]
        marks.append(clock())
        rgb = self._preparer.resized(crops)
        marks.append(clock())
        self._preparer.filter(rgb)
        planes = self._preparer.planes(rgb)
        marks.append(clock())
        signs, infer_seconds = self._answers(boxes, planes)
        marks.append(clock())
        propose, crop, resize, filtered, asked = np.diff(marks).tolist()
        times = (decode_seconds, propose, crop, resize, filtered, infer_seconds, max(0.0, asked - infer_seconds))
        for name, seconds in zip(STAGES, times, strict=True):
            seen.stages[name].append(seconds)
        latency_seconds = marks[-1] - arrived
        seen.frames += 1
        seen.regions += len(boxes)
        seen.filter_seconds = dict(self._preparer.filter_seconds)
        seen.signs += len(signs)
        seen.latencies.append(latency_seconds)
        seen.missed += latency_seconds > seen.period_seconds
        self._judge(frame.number, boxes, signs, seen)
        if lines:
            lines.write(json.dumps(_line(frame, self._named(signs), latency_seconds, times)) + "\n")
        if self.wanted.output:
            self._draw(frame, signs, seen)

    def _require_region(self, frame: Frame) -> None:
        """Raises SpecError for a region that is not in the frame."""
        height, width = frame.bgr.shape[:2]
        if self.wanted.roi:
            left, top, wide, high = self.wanted.roi
            if left + wide > width or top + high > height:
                raise SpecError(f"--roi ends at {left + wide},{top + high}; the frames are {width} x {height} pixels.")

    def _answers(self, boxes: Sequence[Box], planes: Any) -> tuple[list[tuple[Box, int, float]], float]:
        """(box, class, confidence) of each sign, and the seconds that the worker took."""
        if not boxes:
            return [], 0.0
        logits, seconds = self.served.ask(planes)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = shifted / shifted.sum(axis=1, keepdims=True)
        signs = zip(boxes, shares.argmax(axis=1).tolist(), shares.max(axis=1).tolist(), strict=True)
        return [sign for sign in signs if sign[2] >= self.wanted.confidence], seconds

    def _judge(self, number: int, boxes: Sequence[Box], signs: Sequence[tuple[Box, int, float]], seen: Seen) -> None:
        for true in self.truth.get(number, ()):
            seen.true_signs += 1
            seen.found += any(video.overlap(box, true.box) >= FOUND_OVERLAP for box in boxes)
            seen.recognised += any(
                label == true.label and video.overlap(box, true.box) >= FOUND_OVERLAP for box, label, _ in signs
            )

    def _draw(self, frame: Frame, signs: Sequence[tuple[Box, int, float]], seen: Seen) -> None:
        assert self.wanted.output is not None
        height, width = frame.bgr.shape[:2]
        if self._writer is None:
            self._writer = video.Writer(self.wanted.output, self.source.frames_per_second, width, height)
        shown = [(box, f"{self.classes[label]} {share:.0%}".replace("%", " %")) for box, label, share in signs]
        rate = 1 / max(np.median(seen.latencies[-30:]), 1e-9)
        note = f"{min(rate, 999):.0f} frames/s possible, {seen.dropped} dropped"
        self._writer.write(video.drawn_on(frame.bgr, shown, note))

    def _named(self, signs: Sequence[tuple[Box, int, float]]) -> list[dict[str, Any]]:
        return [
            {"box": list(box), "class": label, "sign": self.classes[label], "confidence": round(share, 4)}
            for box, label, share in signs
        ]


def _line(
    frame: Frame, signs: Sequence[Mapping[str, Any]], latency_seconds: float, times: Sequence[float]
) -> dict[str, Any]:
    return {
        "frame": frame.number,
        "seconds": round(frame.due_seconds, 4),
        "latency_ms": round(latency_seconds * 1000, 3),
        **{f"{name}_ms": round(seconds * 1000, 3) for name, seconds in zip(STAGES, times, strict=True)},
        "signs": signs,
    }


def notes(source: video.Source, seen: Seen) -> Iterator[str]:
    """What is odd about the source, a sentence each."""
    gaps = np.diff(seen.due_seconds)
    if gaps.size and gaps.max() > VARIABLE_RATE * gaps.min():
        yield (
            f"{source.name} has a variable frame rate, {gaps.min() * 1000:.0f} to {gaps.max() * 1000:.0f} ms between "
            f"frames; each was taken when it was due, and had {seen.period_seconds * 1000:.0f} ms, the mean."
        )
    taken = seen.frames + seen.dropped
    if source.expected is not None and taken < source.expected and not source.was_stopped:
        yield f"{source.name} promises {source.expected} frames and ended after {taken}: it is cut short or damaged."
