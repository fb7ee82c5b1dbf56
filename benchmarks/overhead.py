"""Waymark's own overhead per trial, from the clocks of a finished run.

start:  from asking the engine for a process to the start of the first training step, less the framework's import;
outside: share of a trial's wall time that is neither import, nor training, nor evaluation.

    .venv/bin/python benchmarks/overhead.py [RUN]
"""

import argparse
import json

import numpy as np

from orchestrator.home import Home
from orchestrator.records.store import Store


def main(run_id: str | None) -> None:
    with Store.open(Home.default().store_url) as store:
        newest = None if run_id else store.latest_sweep()
        if not run_id and newest is None:
            raise SystemExit("no sweep is on record; run one first, or name a run")
        stored = store.run(run_id or newest.run_id)
    rows = []
    for trial in stored.trials:
        if trial.outcome.status != "ok":
            continue
        events = {event.kind: event for event in trial.events}
        hello, training = events["hello"].fields, events["training"]
        imported = hello["import_seconds"]
        start = hello["started_unix"] + training.t - trial.exit.launched_unix - imported
        busy = imported
        busy += sum(event.fields["epoch_seconds"] for event in trial.events if event.kind == "epoch")
        busy += sum(event.fields["evaluate_seconds"] for event in trial.events if event.kind == "score")
        wall = trial.exit.wall_seconds
        rows.append(
            {
                "trial": trial.trial.label,
                "start_seconds": round(start, 3),
                "wall_seconds": round(wall, 1),
                "outside_percent": round(100 * (wall - busy) / wall, 2),
            }
        )
    print(json.dumps({"run": stored.facts.run_id, "trials": rows}, indent=1))
    print(f"start: median {np.median([row['start_seconds'] for row in rows]):.3f} s over {len(rows)} trials")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", nargs="?", help="a run's id (default: the newest sweep)")
    main(parser.parse_args().run)
