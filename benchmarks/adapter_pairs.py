"""Is waymark's loop with its adapter slower than a plain script of the same framework? Interleaved pairs, one interval.

    .venv/bin/python benchmarks/adapter_pairs.py pytorch resnet20 32 [--pairs 5] [--epochs 3] [--steps 20]
    WAYMARK_SOURCE=neon=PATH .venv/bin/python benchmarks/adapter_pairs.py neon:2.6-mkl idsia 48
    .venv/bin/python benchmarks/adapter_pairs.py pytorch resnet20 32 --engine host:/path/python --device gpu [--graph]
    .venv/bin/python benchmarks/adapter_pairs.py cntk resnet20 32 --own-loop

The plain script is benchmarks/plain_<framework>.py; it is given the row's own options as flags. Both run in the row's
virtualenv, with its variables, on the same prepared pictures, one after the other, in a new random order for
each pair. An epoch includes making the batches; each run's first epoch is warm-up. The ratio is adapter / plain:
if the interval contains 1.00, or is below, the adapter is not slower. Run it with nothing else running.
On a card both time epochs whose end waits for the card (sync=block in ours), and --graph compares with the plain step
captured as a CUDA graph: there the bound is 1 / 0.9 = 1.11.
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

from orchestrator import data
from orchestrator.analysis.ratios import TimedRun, judge, paired
from orchestrator.commands.images import catalogue_with
from orchestrator.data import datasets
from orchestrator.dataset import Dataset
from orchestrator.engines import open_engine, rows_of
from orchestrator.engines.engine import Launch
from orchestrator.engines.source import snapshot
from orchestrator.engines.virtualenv import worker_env
from orchestrator.errors import DataError
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import read_host
from orchestrator.networks import InputSize, Model, Network
from orchestrator.planning.gpu_fit import card_for, why_not
from orchestrator.records.job import trial_job
from orchestrator.records.run_folder import EVENTS, JOB, JobFolder
from orchestrator.trial import Measure, Training, Trial

MODELS = {
    "resnet20": Model(name="resnet", depth=20),
    "idsia": Model(name="idsia"),
    "mobilenet_v2": Model(name="mobilenet_v2"),
}


def pictures(size: int, home: Home):
    """GTSRB if it is registered, else drawn signs."""
    for dataset in (Dataset(), Dataset(name="synthetic")):
        try:
            sizes = [InputSize.square(size)]
            (prepared,) = data.prepare(dataset, sizes, home, lambda done, total: None).values()
        except DataError:
            continue
        return dataset, prepared, data.split(prepared, dataset)
    raise SystemExit("no pictures")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("subject", help="framework or framework:variant")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("size", type=int)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, help="of an epoch, for slow frameworks (default: as many as the pictures give)"
    )
    parser.add_argument(
        "--engine", default="virtualenv", help="virtualenv, or host[:PYTHON] for an installed framework"
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--graph", action="store_true", help="the plain script captures its step as a CUDA graph")
    parser.add_argument("--own-loop", action="store_true", help="the plain script uses CNTK's own training function")
    args = parser.parse_args()

    home, host = Home.default(), read_host()
    framework, _, variant = args.subject.partition(":")
    row = rows_of(args.engine, catalogue_with()).resolve(framework, args.device, variant or None)
    environment = open_engine(args.engine, home, host).prepare(row, print)
    card = card_for(row, host)
    if args.device == "gpu" and card is None:
        raise SystemExit(why_not(row, host))
    environment = environment.on(card) if card else environment
    source = snapshot(home)
    dataset, prepared, split = pictures(args.size, home)
    trial = Trial(
        framework=framework,
        variant=row.variant,
        model=MODELS[args.model],
        input_size=InputSize.square(args.size),
        device=args.device,
        seed=0,
        repeat=0,
        dataset=dataset,
        training=Training(epochs=args.epochs),
        measure=Measure(evaluate="end", sync="block" if card else "step"),
        threads=host.physical_cores,
    )
    classes = len(datasets.classes(dataset, home))
    network = Network.of(trial.model, trial.input_size, classes)
    launch = Launch(environment, "workers.run", source.path, home.root, None, (), 2**40, 3600.0)
    variables = {**worker_env(launch, "/nonexistent"), **environment.env}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source.path), environment.env.get("PYTHONPATH")]))

    def job_folder(folder: Path) -> Path:
        np.save(folder / "train.npy", split.train[: args.steps and args.steps * trial.training.batch_size])
        np.save(folder / "valid.npy", split.valid)
        JobFolder(folder).write(JOB, trial_job(trial, environment, network))
        return folder

    def adapter(folder: Path) -> list[float]:
        command = [environment.location, "-m", "workers.run", folder, prepared.path]
        subprocess.run(command, check=True, env=variables, capture_output=True)
        events = [json.loads(line) for line in (folder / EVENTS).read_text().splitlines()]
        return [event["epoch_seconds"] for event in events if event["kind"] == "epoch"][1:]

    def plain(folder: Path) -> list[float]:
        script = REPOSITORY / "benchmarks" / f"plain_{framework}.py"
        options = {"data": prepared.path, "split": folder, "model": args.model, "size": args.size}
        options |= {"epochs": args.epochs, "threads": host.physical_cores, **row.options}
        command = [environment.location, script, *(f"--{name}={value}" for name, value in options.items())]
        command += ["--device=cuda"] if card else []
        command += ["--graph"] if args.graph else []
        command += ["--own-loop"] if args.own_loop else []
        ended = subprocess.run(command, check=True, env=variables, capture_output=True, text=True)
        return json.loads(ended.stdout.splitlines()[-1])["epoch_seconds"][1:]

    order = random.Random(0)
    runs: dict[str, list[TimedRun]] = {"adapter": [], "plain": []}
    for pair in range(args.pairs):
        for name, measure in order.sample([("adapter", adapter), ("plain", plain)], 2):
            with tempfile.TemporaryDirectory() as folder:
                began, seconds = time.monotonic(), float(np.median(measure(job_folder(Path(folder)))))
            runs[name].append(TimedRun(began, seconds))
            print(f"pair {pair + 1} {name}: {seconds:.3f} s an epoch", flush=True)
    (ratio,) = judge([[paired(runs["plain"], runs["adapter"])]])
    print(
        f"{row.subject} {args.model}@{args.size}: adapter / plain = {ratio.effect:.3f} "
        f"{ratio.interval} over {ratio.pairs} pairs"
    )


if __name__ == "__main__":
    main()
