"""python -m benchmarks.random_kills N: kills a small sweep N times at random moments, resumes it, and counts faults.

lost: a trial without a result after the last resume. doubled: two folders or rows of one trial. leaked: a draft that
`invoke reap` finds. orphaned: a worker that outlived its sweep by three seconds. Exit code 0 if all are 0.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from orchestrator.engines.orphans import running_workers
from orchestrator.home import REPOSITORY, Home
from orchestrator.records.run_folder import RunFolder
from orchestrator.records.store import Store
from tests.sweeping import SPEC

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
INVOKE = (sys.executable, "-m", "invoke")
LONGEST_SECONDS = 9.0


def main(kills: int, seed: int) -> int:
    """Kill and resume; prints a line for each run that came to its end, and the counts. Gives the exit code."""
    rng, wrong = random.Random(seed), Counter(lost=0, doubled=0, leaked=0, orphaned=0)
    with tempfile.TemporaryDirectory(prefix="waymark-kills-") as folder:
        home = Home(Path(folder) / "home")
        home.root.mkdir()
        home.virtualenvs.symlink_to(Home.default().virtualenvs)
        spec = Path(folder) / "tiny.json"
        spec.write_text(json.dumps(SPEC), encoding="utf-8")
        variables = {**os.environ, "WAYMARK_HOME": str(home.root), "WAYMARK_REPORTS": f"{folder}/reports"}
        fresh = (*INVOKE, "sweep", f"--spec={spec}", "--engine=virtualenv")
        subprocess.run(fresh, cwd=REPOSITORY, env=variables, check=True, capture_output=True)  # its selfcheck passes
        done, at = {path.name for path in home.runs.iterdir()}, 0
        while at < kills:
            begun = sorted(path.name for path in home.runs.iterdir() if path.name not in done)
            argv = (*INVOKE, "sweep", f"--resume={begun[-1]}") if _is_resumable(home, begun) else fresh
            with subprocess.Popen(argv, cwd=REPOSITORY, env=variables, stderr=subprocess.DEVNULL, stdout=-3) as sweep:
                try:
                    sweep.wait(rng.uniform(0.0, LONGEST_SECONDS))
                except subprocess.TimeoutExpired:
                    sweep.send_signal(rng.choice(SIGNALS))
                    at += 1
            deadline = time.monotonic() + 3.0
            while running_workers(home.root) and time.monotonic() < deadline:
                time.sleep(0.05)
            wrong["orphaned"] += len(running_workers(home.root))
            if sweep.returncode == 0:
                name = (_newest(home, done) or begun)[-1]
                wrong.update(_faults(home, name))
                done.add(name)
                print(f"{name}: whole after {at} kills so far", flush=True)
        for name in [path.name for path in home.runs.iterdir() if path.name not in done]:
            if _is_resumable(home, [name]):
                resume = (*INVOKE, "sweep", f"--resume={name}")
                subprocess.run(resume, cwd=REPOSITORY, env=variables, check=True, capture_output=True)
                wrong.update(_faults(home, name))
        wrong["leaked"] += len([*home.workers.glob(".draft-*"), *home.data.glob(".draft-*")])
    print(f"{at} kills: {', '.join(f'{count} {name}' for name, count in wrong.items())}")
    return 1 if any(wrong.values()) else 0


def _is_resumable(home: Home, names: list[str]) -> bool:
    return bool(names) and (home.runs / names[-1] / "run.json").exists()


def _newest(home: Home, done: set[str]) -> list[str]:
    return sorted(path.name for path in home.runs.iterdir() if path.name not in done)[-1:]


def _faults(home: Home, name: str) -> Counter[str]:
    """What is wrong with a run that has come to its end."""
    jobs, refused = RunFolder(home.runs / name).jobs()
    keys = [record.trial.key for _, record in jobs.values() if record.trial]
    with Store.open(home.store_url) as store:
        trials = store.run(name).trials
    ok = {trial.trial.key for trial in trials if trial.outcome.status == "ok"}
    return Counter(
        lost=len(SPEC["axes"]["seeds"]) - len(ok),
        doubled=len(keys) - len(set(keys)) + len(trials) - len(ok) + len(refused),
    )


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), seed=int(sys.argv[2]) if len(sys.argv) > 2 else 0))
