"""What audited steps cost the steps that are timed: trainings with and without them, in pairs, in one process.

    .venv/bin/python -m benchmarks.audit_overhead [ROW] [--model resnet20] [--size 32] [--pairs 40] [--steps 30]

Both trainings of a pair go on with the same adapter, one after the other, and each of them first equally often; so the
two differ in the audits and in little else. The number is the median step: the interval of the ratio should hold 1.
The seconds of the copies are told too; they are outside every clock. Run it with nothing else running.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    from orchestrator.analysis.ratios import TimedRun, judge, paired
    from orchestrator.commands.images import catalogue_with
    from orchestrator.engines import open_engine
    from orchestrator.home import Home
    from orchestrator.host import read_host

    parser = argparse.ArgumentParser()
    parser.add_argument("row", nargs="?", default="pytorch")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=30)
    args = parser.parse_args()
    host = read_host()
    framework, _, variant = args.row.partition(":")
    row = catalogue_with().resolve(framework, "cpu", variant or None)
    where = open_engine("virtualenv", Home.default(), host).prepare(row, print)
    asked = [framework, args.model, args.size, args.pairs, args.steps, host.physical_cores, json.dumps(row.options)]
    command = [where.location, Path(__file__), *map(str, asked)]
    env = {**os.environ, **where.env, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    (ratio,) = judge([[paired(*([TimedRun(*one) for one in told[side]] for side in ("without", "with")))]])
    print(f"{row.subject} {args.model}@{args.size}: without / with audits = {ratio.effect:.4f} {ratio.interval}")
    print(f"{ratio.pairs} pairs of {args.steps} steps; two copies around a step take {told['copies']:.3f} s")


def measure(framework: str, model: str, *numbers: str) -> None:
    """In the framework's interpreter: the median step of each training, as one line of JSON."""
    import numpy

    from workers import loop, models
    from workers.batches import Batches
    from workers.frameworks import Settings
    from workers.protocol import Measure, Training

    size, pairs, steps, threads = (int(number) for number in numbers[:4])
    adapter_class = importlib.import_module(f"workers.frameworks.{framework}.adapter").Adapter
    params = {"depth": int(model[6:])} if model.startswith("resnet") else {}
    net = models.build("resnet" if params else model, 43, size, **params)
    training = Training("sgd", "he_normal", 0.01, 0.9, 64, 1)
    adapter = adapter_class(net, net.start(0), "cpu", Settings(training, threads, 0), json.loads(numbers[4]))
    rng = numpy.random.RandomState(0)
    pictures = rng.randint(0, 255, (64 * steps, 3, size, size)).astype(numpy.uint8)
    batches = Batches(pictures, rng.randint(0, 43, 64 * steps), 64)

    def train(audits: int) -> tuple:
        began, told = time.perf_counter(), []
        asked = loop.Asked(0, 1, Measure("step", "host", 0, 0, 0.0, "end", "none", audits))
        kept = loop.train(adapter, batches, None, asked, lambda kind, **fields: told.append(fields), time.perf_counter)
        (seconds,) = (fields["step_seconds"] for fields in told if "step_seconds" in fields)
        return began, float(numpy.median(seconds)), kept.seconds

    train(2)
    found, copies = {"without": [], "with": []}, []
    for pair in range(pairs):
        sides = (("without", 0), ("with", 2))
        for side, audits in sides if pair % 2 == 0 else sides[::-1]:
            began, step, copied = train(audits)
            found[side].append([began, step])
            copies += [copied] if audits else []
        sys.stderr.write(f"pair {pair + 1}/{pairs}\n")
    sys.stdout.write(json.dumps(dict(found, copies=float(numpy.median(copies)))) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 8 and sys.argv[3].isdigit():
        measure(*sys.argv[1:])
    else:
        main()
