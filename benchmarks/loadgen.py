"""Do our percentiles and early-stopping estimates agree with MLPerf's own load generator? One stream, known latencies.

    pip install mlcommons-loadgen scipy numpy        in an environment of its own
    python benchmarks/loadgen.py [QUERIES]           with the clone on PYTHONPATH

A system that answers after known times, drawn once, with a stall now and then, is asked by loadgen; the summary that it
writes is read. Our figures come from the same times. Printed: both, and by how much they differ.
"""

import re
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from orchestrator.analysis import latency

STALL_SECONDS, EVERY = 0.02, 50


def main() -> None:
    import mlperf_loadgen

    queries = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    rng = np.random.default_rng(0)
    times = rng.uniform(0.001, 0.002, queries)
    times[::EVERY] = STALL_SECONDS
    taken: list[float] = []

    def answer(samples) -> None:
        def work() -> None:
            began = time.perf_counter()
            end = began + times[len(taken) % queries]
            while time.perf_counter() < end:
                pass
            taken.append(time.perf_counter() - began)
            mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(samples[0].id, 0, 0)])

        threading.Thread(target=work).start()

    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_query_count = settings.max_query_count = queries
    settings.min_duration_ms = 0
    system = mlperf_loadgen.ConstructSUT(answer, lambda: None)
    library = mlperf_loadgen.ConstructQSL(1024, 1024, lambda samples: None, lambda samples: None)
    with tempfile.TemporaryDirectory() as folder:
        outputs = mlperf_loadgen.LogOutputSettings()
        outputs.outdir = folder
        logs = mlperf_loadgen.LogSettings()
        logs.log_output = outputs
        mlperf_loadgen.StartTestWithLogSettings(system, library, settings, logs)
        said = (Path(folder) / "mlperf_log_summary.txt").read_text()
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroySUT(system)
    print("| figure | loadgen, ms | ours, ms | difference |\n|---|---|---|---|")
    for share in (0.5, 0.9, 0.99):
        theirs = _number(rf"{100 * share:.2f} percentile latency \(ns\)\s*:\s*(\d+)", said)
        _row(f"p{100 * share:.0f}", theirs, latency.percentile(taken, share))
    for share in (0.9, 0.99):
        theirs = _number(rf"Early Stopping {100 * share:.0f}th Percentile Estimate[^:=]*[:=]\s*(\d+)", said)
        _row(f"proven p{100 * share:.0f}", theirs, latency.proven(taken, share))


def _number(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text)
    return int(found[1]) / 1e6 if found else None


def _row(name: str, theirs: float | None, ours: float | None) -> None:
    ms = None if ours is None else 1000 * ours
    off = "–" if theirs is None or ms is None else f"{ms / theirs - 1:+.2%}"
    print(f"| {name} | {theirs} | {ms} | {off} |")


if __name__ == "__main__":
    main()
