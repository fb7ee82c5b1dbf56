"""The cost of telemetry: the time of one sample, as a share of the second between two; and an A/B comparison.

    .venv/bin/python benchmarks/telemetry_overhead.py [--samples 300] [--pairs 6] [--rate 20]

First the sampler is called repeatedly, as in a trial on this machine's processors and, if there is one, its first card:
median and maximum of wall time and of processor time, and both as a share of a second. Then pairs of fresh processes
that do a fixed amount of work are run by the engine's own runner, with and without telemetry in its tick, in a new
random order for each pair; --rate sets the samples per second, to make a small cost visible.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from orchestrator.analysis.ratios import TimedRun, judge, paired
from orchestrator.engines import process
from orchestrator.host import Telemetry, read_host, telemetry
from orchestrator.host.telemetry import PERIOD_SECONDS, Sampler

BOUND_PERCENT = 0.5

WORK = """
import time
import numpy
a = numpy.random.RandomState(0).rand(400, 400)
numpy.dot(a, a)
began = time.perf_counter()
for _ in range({rounds}):
    numpy.dot(a, a)
print(time.perf_counter() - began)
"""


def sampling(count: int) -> float:
    """Prints what one sample costs; the worse of the two medians, in percent of a second."""
    host = read_host()
    sampler = Sampler(host.cpus, host.gpus[0] if host.gpus else None)
    seconds = []
    for _ in range(count):
        wall, cpu = time.perf_counter(), time.thread_time()
        sampler.read().model_dump_json(exclude_none=True)
        seconds.append((time.perf_counter() - wall, time.thread_time() - cpu))
        time.sleep(0.01)
    sampler.close()
    taken = np.array(seconds)
    for name, column in (("wall", taken[:, 0]), ("processor", taken[:, 1])):
        print(
            f"a sample: {name} {np.median(column) * 1000:.3f} ms, at worst {column.max() * 1000:.3f} ms; "
            f"{100 * np.median(column) / PERIOD_SECONDS:.3f} % of the second between two"
        )
    return float(100 * np.median(taken, axis=0).max() / PERIOD_SECONDS)


def run(rounds: int, is_watched: bool, cpus: tuple[int, ...]) -> float:
    """Seconds of the work in its own process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        argv = (sys.executable, "-c", WORK.format(rounds=rounds))
        command = process.Command(argv, folder, {"OMP_NUM_THREADS": str(len(cpus))}, folder / "log", 600.0, cpus)
        if is_watched:
            with Telemetry(folder / "telemetry.jsonl", cpus, None) as watch:
                process.run(command, watch.tick)
        else:
            process.run(command, lambda: None)
        return float((folder / "log").read_text())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=1.0, help="samples a second in the A/B")
    args = parser.parse_args()
    percent = sampling(args.samples)
    print(f"{'below' if percent < BOUND_PERCENT else 'NOT below'} the {BOUND_PERCENT} % that are allowed")
    if args.pairs:
        telemetry.PERIOD_SECONDS = 1 / args.rate
        cpus, order = read_host().cpus, random.Random(0)
        runs: dict[bool, list[TimedRun]] = {True: [], False: []}
        for _ in range(args.pairs):
            for is_watched in order.sample([True, False], 2):
                runs[is_watched].append(TimedRun(time.monotonic(), run(args.rounds, is_watched, cpus)))
        (ratio,) = judge([[paired(runs[False], runs[True])]])
        middle = np.median([one.seconds for one in runs[False]])
        print(
            f"watched / unwatched at {args.rate:g} samples a second = {ratio.effect:.4f} "
            f"{ratio.interval} over {ratio.pairs} pairs of {middle:.1f} s"
        )


if __name__ == "__main__":
    main()
