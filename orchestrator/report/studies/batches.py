"""A sweep over batch sizes: pictures a second, step and memory of each, and where a larger batch gains little."""

from collections.abc import Sequence

import numpy as np

from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.studies.section import Section, StudyRow, StudyTable, grouped, note_of, ok
from orchestrator.report.tables import natural
from orchestrator.report.text import figures3

KNEE = 0.9
"""Of the most pictures a second: the smallest batch that reaches this share is called the knee."""


def batches_section(stored: StoredRun) -> Section | None:
    """A row for each subject, network and batch size; None for a run that does not vary them."""
    places = grouped(
        (job for job in stored.trials if job.trial.by_batch),
        lambda job: (f"{job.trial.cell.network} {job.trial.device}", job.trial.subject),
    )
    rows, verdicts = [], []
    for (cell, subject), jobs in sorted(places.items(), key=lambda item: natural(" ".join(item[0]))):
        by_size = grouped(jobs, lambda job: job.trial.training.batch_size)
        own = [_row(cell, subject, size, by_size[size]) for size in sorted(by_size)]
        rates = [row["images_per_second"] for row in own if row["images_per_second"]]
        if rates:
            knee = next(row for row in own if (row["images_per_second"] or 0) >= KNEE * max(rates))
            best = next(row for row in own if row["images_per_second"] == max(rates))
            for row in own:
                row["share_of_best"] = row["images_per_second"] and row["images_per_second"] / max(rates)
            knee["note"] = "knee"
            verdicts.append(
                f"{cell}, {subject}: the knee is at a batch of {knee['batch_size']}, with "
                f"{figures3(knee['images_per_second'])} pictures a second; the most are {figures3(max(rates))}, at "
                f"{best['batch_size']}."
            )
        rows += own
    if not rows:
        return None
    headings = {"cell": "of", "subject": "subject", "batch_size": "batch", "images_per_second": "pictures a second"}
    headings |= {"share_of_best": "of the most", "step_ms": "step ms", "peak_gib": "memory GiB", "runs": "runs"}
    return Section(
        anchor="batches",
        title="Batch sizes",
        about=(
            "The same training in batches of several sizes. Steps include the wait for their pictures, after the "
            f"warm-up; medians over the runs. The knee is the smallest batch with {KNEE:.0%} of the most pictures a "
            "second. Memory is the most that the process of a training had in use at once, its framework included. "
            "Accuracies of two batch sizes are of two trainings: the rate is the same, the number of steps is not."
        ),
        verdicts=tuple(verdicts),
        tables=(StudyTable("batches", "Speed and memory of each batch size.", {**headings, "note": "note"}, rows),),
    )


def _row(cell: str, subject: str, size: int, jobs: Sequence[StoredTrial]) -> StudyRow:
    ended = ok(jobs)
    steps = [seconds for job in ended if (seconds := job.timeline.whole_step_seconds) is not None]
    peaks = [job.timeline.done.peak_rss_bytes for job in ended if job.timeline.done is not None]
    known = [peak for peak in peaks if peak]
    step = float(np.median(steps)) if steps else None
    return {
        "cell": cell,
        "subject": subject,
        "batch_size": size,
        "images_per_second": size / step if step else None,
        "share_of_best": None,
        "step_ms": step and step * 1000,
        "peak_gib": float(np.median(known)) / 2**30 if known else None,
        "runs": len(ended),
        "note": note_of(jobs) or ("" if step else "no step after its warm-up: use more pictures or epochs"),
    }
