"""python -m benchmarks.many_machines [RUNS [TRIALS]]: what a sweep on many machines costs waymark itself.

Default 200 runs, each of 50 trials of 25 epochs and 20 selfchecks, as if 200 nodes had written them below one shared
home: seconds and memory to say what is done, to take all runs into a store (SQLite, and PostgreSQL where its server is
installed), and to join them. Each is a process of its own.
"""

import io
import resource
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice, product
from pathlib import Path

from rich.console import Console as Terminal

from benchmarks.large_report import CELLS, FRAMEWORKS, learning
from orchestrator.cluster import Submission, SubmissionFolder
from orchestrator.commands.collections import join_shards
from orchestrator.console.progress import Console
from orchestrator.home import Home
from orchestrator.records.run_folder import Shard
from orchestrator.records.store import Store
from tests import fake_run as fake
from tests import postgres

SUBMISSION = "20261130-120000-many"


def write(home: Home, runs: int, trials: int) -> int:
    """The folders of all runs; gives how many events they hold."""
    events = 0
    for number in range(1, runs + 1):
        shard = Shard(number=number, count=runs, spec_sha256="a" * 64, submission=SUBMISSION)
        run_id = f"20261130-120000-many-{number}of{runs}-n{number}"
        host = fake.host(marks=(f"m{number}",), load_after=fake.load())
        spec = {"name": "many", "training": {"epochs": 25}}
        facts = fake.run_facts(run_id, shard=shard, host=host, planned=trials, spec=spec)
        jobs = []
        for at, ((model, size), (name, variant)) in enumerate(islice(cycle(product(CELLS, FRAMEWORKS)), trials)):
            asked = fake.trial(name, variant, model=model, input_size=size, seed=number, repeat=at // 20)
            seconds = 0.1 + 0.001 * (at % 7)
            said = [*map(learning, fake.training(step_seconds=seconds, steps=10, warmup=5, epochs=25))]
            events += len(said)
            jobs.append((fake.trial_record(asked, at + 1, run_id), fake.ENDED, fake.OK, said))
        for at, ((model, size), (name, variant)) in enumerate(product(CELLS, FRAMEWORKS), start=trials + 1):
            asked = {"framework": name, "variant": variant, "model": model, "input_size": size}
            said = fake.checking()
            events += len(said)
            jobs.append((fake.check_record(**asked, ordinal=at, run_id=run_id), fake.ENDED, fake.OK, said))
        fake.write_run(home.runs, facts, jobs)
    folder = SubmissionFolder(home, SUBMISSION)
    folder.path.mkdir(parents=True)
    folder.write(Submission(submission=SUBMISSION, name="many", began_unix=1.0, count=runs))
    return events


def look(home: Home, runs: int) -> float:
    """Seconds to say what is done, as `invoke jobs` and a waiting `invoke submit` do."""
    began = time.perf_counter()
    assert all(shard.is_done for shard in SubmissionFolder(home, SUBMISSION).shards(runs))
    return time.perf_counter() - began


def ingest(home: Home, url: str) -> float:
    """Seconds to take all runs into the store."""
    began = time.perf_counter()
    with Store.open(url) as store:
        read = store.rebuild(home.runs, lambda line: None)
    assert not read.damaged, read.damaged[:2]
    return time.perf_counter() - began


def join(home: Home) -> float:
    """Seconds to join all runs, their own reports and the page."""
    runs, began = sorted(path.name for path in home.runs.iterdir()), time.perf_counter()
    assert join_shards(runs, home, home.root / "reports", Console(Terminal(file=io.StringIO()))).is_whole
    return time.perf_counter() - began


def part(name: str, home: Home, *words: str) -> float:
    """Seconds of one of these in a process of its own; prints its memory."""
    argv = [sys.executable, "-m", "benchmarks.many_machines", f"--{name}", str(home.root), *words]
    said = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    print(f"  {name} {' '.join(words)[:12]}: {float(said[0]):.1f} s, {said[1]} MiB of memory", flush=True)
    return float(said[0])


def main() -> None:
    runs, trials = [*map(int, sys.argv[1:3]), *(200, 50)[len(sys.argv[1:3]) :]]
    with tempfile.TemporaryDirectory(prefix="waymark-many-") as folder:
        for count in (max(1, runs // 4), runs):  # memory is flat where both need the same
            home = Home(Path(folder) / str(count))
            events = write(home, count, trials)
            print(f"{count} runs of {trials} trials, {events:,} events")
            seconds = part("look", home, str(count))
            print(f"    {seconds / count / trials * 1000:.2f} ms a trial")
            seconds = part("ingest", home, home.store_url)
            print(f"    {seconds / count / trials * 1000:.2f} ms a trial, {events / seconds:,.0f} events/s, SQLite")
            part("join", home)
        binaries = postgres.binaries()
        if binaries is None:
            print("  no PostgreSQL server is installed (Debian: apt install postgresql)")
            return
        with postgres.running(binaries) as server:
            seconds = part("ingest", home, server.url.replace("postgresql://", "postgresql+psycopg://"))
            print(f"    {seconds / runs / trials * 1000:.2f} ms a trial, {events / seconds:,.0f} events/s, PostgreSQL")


if __name__ == "__main__":
    if "".join(sys.argv[1:2]).startswith("--"):
        name, root, *words = sys.argv[1:]
        home = Home(Path(root))
        parts = {"--look": lambda: look(home, int(words[0])), "--ingest": lambda: ingest(home, words[0])}
        seconds = {**parts, "--join": lambda: join(home)}[name]()
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    else:
        main()
