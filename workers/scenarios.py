"""How a trained network is asked, and the clocks of its answers.

The names are those of MLPerf Inference. Source: Reddi et al. 2020, arXiv:1911.02549, section III; runs of less than
600 s are not MLPerf's.

single-stream  one picture; the next one is asked when its answer is there
multi-stream   several pictures at once, answered together; likewise
offline        batches, all of them there at the start: several are asked before the first answer is read
server         one picture at a time, at random moments (Poisson), whether or not the last one is answered

A latency runs from the moment at which pictures are there, as float32 arrays in the memory of this process, until their
logits are: of `server` from the moment at which they arrived, so that it includes their wait. Of `offline` it is that
of a series of batches, divided by their number. Nothing else happens in between, and the garbage collector is off.
"""

import gc
import math
import time
from typing import NamedTuple

import numpy

SERIES_SECONDS = 0.1  # of `offline`: that of one series of batches, about
QUEUED_LIMIT = 64  # of its batches, in one series
PROGRESS_SECONDS = 1.0
QUERY_LIMIT = 100000  # in one measurement: their latencies are one line of events.jsonl

PERCENTILE = 0.99
CONFIDENCE = 0.99
PROBES = 8  # rates that `server` tries
PROBE_QUERIES = 662  # so many prove the percentile with one late query among them; a probe lasts longer for them
PROBE_LONGER = 6  # but at most so many times as long
LATE_PROBE_SHARE = 0.1  # so large a share of late queries ends a probe: its rate is far too high
SPIN_SECONDS = 0.0005  # sleeping is that much too coarse


class Measured(NamedTuple):
    """The fields of a `queries` event that all scenarios have."""

    latency_seconds: list
    wall_seconds: float
    warmup_queries: int


def measure(adapter, samples, asked, seed, emit, clock, sleep=time.sleep):
    """Ask `adapter` as the scenario does; emits `queries`.

    adapter: with infer and logits. samples: pictures that were prepared, one query each; they are asked in turn.
    asked: Inference of workers/protocol.py. seed: of the arrivals of `server`.
    emit: emit(kind, **fields). clock: function without arguments, monotonic seconds.
    """
    gc.collect()
    gc.disable()
    try:
        run = Run(adapter, samples, asked, Progress(emit, clock, asked.seconds), clock)
        if asked.scenario == "server":
            emit("queries", **_server(run, seed, sleep))
        elif asked.scenario == "offline":
            emit("queries", **_offline(run)._asdict())
        else:
            emit("queries", **_streams(run)._asdict())
    finally:
        gc.enable()


SCENARIOS = ("single-stream", "multi-stream", "offline", "server")


class Run(object):
    """What a scenario works with: the adapter, its samples, what is asked, progress and the clock."""

    def __init__(self, adapter, samples, asked, progress, clock):
        self.adapter, self.samples, self.asked, self.progress, self.clock = adapter, samples, asked, progress, clock
        self.asked_queries = 0

    def answer(self):
        """Ask the next query, and wait for its logits."""
        self.adapter.logits(self.adapter.infer(self.next_sample()))

    def next_sample(self):
        """The pictures of the next query."""
        sample = self.samples[self.asked_queries % len(self.samples)]
        self.asked_queries += 1
        return sample


class Progress(object):
    """Emits at most once a second how much of a measurement is done; called between two queries."""

    def __init__(self, emit, clock, seconds):
        self._emit, self._seconds = emit, seconds
        self._began = self._said = clock()

    def tell(self, now):
        """The clock reading is `now`."""
        if now - self._said >= PROGRESS_SECONDS:
            self._said = now
            done = min(1000, int(1000 * (now - self._began) / max(self._seconds, 1e-9)))
            self._emit("progress", epoch=0, step=done, steps=1000)


def _streams(run):
    """Query by query."""
    latencies, clock = [], run.clock
    began = clock()
    warm, end = began + run.asked.warmup_seconds, began + run.asked.warmup_seconds + run.asked.seconds
    warmup, counted_from, now = 0, began, began
    while not latencies or (now < end and len(latencies) < QUERY_LIMIT):
        start = clock()
        run.answer()
        now = clock()
        if start < warm:
            warmup += 1
            counted_from = now
        else:
            latencies.append(now - start)
        run.progress.tell(now)
    return Measured(latencies, now - counted_from, warmup)


def _offline(run):
    """Series of batches: each is asked at once, and then all of its answers are read."""
    clock = run.clock
    began = clock()
    warm, end = began + run.asked.warmup_seconds, began + run.asked.warmup_seconds + run.asked.seconds
    latencies, warmup, counted_from, now, count = [], 0, began, began, 1
    while not latencies or (now < end and len(latencies) < QUERY_LIMIT):
        start = clock()
        handles = [run.adapter.infer(run.next_sample()) for _ in range(count)]
        for handle in handles:
            run.adapter.logits(handle)
        del handles
        now = clock()
        each = (now - start) / count
        if start < warm:
            warmup += count
            counted_from = now
            count = max(1, min(QUEUED_LIMIT, int(SERIES_SECONDS / max(each, 1e-9))))
        else:
            latencies.append(each)
        run.progress.tell(now)
    return Measured(latencies, now - counted_from, warmup)


def _server(run, seed, sleep):
    """The largest rate of random arrivals at which the 99th percentile stays below the bound, by halving.

    The first rate is tried that a system would reach whose answers take what they take one after the other.
    """
    alone = _streams(run)
    service = sorted(alone.latency_seconds)[len(alone.latency_seconds) // 2]
    least, most, best = 0.0, 1.0 / service, Measured([], 0.0, alone.warmup_queries)
    probes, rate = [], 0.0
    random = numpy.random.RandomState(seed)
    for _ in range(PROBES):
        tried = (least + most) / 2
        latencies, wall = _arrivals(run, tried, random, sleep)
        late = sum(1 for latency in latencies if latency > run.asked.bound_seconds)
        passed = is_early_enough(len(latencies), late, PERCENTILE, CONFIDENCE)
        probes.append([tried, len(latencies), late, passed])
        if passed:
            least = rate = tried
            best = Measured(latencies, wall, alone.warmup_queries)
        else:
            most = tried
    return dict(best._asdict(), rate=rate, probes=probes)


def _arrivals(run, rate, random, sleep):
    """(latencies, seconds) of queries that arrive at random at `rate` a second, each from its arrival."""
    latencies, clock = [], run.clock
    began = clock()
    arrival, late = began + random.exponential(1.0 / rate), 0
    end, last = began + run.asked.seconds, began + PROBE_LONGER * run.asked.seconds
    while (arrival < end or (arrival < last and len(latencies) < PROBE_QUERIES)) and len(latencies) < QUERY_LIMIT:
        _wait_until(arrival, clock, sleep)
        run.answer()
        now = clock()
        latencies.append(now - arrival)
        late += latencies[-1] > run.asked.bound_seconds
        run.progress.tell(now)
        if late > 10 and late > LATE_PROBE_SHARE * len(latencies):
            break
        arrival += random.exponential(1.0 / rate)
    return latencies, clock() - began


def _wait_until(moment, clock, sleep):
    """Sleep, then spin: a process that is woken late would count as latency of the network."""
    left = moment - clock()
    if left > SPIN_SECONDS:
        sleep(left - SPIN_SECONDS)
    while clock() < moment:
        pass


def is_early_enough(queries, late, percentile, confidence):
    """Whether so few late queries prove that the share `percentile` of all queries is in time.

    True if a system of which only that share is in time would have had no more late ones with a probability of at most
    1 - confidence. Source: MLPerf Inference rules, appendix "Early stopping", with a tolerance of 0.
    """
    return queries > 0 and _at_most(late, queries, 1.0 - percentile) <= 1.0 - confidence


def _at_most(count, draws, share):
    """The probability that at most `count` of `draws` events of probability `share` happen (binomial)."""
    logs = [
        math.lgamma(draws + 1)
        - math.lgamma(found + 1)
        - math.lgamma(draws - found + 1)
        + found * math.log(share)
        + (draws - found) * math.log1p(-share)
        for found in range(count + 1)
    ]
    return sum(math.exp(log) for log in logs)
