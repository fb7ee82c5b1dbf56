"""python -m benchmarks.large_report [TRIALS [STEPS]]: seconds, memory and size of the report of a large run.

Default 10,000 trials: five frameworks in four cells, of 25 epochs of 10 steps. The run is written to a store in a
temporary folder, and rendered from there in a process of its own, as `invoke report` does.
"""

import resource
import subprocess
import sys
import tempfile
import time
from itertools import count, cycle, islice, product
from pathlib import Path

from orchestrator.home import Home
from orchestrator.records.event import Event
from orchestrator.records.store import Store
from orchestrator.report import write_report
from tests import fake_run as fake

FRAMEWORKS = (("cntk", "2.7"), ("mxnet", "1.5"), ("neon", "2.6"), ("pytorch", "2.13"), ("tensorflow", "2.21"))
CELLS = [(fake.RESNET, size) for size in (32, 48, 64)] + [(fake.IDSIA, 48)]


def fill(home: Home, trials: int, steps: int) -> None:
    """A store with one run of so many trials and the checks of its environments."""
    asked = cycle(product(CELLS, FRAMEWORKS))
    with Store.open(home.store_url) as store:
        store.add_run(fake.run_facts())
        for at, ((model, size), (name, variant)) in enumerate(islice(asked, trials)):
            repeat = at // (len(CELLS) * len(FRAMEWORKS))
            trial = fake.trial(name, variant, model=model, input_size=size, repeat=repeat)
            seconds, warmup = 0.1 + 0.001 * (at % 7), min(steps // 2, 20)
            said = fake.training(step_seconds=seconds, steps=steps, warmup=warmup, epochs=25)
            store.add(fake.trial_record(trial, at + 1), fake.ENDED, fake.OK, [*map(learning, said)])
        numbers = count(trials + 1)
        for (model, _), (name, variant) in product(CELLS[2:], FRAMEWORKS):
            record = fake.check_record(framework=name, variant=variant, model=model, ordinal=next(numbers))
            store.add(record, fake.ENDED, fake.OK, fake.checking())


def learning(event: Event) -> Event:
    """The event, with an accuracy that grows with the epochs."""
    if event.kind != "score":
        return event
    return event.model_copy(update={"accuracy": 1 - 0.8 / (1 + event.fields["epoch"])})


def render(home: Home) -> None:
    """In a process of its own: the report, and what it took."""
    began = time.perf_counter()
    with Store.open(home.store_url) as store:
        page = write_report(store, fake.run_facts().run_id, home, home.root / "reports").page
    seconds, memory = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds:.1f} s, {memory:.2f} GiB of memory, page of {page.stat().st_size / 1e6:.1f} MB: {page}")


def main() -> None:
    trials, steps = [*map(int, sys.argv[1:3]), *(10_000, 10)[len(sys.argv[1:3]) :]]
    home = Home(Path(tempfile.mkdtemp(prefix="waymark-large-")))
    fill(home, trials, steps)
    subprocess.run([sys.executable, "-m", "benchmarks.large_report", "--render", str(home.root)], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--render"]:
        render(Home(Path(sys.argv[2])))
    else:
        main()
