"""Are our percentiles and early-stopping estimates those of MLPerf's own load generator? One stream, known latencies.

    pip install mlcommons-loadgen scipy numpy        in an environment of its own
    python benchmarks/loadgen.py [QUERIES]           with the clone on PYTHONPATH

A system that answers after known times, with a stall now and then, is asked by loadgen. Its summary has its figures,
and its trace the latency of each query, to the nanosecond; ours are computed from these.
"""

import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from orchestrator.analysis import latency

STALL_SECONDS, EVERY = 0.01, 50


def main() -> int:
    said, latencies = asked_by_loadgen(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
    print("| figure | loadgen, ns | ours, ns |\n|---|---|---|")
    differ = 0
    for share in (0.9, 0.99):
        theirs = _said(rf"Early stopping {100 * share:.1f}th percentile estimate: (\d+)", said)
        ours = latency.proven(latencies, share)
        differ += theirs != (None if ours is None else round(ours))
        print(f"| proven p{100 * share:.0f} | {theirs} | {ours and round(ours)} |")
    for share in (0.5, 0.9, 0.99):
        theirs = _said(rf"\n{100 * share:.2f} percentile latency \(ns\)\s*: (\d+)", said)
        # Loadgen takes the next larger latency, and no mean of two.
        ours = float(np.quantile(latencies, share, method="higher"))
        print(f"| p{100 * share:.0f} | {theirs} | {ours:.0f} |")
    return 1 if differ else 0


def asked_by_loadgen(queries: int) -> tuple[str, list[int]]:
    """The summary, and the latency of each query in nanoseconds."""
    import mlperf_loadgen

    times = np.random.default_rng(0).uniform(0.0005, 0.001, queries)
    times[::EVERY] = STALL_SECONDS
    left = iter(times.tolist())

    def answer(samples) -> None:
        end = time.perf_counter() + next(left)
        while time.perf_counter() < end:
            pass
        mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(samples[0].id, 0, 0)])

    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_query_count = settings.max_query_count = queries
    settings.min_duration_ms = 0
    system = mlperf_loadgen.ConstructSUT(answer, lambda: None)
    library = mlperf_loadgen.ConstructQSL(1024, 1024, lambda samples: None, lambda samples: None)
    with tempfile.TemporaryDirectory() as folder:
        outputs, logs = mlperf_loadgen.LogOutputSettings(), mlperf_loadgen.LogSettings()
        outputs.outdir = folder
        logs.log_output, logs.enable_trace = outputs, True
        mlperf_loadgen.StartTestWithLogSettings(system, library, settings, logs)
        said = (Path(folder) / "mlperf_log_summary.txt").read_text()
        trace = (Path(folder) / "mlperf_log_trace.json").read_text()
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroySUT(system)
    found = re.findall(r'"issue_start_ns":(\d+),"complete_ns":(\d+)', trace)
    return said, [int(complete) - int(issued) for issued, complete in found]


def _said(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text)
    return int(found[1]) if found else None


if __name__ == "__main__":
    raise SystemExit(main())
