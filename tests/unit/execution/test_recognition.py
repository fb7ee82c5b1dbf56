"""Frames that come at their rate to a worker whose latency is known, with a clock that the test moves."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from orchestrator.console.progress import Console
from orchestrator.data import video
from orchestrator.data.labels import SIGNS
from orchestrator.data.video import DrawnSign
from orchestrator.dataset import Dataset
from orchestrator.execution import recognition
from orchestrator.records.run_folder import TrainedWeights
from tests import fake_run as fake

RATE, FRAMES, CLASSES = 10.0, 50, 43
BOX = (10, 10, 40, 40)


@dataclass
class World:
    """A clock; a source of FRAMES frames; a worker that takes `service` seconds, and `stall` at every `every`-th."""

    service: float = 0.02
    stall: float = 0.0
    every: int = 0
    now: float = 100.0
    taken: int = 0
    is_live: bool = False
    expected: int | None = FRAMES
    frames_per_second: float = RATE
    was_stopped: bool = False
    name: str = "any"
    asked: int = 0
    decoding: float = 0.0
    damaged: tuple = ()
    due: Callable[[int], float] = lambda number: number / RATE
    frame: np.ndarray | None = None
    source: video.Source | None = None

    def perf_counter(self):
        self.now += 1e-6
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def grab(self):
        if self.source:
            due = self.source.grab()
            self.taken = self.source.taken
            return due
        if self.is_live:  # the newest frame, or the next one
            number = max(self.taken, math.floor((self.now - 100.0) * RATE))
            self.now = max(self.now, 100.0 + number / RATE)
        else:
            number = self.taken
        self.taken = number + 1
        return self.due(number) if number < FRAMES else None

    def picture(self):
        self.now += self.decoding
        if self.source:
            return self.source.picture()
        if self.frame is not None:
            return self.frame
        return None if self.taken - 1 in self.damaged else np.zeros((100, 100, 3), np.uint8)

    def ask(self, pictures):
        self.asked += 1
        seconds = self.stall if self.every and self.asked % self.every == 0 else self.service
        self.now += seconds
        logits = np.zeros((len(pictures), CLASSES), np.float32)
        logits[:, 7] = 20.0
        return logits, seconds

    def run(self, monkeypatch, truth=None, clahe=True, **changes):
        monkeypatch.setattr(recognition, "time", SimpleNamespace(perf_counter=self.perf_counter, sleep=self.sleep))
        weights = TrainedWeights(
            model=fake.RESNET,
            input_size=32,
            dataset=Dataset(clahe=clahe),
            sha256="f" * 64,
            run_id="20261121-120000-quick",
            folder="0001-any",
            subject="any:1",
        )
        wanted = recognition.Wanted(**{"weights": weights, "roi": BOX, **changes})
        return recognition.Recogniser(wanted, self, self, SIGNS, truth or {}).run(Console())


def test_a_latency_runs_from_the_arrival_of_a_frame(monkeypatch):
    seen = World(service=0.02).run(monkeypatch)
    assert seen.latencies == pytest.approx([0.02] * FRAMES, abs=1e-3)
    assert (seen.frames, seen.dropped, seen.missed) == (FRAMES, 0, 0)


def test_a_stall_misses_its_deadline_and_no_other(monkeypatch):
    seen = World(service=0.02, stall=0.15, every=10).run(monkeypatch)
    assert seen.missed == sum(latency > 1 / RATE for latency in seen.latencies) == seen.frames // 10


def test_a_slow_worker_drops_frames_and_falls_no_further_behind(monkeypatch):
    seen = World(service=0.25).run(monkeypatch)
    assert seen.frames + seen.dropped == FRAMES
    assert seen.frames == pytest.approx(FRAMES * 0.1 / 0.25, abs=2)
    assert max(seen.latencies) < 0.25 + 1 / RATE + 0.01


def test_the_frames_that_a_camera_dropped_are_counted(monkeypatch):
    seen = World(service=0.25, is_live=True).run(monkeypatch)
    assert seen.frames + seen.dropped == pytest.approx(FRAMES, abs=2)
    assert seen.latencies == pytest.approx([0.25] * seen.frames, abs=1e-3)


def test_each_frame_of_a_variable_rate_is_taken_when_due(monkeypatch):
    world = World(service=0.02, due=lambda number: number * 0.1 + (0.05 if number % 2 else 0.0))
    seen = world.run(monkeypatch)
    assert seen.latencies == pytest.approx([0.02] * FRAMES, abs=1e-3)
    assert world.now == pytest.approx(100.0 + world.due(FRAMES - 1) + 0.02, abs=1e-2)
    (note,) = recognition.notes(world, seen)
    assert note.startswith("any has a variable frame rate, 50 to 150 ms between frames")


def test_a_constant_rate_that_is_whole_has_no_note(monkeypatch):
    world = World()
    assert list(recognition.notes(world, world.run(monkeypatch))) == []


def test_a_camera_that_varies_has_no_note(monkeypatch):
    world = World(is_live=True, expected=None, due=lambda number: number**2 * 0.1)
    assert list(recognition.notes(world, world.run(monkeypatch))) == []


def test_decoding_is_part_of_a_latency(monkeypatch):
    seen = World(service=0.02, decoding=0.01).run(monkeypatch)
    assert seen.latencies == pytest.approx([0.03] * FRAMES, abs=1e-3)
    assert seen.stages["decode"] == pytest.approx([0.01] * FRAMES, abs=1e-3)


def test_a_damaged_frame_counts_as_dropped(monkeypatch):
    seen = World(damaged=(3, 4)).run(monkeypatch)
    assert (seen.frames, seen.dropped) == (FRAMES - 2, 2)


def test_each_stage_has_its_clock(monkeypatch):
    seen = World(service=0.02).run(monkeypatch)
    assert {name: len(of) for name, of in seen.stages.items()} == dict.fromkeys(recognition.STAGES, FRAMES)
    assert seen.stages["infer"] == pytest.approx([0.02] * FRAMES)


def test_the_table_tells_what_each_filter_took_for_a_region(monkeypatch):
    told = {row["what"]: row["value"] for row in World().run(monkeypatch).rows()}
    assert told["clahe of a region, mean ms"] > 0
    assert not [what for what in told if what.startswith("gamma")]
    assert "clahe of a region, mean ms" not in {row["what"] for row in World().run(monkeypatch, clahe=False).rows()}


def test_a_sign_is_recognised_where_class_and_place_agree(monkeypatch):
    truth = {0: [DrawnSign(7, BOX)], 1: [DrawnSign(8, BOX)], 2: [DrawnSign(7, (60, 60, 30, 30))]}
    seen = World().run(monkeypatch, truth)
    assert (seen.true_signs, seen.found, seen.recognised) == (3, 2, 1)


@pytest.mark.parametrize("clahe", [True, False])
@pytest.mark.parametrize("colour", [(0, 0, 0), (3, 2, 4), (255, 255, 255), (128, 128, 128), (255, 0, 0)])
def test_a_frame_without_a_region_asks_nobody(monkeypatch, colour, clahe):
    frame = np.full((100, 100, 3), colour, np.uint8)
    world = World(frame=frame)
    seen = world.run(monkeypatch, roi=None, clahe=clahe)
    assert (seen.frames, seen.signs, world.asked) == (FRAMES, 0, 0)


def test_a_film_with_and_without_signs_is_watched_whole(monkeypatch, tmp_path):
    sign = next(frame for frame, signs in video.drawn_frames(2.0, RATE, 0) if signs and video.regions(frame))
    dark = np.clip(np.random.default_rng(0).normal(8, 4, sign.shape), 0, 255).astype(np.uint8)
    shots = [np.zeros_like(sign), dark, sign, np.full_like(sign, (255, 0, 0)), sign, np.full_like(sign, 200)]
    writer = video.Writer(tmp_path / "film.avi", RATE, video.WIDTH, video.HEIGHT)
    for shot in shots:
        for _ in range(5):
            writer.write(shot)
    writer.close()
    source = video.Source(str(tmp_path / "film.avi"), RATE)
    world = World(source=source, expected=source.expected)
    seen = world.run(monkeypatch, roi=None, lines=tmp_path / "lines.jsonl", output=tmp_path / "out.avi")
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert seen.frames == 30 == len(lines)
    assert {bool(line["signs"]) for line in lines[:10] + lines[15:20]} == {False}
    assert all(line["signs"] for line in lines[10:15] + lines[20:25])


def test_a_region_below_the_confidence_is_no_sign(monkeypatch):
    assert World().run(monkeypatch, confidence=1.1).signs == 0
    assert World().run(monkeypatch, confidence=0.9).signs == FRAMES


def test_a_line_tells_the_signs_of_its_frame(monkeypatch, tmp_path):
    World().run(monkeypatch, lines=tmp_path / "said.jsonl")
    first = json.loads((tmp_path / "said.jsonl").read_text().splitlines()[0])
    assert first["frame"] == 0
    assert first["signs"] == [{"box": list(BOX), "class": 7, "sign": "speed limit 100", "confidence": 1.0}]
