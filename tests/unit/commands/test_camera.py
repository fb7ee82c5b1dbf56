"""Frames that come at their rate to a worker whose latency is known, with a clock that the test moves."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from orchestrator.commands import camera
from orchestrator.console.progress import Console
from orchestrator.data.video import DrawnSign, Frame
from orchestrator.records.run_folder import TrainedWeights
from orchestrator.trial import Dataset
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
    expected: int = FRAMES
    frames_per_second: float = RATE
    was_stopped: bool = False
    asked: int = 0
    seen: list = field(default_factory=list)

    def perf_counter(self):
        self.now += 1e-6
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def read(self):
        if self.taken >= FRAMES:
            return None
        self.taken += 1
        self.seen.append(self.taken - 1)
        return Frame(self.taken - 1, (self.taken - 1) / RATE, np.zeros((100, 100, 3), np.uint8))

    def skip(self):
        self.taken += 1
        return self.taken <= FRAMES

    def ask(self, pictures):
        self.asked += 1
        seconds = self.stall if self.every and self.asked % self.every == 0 else self.service
        self.now += seconds
        logits = np.zeros((len(pictures), CLASSES), np.float32)
        logits[:, 7] = 20.0
        return logits, seconds

    def run(self, monkeypatch, truth=None, **changes):
        monkeypatch.setattr(camera, "time", SimpleNamespace(perf_counter=self.perf_counter, sleep=self.sleep))
        weights = TrainedWeights(
            model=fake.RESNET,
            input_size=32,
            dataset=Dataset(),
            sha256="f" * 64,
            run_id="20261121-120000-quick",
            folder="0001-any",
            subject="any:1",
        )
        asked = {"source": "any", "subject": ("any", None), "weights": weights, "roi": BOX, **changes}
        return camera._Pipeline(camera.WatchRequest(**asked), self, self, truth or {}).run(Console())


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


def test_each_stage_has_its_clock(monkeypatch):
    seen = World(service=0.02).run(monkeypatch)
    assert {name: len(of) for name, of in seen.stages.items()} == dict.fromkeys(camera.STAGES, FRAMES)
    assert seen.stages["infer"] == pytest.approx([0.02] * FRAMES)


def test_a_sign_is_recognised_where_class_and_place_agree(monkeypatch):
    truth = {0: [DrawnSign(7, BOX)], 1: [DrawnSign(8, BOX)], 2: [DrawnSign(7, (60, 60, 30, 30))]}
    seen = World().run(monkeypatch, truth)
    assert (seen.true_signs, seen.found, seen.recognised) == (3, 2, 1)


def test_a_region_below_the_confidence_is_no_sign(monkeypatch):
    assert World().run(monkeypatch, confidence=1.1).signs == 0
    assert World().run(monkeypatch, confidence=0.9).signs == FRAMES


def test_a_line_tells_the_signs_of_its_frame(monkeypatch, tmp_path):
    World().run(monkeypatch, lines=tmp_path / "said.jsonl")
    first = json.loads((tmp_path / "said.jsonl").read_text().splitlines()[0])
    assert first["frame"] == 0
    assert first["signs"] == [{"box": list(BOX), "class": 7, "sign": "speed limit 100", "confidence": 1.0}]
