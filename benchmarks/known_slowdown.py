"""python -m benchmarks.known_slowdown [RUNS [BUDGET]]: what `invoke gate` finds of a known slowdown.

In a copy of the project the oracle gets a twin, whose step waits 0, 3, 5 or 10 % of its own time, busily. Each is put
through the gate RUNS times (default 6) with --allow=3% and that BUDGET (default 4m), and the verdict of the same pairs
is asked for.
"""

import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from orchestrator.home import REPOSITORY, Home
from orchestrator.records.store import Store
from tests.project_copy import copy_project, invoke
from tests.sweeping import SPEC

PERCENTS = (0, 3, 5, 10)

ADAPTER = '''
"""The oracle, slower by a known share: a step takes `percent` % more of its own time."""

import time

from workers.frameworks.numpy_ref import adapter

VERSION = adapter.VERSION
OPTIMISERS = getattr(adapter, "OPTIMISERS", {})


class Adapter(adapter.Adapter):
    def __init__(self, net, weights, device, settings, options):
        self._share = options.get("percent", 0) / 100
        rest = {name: value for name, value in options.items() if name != "percent"}
        adapter.Adapter.__init__(self, net, weights, device, settings, rest)

    def step(self, batch):
        began = time.perf_counter()
        loss = adapter.Adapter.step(self, batch)
        end = time.perf_counter() + self._share * (time.perf_counter() - began)
        while time.perf_counter() < end:
            pass
        return loss
'''


def add_twin(copy: Path) -> None:
    """The rows slowed:base and slowed:p0 ... slowed:p10, made of the oracle's."""
    shutil.copytree(copy / "docker" / "numpy_ref", copy / "docker" / "slowed")
    folder = copy / "workers" / "frameworks" / "slowed"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""The oracle, slower by a known share."""\n')
    (folder / "adapter.py").write_text(ADAPTER.lstrip())
    table = (REPOSITORY / "docker" / "numpy_ref" / "images.toml").read_text()
    head, row = table[: table.index("[")], table[table.index("[") :]
    name = row[row.index('"') + 1 : row.index('"', 2)]
    rows = [row.replace(f'"{name}"', '"base"')]
    rows += [
        row.replace(f'"{name}"', f'"p{percent}"') + f"options = {{ percent = {percent} }}\n" for percent in PERCENTS
    ]
    (copy / "docker" / "slowed" / "images.toml").write_text(head.replace(f'"{name}"', '"base"') + "\n".join(rows))


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    budget = sys.argv[2] if len(sys.argv) > 2 else "4m"
    with tempfile.TemporaryDirectory() as name:
        copy, home = copy_project(Path(name)), Path(name) / "home"
        add_twin(copy)
        home.mkdir()
        (home / "virtualenvs").symlink_to(Home.default().virtualenvs)
        spec = copy / "experiments" / "slowed.json"
        axes = {**SPEC["axes"], "frameworks": ["slowed"], "seeds": [0]}
        spec.write_text(json.dumps({**SPEC, "name": "slowed", "axes": axes}))
        say("| slower by | exit codes (3 % allowed) | verdicts of the first run | pairs |\n|---|---|---|---|")
        for percent in PERCENTS:
            codes, verdicts, pairs = Counter(), Counter(), []
            for _ in range(runs):
                subjects = ("slowed:base", f"slowed:p{percent}")
                before = run_ids(home)
                limits = ("--allow=3%", f"--budget={budget}")
                done = invoke(copy, home, "gate", *subjects, *limits, f"--spec={spec}", "--engine=virtualenv")
                codes[done.returncode] += 1
                if done.returncode not in (0, 10, 11):
                    say(done.stderr[-1000:])
                first = sorted(run_ids(home) - before)[0]
                (row,) = json.loads(invoke(copy, home, "compare", first, first, "--json").stdout)
                verdicts[row["verdict"]] += 1
                pairs.append(row["pairs"])
            say(f"| {percent} % | {told(codes)} | {told(verdicts)} | {min(pairs)} to {max(pairs)} |")
    return 0


def run_ids(home: Path) -> set[str]:
    if not (home / "store.sqlite").exists():
        return set()
    with Store.open(Home(home).store_url) as store:
        return {run.run_id for run in store.runs()}


def told(counts: Counter) -> str:
    return ", ".join(f"{value} ({count}x)" for value, count in counts.most_common())


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
