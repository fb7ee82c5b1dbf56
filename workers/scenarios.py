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

from workers.protocol import Progress

SCENARIOS = ("single-stream", "multi-stream", "offline", "server")

SERIES_SECONDS = 0.1  # of `offline`: that of one series of batches, about
QUEUED_LIMIT = 64  # of its batches, in one series
QUERY_LIMIT = 100000  # in one measurement: their latencies are one line of events.jsonl
PARTS = 1000  # that progress is told in

PERCENTILE = 0.99
CONFIDENCE = 0.99
PROBES = 8  # rates that `server` tries
PROBE_QUERIES = 662  # so many prove the percentile with one late query among them; a probe lasts longer for them
PROBE_LONGER = 6  # but at most so many times as long
LATE_PROBE_SHARE = 0.1  # so large a share of late queries ends a probe: its rate is far too high
SPIN_SECONDS = 0.0005  # sleeping is that much too coarse


class Measured(NamedTuple):
    """The fields of a `queries` event. answered: queries after the warm-up, which `offline` asks several at a time."""

    latency_seconds: list
    wall_seconds: float
    warmup_queries: int
    answered: int


def measure(adapter, samples, inference, seed, emit, clock, sleep=time.sleep):
    """Ask `adapter` as the scenario does; emits `queries`.

    adapter: with infer and logits. samples: pictures that were prepared, one query each; they are asked in turn.
    inference: Inference of workers/protocol.py. seed: of the arrivals of `server`.
    emit: emit(kind, **fields). clock: function without arguments, monotonic seconds.
    """
    run = Run(adapter, samples, inference, emit, clock)
    gc.collect()
    gc.disable()
    try:
        if inference.scenario == "server":
            fields = _server(run, seed, sleep)
        else:
            fields = _one_after_the_other(run, is_queued=inference.scenario == "offline")._asdict()
    finally:
        gc.enable()
    emit("queries", **fields)


class Run(object):
    """What a scenario works with: the adapter, its samples, what is asked for, and the clock."""

    def __init__(self, adapter, samples, inference, emit, clock):
        self._adapter, self._samples, self._next = adapter, samples, 0
        self.inference, self.clock = inference, clock
        self._progress, self._began = Progress(emit, clock, 0, PARTS), clock()

    def draw(self, count):
        """The pictures of the next queries."""
        queries = [self._samples[(self._next + at) % len(self._samples)] for at in range(count)]
        self._next += count
        return queries

    def answer(self, queries):
        """Ask all of them, then wait for the logits of each. Nothing else is inside a latency."""
        handles = [self._adapter.infer(query) for query in queries]
        for handle in handles:
            self._adapter.logits(handle)

    def tell(self, now):
        """Report progress between two queries."""
        share = (now - self._began) / (self.inference.warmup_seconds + self.inference.seconds)
        self._progress.tell(min(PARTS, int(PARTS * share)), now)


def _one_after_the_other(run, is_queued=False):
    """Query by query; with is_queued in series, each query counting as its share of the series."""
    clock, latencies, warmup, answered, count = run.clock, [], 0, 0, 1
    began = counted_from = now = clock()
    warm = began + run.inference.warmup_seconds
    end = warm + run.inference.seconds
    while not latencies or (now < end and len(latencies) < QUERY_LIMIT):
        queries = run.draw(count)
        start = clock()
        run.answer(queries)
        now = clock()
        each = (now - start) / count
        if start < warm:
            warmup += count
            counted_from = now
            count = max(1, min(QUEUED_LIMIT, int(SERIES_SECONDS / max(each, 1e-9)))) if is_queued else 1
        else:
            latencies.append(each)
            answered += count
        run.tell(now)
    return Measured(latencies, now - counted_from, warmup, answered)


def _server(run, seed, sleep):
    """The largest rate of random arrivals at which the 99th percentile stays below the bound, by halving.

    The rate at which answers follow each other without a pause is the highest that can be; half of it is tried first.
    """
    alone = _one_after_the_other(run)
    service = sorted(alone.latency_seconds)[len(alone.latency_seconds) // 2]
    least, most, best = 0.0, 1.0 / service, Measured([], 0.0, alone.warmup_queries, 0)
    probes, rate = [], 0.0
    random = numpy.random.RandomState(seed)
    for _ in range(PROBES):
        tried = (least + most) / 2
        latencies, wall = _arrivals(run, tried, random, sleep)
        late = sum(1 for latency in latencies if latency > run.inference.bound_seconds)
        passed = is_early_enough(len(latencies), late, PERCENTILE, CONFIDENCE)
        probes.append([tried, len(latencies), late, passed])
        if passed:
            least = rate = tried
            best = Measured(latencies, wall, alone.warmup_queries, len(latencies))
        else:
            most = tried
    return dict(best._asdict(), rate=rate, probes=probes)


def _arrivals(run, rate, random, sleep):
    """(latencies, seconds) of queries that arrive at random at `rate` a second, each from its arrival."""
    latencies, clock = [], run.clock
    began = clock()
    arrival, late = began + random.exponential(1.0 / rate), 0
    end, last = began + run.inference.seconds, began + PROBE_LONGER * run.inference.seconds
    while (arrival < end or (arrival < last and len(latencies) < PROBE_QUERIES)) and len(latencies) < QUERY_LIMIT:
        queries = run.draw(1)
        _wait_until(arrival, clock, sleep)
        run.answer(queries)
        now = clock()
        latencies.append(now - arrival)
        late += latencies[-1] > run.inference.bound_seconds
        run.tell(now)
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
