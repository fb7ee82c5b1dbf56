"""What the clocks of queries read, of a runtime whose latencies are known, with a clock that it moves."""

import gc

import numpy
import pytest

from workers import scenarios
from workers.protocol import Inference

SERVICE, STALL, TICK = 0.002, 0.050, 1e-5
ASKED = Inference("single-stream", 1, 10.0, 1.0, 0.015, "0" * 64)


class World(object):
    """A clock, and a runtime that takes SERVICE seconds, or STALL at each `every`-th query."""

    def __init__(self, every=0):
        self.now, self.every, self.count = 100.0, every, 0
        self.said, self.collecting, self.waiting = [], [], 0
        self.most_waiting = 0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def tick(self):
        """A clock that is read moves, or code that spins until a moment would never end."""
        self.now += TICK
        return self.now

    def emit(self, kind, **fields):
        self.said.append((kind, fields))

    def infer(self, sample):
        self.collecting.append(gc.isenabled())
        self.count += 1
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        self.now += STALL if self.every and self.count % self.every == 0 else SERVICE
        return sample

    def logits(self, handle):
        self.waiting -= 1
        return handle

    def measured(self, **changes):
        samples = [numpy.zeros((1, 3, 2, 2), numpy.float32)] * 4
        scenarios.measure(self, samples, ASKED._replace(**changes), 0, self.emit, self.tick, self.sleep)
        return next(fields for kind, fields in self.said if kind == "queries")


def test_a_stream_reads_the_latency_of_each_query():
    seen = World().measured()["latency_seconds"]
    assert seen == pytest.approx([SERVICE + TICK] * len(seen), rel=1e-6)


def test_a_stream_lasts_as_long_as_was_asked():
    seen = World().measured()
    assert sum(seen["latency_seconds"]) == pytest.approx(10.0, rel=0.02)
    assert seen["wall_seconds"] == pytest.approx(10.0, rel=0.001)


def test_queries_of_the_warm_up_are_counted_and_left_out():
    seen = World().measured(warmup_seconds=1.0)
    assert seen["warmup_queries"] == pytest.approx(500, rel=0.02)


def test_every_stall_is_in_the_latencies():
    seen = World(every=100).measured(warmup_seconds=0.0)["latency_seconds"]
    assert sum(latency > 0.04 for latency in seen) == len(seen) // 100


def test_one_query_at_least_is_counted():
    assert len(World().measured(seconds=1e-9, warmup_seconds=0.0)["latency_seconds"]) == 1


def test_offline_asks_several_batches_before_it_reads():
    world = World()
    world.measured(scenario="offline")
    assert world.most_waiting == pytest.approx(scenarios.SERIES_SECONDS / SERVICE, abs=1)


def test_offline_tells_the_seconds_of_a_batch():
    seen = World().measured(scenario="offline")["latency_seconds"]
    assert seen == pytest.approx([SERVICE] * len(seen), rel=0.01)


def test_no_garbage_is_collected_while_queries_are_answered():
    world = World()
    world.measured()
    assert not any(world.collecting)
    assert gc.isenabled()


def test_a_server_finds_a_rate_below_what_it_can_do():
    seen = World().measured(scenario="server", seconds=60.0)
    assert 0.5 / SERVICE < seen["rate"] < 1 / SERVICE


def test_a_latency_of_a_server_includes_the_wait():
    seen = World().measured(scenario="server", seconds=60.0)
    assert max(seen["latency_seconds"]) > 2 * SERVICE


def test_a_server_of_which_each_answer_is_late_has_no_rate():
    seen = World().measured(scenario="server", bound_seconds=SERVICE / 2)
    assert seen["rate"] == 0
    assert not any(passed for _, _, _, passed in seen["probes"])


def test_a_server_that_stalls_too_often_has_no_rate():
    # One of 50 is late by itself, so no rate has 99 % in time.
    assert World(every=50).measured(scenario="server", seconds=20.0)["rate"] == 0


def test_a_query_that_arrives_is_not_asked_before():
    world = World()
    run = scenarios.Run(world, [0], ASKED, world.emit, world.tick)
    latencies, wall = scenarios._arrivals(run, 100.0, numpy.random.RandomState(0), world.sleep)
    assert wall == pytest.approx(10.0, abs=1.0)
    assert min(latencies) >= SERVICE - 1e-9
    assert len(latencies) == pytest.approx(1000, abs=150)


@pytest.mark.parametrize(
    ("queries", "late", "passes"), [(661, 1, False), (662, 1, True), (458, 0, False), (459, 0, True)]
)
def test_as_many_queries_are_needed_as_mlperf_asks(queries, late, passes):
    assert scenarios.is_early_enough(queries, late, 0.99, 0.99) is passes


def test_no_query_proves_nothing():
    assert not scenarios.is_early_enough(0, 0, 0.99, 0.99)


def test_progress_is_told_at_most_once_a_second():
    world = World()
    world.measured()
    assert 8 <= sum(kind == "progress" for kind, _ in world.said) <= 12
