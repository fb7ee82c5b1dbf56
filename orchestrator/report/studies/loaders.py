"""The cost of a framework's own loader by number of workers, with separate clocks for step and input."""

from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator.analysis.noise import NoiseFloors
from orchestrator.analysis.ratios import Pairs, Ratio, judge, paired
from orchestrator.analysis.timed import timed_run
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.studies.section import Section, StudyRow, StudyTable, grouped, note_of, ok
from orchestrator.report.study2020.paper import paper
from orchestrator.report.tables import natural

GroupKey = tuple[str, str]


def loader_workers(stored: StoredRun, floors: NoiseFloors) -> Section:
    """A row for each subject, cell and number of workers; all are compared with the fewest workers."""
    native = [job for job in stored.trials if job.trial.measure.feed == "native"]
    places = grouped(native, lambda job: (job.trial.subject, f"{job.trial.cell.network} {job.trial.device}"))
    levels = {
        place: dict(sorted(grouped(trials, lambda job: job.trial.measure.loader_workers).items()))
        for place, trials in places.items()
    }
    pairs_of = {
        (place, workers): pairs for place, pairs_of in levels.items() for workers, pairs in _pairs(pairs_of).items()
    }
    known = floors.scatters({(job.trial.framework, job.trial.device) for job in native})
    ratios = dict(zip(pairs_of, judge([[pairs] for pairs in pairs_of.values()], known), strict=True))
    rows = [
        _row(place, workers, trials, ratios.get((place, workers)))
        for place in sorted(levels, key=lambda place: natural(" ".join(place)))
        for workers, trials in levels[place].items()
    ]
    headings = {"subject": "subject", "cell": "cell", "workers": "workers", "runs": "runs", "step_ms": "step ms"}
    headings |= {"input_ms": "input ms", "input_s": "input s an epoch", "epoch_s": "epoch s", "words": "an epoch takes"}
    headings |= {"paper_s": "the paper's s (PyTorch, GPU)", "paper_times": "in times", "note": "note"}
    return Section(
        anchor="loader-workers",
        title="Loader workers",
        about=(
            "Each framework's own loader (PyTorch's and MXNet's DataLoader, TensorFlow's tf.data) makes the same "
            "batches in the same order. step: placing a batch, forward, backward, update. input: waiting for the "
            "loader, which starts inside the first input of each epoch. Medians over runs; epochs after the first, "
            "where there are several. 0 workers: the training process makes the batches."
        ),
        verdicts=tuple(
            f"{row['subject']} in {row['cell']}: with {row['workers']} workers an epoch takes {row['words']}."
            for row in rows
            if row["words"]
        ),
        tables=(StudyTable("loader-workers", "Step and input, timed separately.", headings, rows),),
        notes=(
            "The paper: PyTorch on the GPU took "
            + ", ".join(f"{s:g} s an epoch with {n}" for n, s in paper().loader_workers_s_per_epoch.items())
            + " workers, so 0 were kept.",
            paper().caution,
        ),
    )


def longer(ratio: Ratio) -> str:
    """'1.08x as long [1.05, 1.11]', with a note if no difference is shown."""
    interval = "" if ratio.low is None or ratio.high is None else f" [{ratio.low:.2f}, {ratio.high:.2f}]"
    text = f"{ratio.effect:.2f}x as long{interval}"
    note = ratio.withheld if ratio.verdict == "unclear" else "the same within 2 %" if ratio.verdict == "same" else ""
    return f"{text} ({note})" if note else text


def _pairs(levels: Mapping[int, Sequence[StoredTrial]]) -> dict[int, Pairs]:
    """Number of workers -> its epochs beside those with the fewest; pairs share seed and repeat."""
    by_turn = {
        workers: {
            job.trial.turn: timed_run(job, float(np.median(job.timeline.steady_epochs)))
            for job in ok(trials)
            if job.timeline.steady_epochs.size
        }
        for workers, trials in levels.items()
    }
    fewest = by_turn[min(by_turn)]
    pairs_of = {}
    for workers, turns in by_turn.items():
        common = [turn for turn in turns if turn in fewest]
        if turns is not fewest and common:
            pairs_of[workers] = paired([fewest[turn] for turn in common], [turns[turn] for turn in common])
    return pairs_of


def _row(place: GroupKey, workers: int, trials: Sequence[StoredTrial], ratio: Ratio | None) -> StudyRow:
    sound = ok(trials)
    seconds = paper().loader_workers_s_per_epoch
    theirs = seconds.get(str(workers)) if place[0].startswith("pytorch:") else None
    row: StudyRow = {"subject": place[0], "cell": place[1], "workers": workers, "runs": len(sound)}
    row |= {
        "step_ms": _median(
            [np.median(job.timeline.steady_steps) * 1000 for job in sound if job.timeline.steady_steps.size]
        )
    }
    row |= {"input_ms": _median([np.median(job.timeline.input_seconds) * 1000 for job in sound])}
    row |= {"input_s": _median([np.median(job.timeline.steady_input_seconds) for job in sound])}
    row |= {"epoch_s": _median([np.median(job.timeline.steady_epochs) for job in sound])}
    row |= {"ratio": ratio and ratio.effect, "low": ratio and ratio.low, "high": ratio and ratio.high}
    row |= {"pairs": ratio.pairs if ratio else 0, "words": ratio and longer(ratio), "note": note_of(trials)}
    return row | {"paper_s": theirs, "paper_times": theirs and theirs / seconds["0"]}


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
