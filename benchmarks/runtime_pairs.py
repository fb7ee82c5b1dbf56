"""Is waymark slower than the plainest script of a runtime, one picture at a time? Interleaved pairs, one interval each.

    .venv/bin/python -m benchmarks.runtime_pairs [--model resnet20|idsia] [--pairs 6] [--seconds 5] [RUNTIME ...]

The plain scripts are in benchmarks/plain_runtime.py. Both run in the row's virtualenv, on the same weights and as many
threads, one after the other, in a new random order for each pair. The ratio is waymark / plain: if the interval
contains 1.00, or lies below, waymark is not slower. Run it with nothing else running.
"""

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from orchestrator.analysis.ratios import TimedRun, judge, paired
from orchestrator.commands.images import catalogue_with
from orchestrator.dataset import Dataset
from orchestrator.engines import open_engine
from orchestrator.engines.source import snapshot
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import read_host
from orchestrator.networks import InputSize, Model, Network
from orchestrator.records.job import trial_job
from orchestrator.records.run_folder import EVENTS, JOB, START, JobFolder
from orchestrator.trial import Inference, Measure, Training, Trial
from workers.net import weights_sha256

RUNTIMES = {
    "jax": "0.10",
    "litert": "2.3",
    "ncnn": "1.0-float32",
    "onnxruntime": "1.32",
    "opencv": "5.0",
    "openvino": "2026.4-float32",
}
MODELS = {"resnet20": (Model(name="resnet", depth=20), 32), "idsia": (Model(name="idsia"), 48)}
CLASSES, PICTURES = 43, 300


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runtimes", nargs="*", default=list(RUNTIMES))
    parser.add_argument("--model", choices=MODELS, default="resnet20")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    for runtime in args.runtimes:
        print(compare(runtime, args.model, args.pairs, args.seconds), flush=True)


def compare(runtime: str, model: str, pairs: int, seconds: float) -> str:
    """One sentence about a runtime."""
    home, host = Home.default(), read_host()
    row = catalogue_with().resolve(runtime, "cpu", RUNTIMES[runtime])
    environment = open_engine("virtualenv", home, host).prepare(row, print)
    source, (network, size) = snapshot(home), MODELS[model]
    built = Network.of(network, InputSize.square(size), CLASSES)
    net = built.net
    weights = net.start(0)
    inference = Inference(
        scenario="single-stream",
        batch_size=1,
        seconds=seconds,
        warmup_seconds=seconds / 10,
        bound_seconds=1.0,
        weights_sha256=weights_sha256(weights),
    )
    trial = Trial(
        kind="infer",
        framework=runtime,
        variant=row.variant,
        model=network,
        input_size=InputSize.square(size),
        device="cpu",
        seed=0,
        repeat=0,
        dataset=Dataset(name="synthetic"),
        training=Training(),
        measure=Measure(),
        threads=host.physical_cores,
        inference=inference,
    )
    env = {**os.environ, **environment.env, "PYTHONPATH": str(source.path)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / START, **weights)
        rng = np.random.RandomState(0)
        np.save(folder / "test_x.npy", rng.randint(0, 256, (PICTURES, 3, size, size)).astype(np.uint8))
        np.save(folder / "test_y.npy", rng.randint(0, CLASSES, PICTURES).astype(np.int64))
        script = REPOSITORY / "benchmarks" / "plain_runtime.py"
        (folder / "ops.json").write_text(json.dumps(net.data))
        write = [environment.location, script, "write", runtime, folder / START, folder / "ops.json", folder]
        subprocess.run(write, check=True, env=env, capture_output=True)

        def ours() -> float:
            with tempfile.TemporaryDirectory() as job:
                JobFolder(Path(job)).write(JOB, trial_job(trial, environment, built))
                (Path(job) / START).write_bytes((folder / START).read_bytes())
                command = [environment.location, "-m", "workers.run", job, folder]
                subprocess.run(command, check=True, env=env, capture_output=True)
                events = [json.loads(line) for line in (Path(job) / EVENTS).read_text().splitlines()]
            (queries,) = [event for event in events if event["kind"] == "queries"]
            return float(np.median(queries["latency_seconds"]))

        def plain() -> float:
            command = [environment.location, script, runtime, model, folder, str(host.physical_cores), str(seconds)]
            ended = subprocess.run(command, check=True, env=env, capture_output=True, text=True)
            return float(json.loads(ended.stdout.splitlines()[-1])["seconds"])

        order = random.Random(0)
        runs: dict[str, list[TimedRun]] = {"ours": [], "plain": []}
        for _ in range(pairs):
            for who, measure in order.sample([("ours", ours), ("plain", plain)], 2):
                runs[who].append(TimedRun(time.monotonic(), measure()))
    (ratio,) = judge([[paired(runs["plain"], runs["ours"])]])
    middle = float(np.median([run.seconds for run in runs["ours"]])) * 1000
    said = f"waymark / plain = {ratio.effect:.3f} {ratio.interval or 'no interval'}"
    return f"{row.subject} {model}: {middle:.3f} ms; {said} over {pairs} pairs"


if __name__ == "__main__":
    main()
