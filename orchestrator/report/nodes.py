"""How far the machines of one page differ: each ran the same few trials, its control (planning.shards.control_of)."""

import itertools
import statistics
from collections.abc import Iterator, Sequence

from orchestrator.records.host_facts import RecordedHost
from orchestrator.records.stored import StoredRun
from orchestrator.report import tables


def compared(controls: Sequence[StoredRun], hosts: Sequence[RecordedHost]) -> Iterator[str]:
    """Sentences: how many kinds of machines there are, and by how much those of one kind differ.

    controls: the run of each machine that has one. hosts: the machines of the shards.
    """
    kinds = sorted({host.kind for host in hosts})
    if len(kinds) > 1:
        yield (
            f"the machines are of {len(kinds)} kinds (processor, memory, kernel or card differ): what one measured "
            "says nothing of the others."
        )
    for number, kind in enumerate(kinds, start=1):
        count = sum(host.kind == kind for host in hosts)
        if count < 2:
            continue
        of = f"the {count} machines of kind {number}" if len(kinds) > 1 else f"the {count} machines are of one kind and"
        steps = [step for run in controls if run.facts.host.kind == kind if (step := _step_ms(run)) is not None]
        if len(steps) < 2:
            yield f"{of} were not compared, because no control ended on two of them: how far they differ is not known."
            continue
        medians = [median for median, _ in steps]
        apart = max(max(one, other) / min(one, other) - 1 for one, other in itertools.combinations(medians, 2))
        spread = max(spread for _, spread in steps)
        row = tables.summary_rows(controls[0])[0]
        yield (
            f"{of} differ by up to {apart:.1%} in the step of {row.subject} {row.cell.title}, which {len(steps)} of "
            f"them ran alike (trials of one machine: by up to {spread:.1%}). A difference between cells of two "
            "machines that is not larger says nothing."
        )


def _step_ms(run: StoredRun) -> tuple[float, float] | None:
    """The median step over the trials of a control, and by how much its slowest exceeds its fastest; None without."""
    steps = [
        step
        for trial in run.trials
        if trial.outcome.status == "ok" and (step := tables.trial_numbers(trial).step_ms) is not None
    ]
    return (statistics.median(steps), max(steps) / min(steps) - 1) if steps else None
