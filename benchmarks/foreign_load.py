"""python -m benchmarks.foreign_load [TRIALS]: what a trial reports of other work on its processors.

A small sweep of TRIALS (default 50) on the idle machine, where none may be over the 2 % of a caveat; then five trials
each beside one process that works half of the time, and beside one that works all the time.
"""

import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.analysis.utilisation import FOREIGN_CAVEAT_PERCENT, foreign_percent
from orchestrator.commands import sweep
from orchestrator.console.progress import Console
from orchestrator.execution.session import RunOptions
from orchestrator.home import REPOSITORY, Home
from orchestrator.planning.catalogue import Catalogue
from tests.sweeping import SPEC


def _work(share: float) -> None:
    while True:
        end = time.perf_counter() + 0.1 * share
        while time.perf_counter() < end:
            pass
        time.sleep(0.1 * (1 - share))


def _measured(folder: Path, framework: str, repeats: int, limit_percent: float) -> list[float]:
    axes = {**SPEC["axes"], "frameworks": [framework], "seeds": [0], "repeats": repeats}
    limits = {**SPEC["limits"], "foreign_percent": limit_percent}
    epochs = {"epochs": 10, "batch_size": 16}
    spec = folder / "load.json"
    spec.write_text(json.dumps({**SPEC, "axes": axes, "limits": limits, "training": epochs}), encoding="utf-8")
    request = sweep.SweepRequest(spec, options=RunOptions(engine="virtualenv"))
    catalogue = Catalogue.load(REPOSITORY / "docker")
    home = Home(folder / "home")
    result = sweep.sweep(request, catalogue, home, folder / "reports", Console())
    shares = [foreign_percent(one.samples, one.timeline) for one in result.report.stored.trials]
    return [share for share in shares if share is not None]


def main(trials: int, framework: str = "numpy_ref") -> int:
    """Print the shares; gives 1 if an idle trial was over the caveat."""
    with tempfile.TemporaryDirectory(prefix="waymark-load-") as name:
        folder = Path(name)
        (folder / "home").mkdir()
        (folder / "home" / "virtualenvs").symlink_to(Home.default().virtualenvs)
        idle = _measured(folder, framework, trials, limit_percent=100)
        over = [share for share in idle if share > FOREIGN_CAVEAT_PERCENT]
        median = sorted(idle)[len(idle) // 2]
        print(f"idle: {len(idle)} trials, median {median:.2f} %, most {max(idle):.2f} %, {len(over)} over 2 %")
        for share in (0.5, 1.0):
            other = multiprocessing.Process(target=_work, args=(share,), daemon=True)
            other.start()
            beside = _measured(folder, framework, 5, limit_percent=100)
            other.kill()
            other.join()
            shown = ", ".join(f"{one:.0f}" for one in beside)
            print(f"beside a process that works {share:.0%} of the time: {shown} % of the trial's processors")
    return 1 if over else 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
