"""What audited steps cost the steps that are timed: trainings with and without them, in pairs, in one process.

    .venv/bin/python -m benchmarks.audit_overhead [ROW] [--model resnet20] [--size 32] [--batch 8] [--pairs 400]
        [--steps 60]

Both trainings of a pair go on with the same adapter, one after the other, and each of them first equally often; so the
two differ in the audits and in little else. The number is the median step: the interval of the ratio should hold 1.
A machine's speed drifts within seconds, so many pairs of short trainings tell more than few of long ones. The six steps
that come right after a copy are told beside the others of their training, and the seconds of the copies, which are
outside every clock. Run it with nothing else running.
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
    from tests.networks import net_of

    parser = argparse.ArgumentParser()
    parser.add_argument("row", nargs="?", default="pytorch")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    host = read_host()
    framework, _, variant = args.row.partition(":")
    row = catalogue_with().resolve(framework, "cpu", variant or None)
    where = open_engine("virtualenv", Home.default(), host).prepare(row, print)
    sizes = [args.size, args.batch, args.pairs, args.steps, host.physical_cores]
    ops = json.dumps(net_of(args.model, args.size).data)
    asked = [framework, ops, *sizes, json.dumps(row.options)]
    command = [where.location, Path(__file__), *map(str, asked)]
    env = {**os.environ, **where.env, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    (ratio,) = judge([[paired(*([TimedRun(*one) for one in told[side]] for side in ("without", "with")))]])
    print(f"{row.subject} {args.model}@{args.size}: without / with audits = {ratio.effect:.4f} {ratio.interval}")
    print(f"{ratio.pairs} pairs of {args.steps} steps in batches of {args.batch}")
    after, (low, high) = told["after"]
    print(f"a step right after a copy / the other steps of its training = {after:.4f} [{low:.3f}, {high:.3f}]")
    print(f"the copies of a training take {told['copies']:.4f} s, outside every clock")


def measure(framework: str, model: str, *numbers: str) -> None:
    """In the framework's interpreter: the median step of each training, as one line of JSON."""
    import numpy

    from workers import loop
    from workers.batches import Batches
    from workers.frameworks import Settings
    from workers.net import Net
    from workers.optimisers import rule_of
    from workers.protocol import Measure, Training

    size, batch, pairs, steps, threads = (int(number) for number in numbers[:5])
    adapter_class = importlib.import_module(f"workers.frameworks.{framework}.adapter").Adapter
    net = Net.of(json.loads(model))
    training = Training("sgd", "he_normal", 0.01, 0.9, batch, 1)
    adapter = adapter_class(net, net.start(0), "cpu", Settings(training, threads, 0), json.loads(numbers[5]))
    rng = numpy.random.RandomState(0)
    pictures = rng.randint(0, 255, (batch * steps, 3, size, size)).astype(numpy.uint8)
    batches = Batches(pictures, rng.randint(0, 43, batch * steps), batch)

    def train(audits: int) -> tuple:
        began, told = time.perf_counter(), []
        asked = loop.Asked(0, 1, Measure("step", "host", 0, 0, 0.0, "end", "none", audits), rule_of(training))
        kept = loop.train(adapter, batches, None, asked, lambda kind, **fields: told.append(fields), time.perf_counter)
        (seconds,) = (fields["step_seconds"] for fields in told if "step_seconds" in fields)
        return began, numpy.array(seconds), kept

    train(2)
    found, copies, after = {"without": [], "with": []}, [], []
    for pair in range(pairs):
        sides = (("without", 0), ("with", 2))
        for side, audits in sides if pair % 2 == 0 else sides[::-1]:
            began, seconds, kept = train(audits)
            found[side].append([began, float(numpy.median(seconds))])
            if audits:
                copies.append(kept.seconds)
                is_after = numpy.isin(numpy.arange(steps), list(kept.due(0)))
                after.append(float(numpy.log(numpy.median(seconds[is_after]) / numpy.median(seconds[~is_after]))))
        sys.stderr.write(f"pair {pair + 1}/{pairs}\n")
    middle, half = numpy.mean(after), 1.96 * numpy.std(after, ddof=1) / pairs**0.5
    told = [float(numpy.exp(middle)), [float(numpy.exp(middle - half)), float(numpy.exp(middle + half))]]
    sys.stdout.write(json.dumps(dict(found, copies=float(numpy.median(copies)), after=told)) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 9 and sys.argv[3].isdigit():
        measure(*sys.argv[1:])
    else:
        main()
