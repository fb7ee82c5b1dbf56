"""How far runs of one seed agree, with and without the frameworks' deterministic settings."""

from collections.abc import Sequence

from orchestrator.analysis.reproducibility import Grade, grade
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.studies.section import Section, StudyRow, StudyTable, grouped, note_of, ok
from orchestrator.report.study2020.paper import paper
from orchestrator.report.tables import natural


def determinism(stored: StoredRun) -> Section:
    """A row for each subject, cell and seed."""
    groups = grouped(stored.trials, lambda job: (job.trial.subject, job.trial.cell.title, job.trial.seed))
    rows = [
        _row(*place, groups[place]) for place in sorted(groups, key=lambda place: natural(" ".join(map(str, place))))
    ]
    headings = {"subject": "subject", "cell": "cell", "seed": "seed", "runs": "runs", "grade": "grade"}
    headings |= {"step": "first other loss", "layer": "first other weights"}
    headings |= {"accuracy_test_low": "test accuracy from", "accuracy_test_high": "to", "note": "note"}
    off, on = (paper().deterministic_s_per_epoch[which] for which in ("off", "on"))
    return Section(
        anchor="determinism",
        title="Determinism",
        about=(
            "Runs of one seed in fresh processes. bit-exact: every weight after every epoch, every loss and every "
            "predicted class are the same; loss-exact: every loss; prediction-exact: every predicted class; "
            "no difference shown: test accuracies do not differ significantly; divergent: they do. Weights are "
            "compared after each epoch, losses at each step."
        ),
        verdicts=tuple(f"{row['subject']} in {row['cell']}, seed {row['seed']}: {row['words']}." for row in rows),
        tables=(StudyTable("determinism", "Runs of one seed, and where they first differ.", headings, rows),),
        notes=(
            "The paper: with a fixed seed training repeats exactly on the CPU, and on the GPU in no framework; only "
            "CNTK repeats 20 to 30 epochs on the GPU with its deterministic algorithms forced, at "
            f"{on:g} s an epoch instead of {off:g}: {on / off:.2f}x as long.",
            paper().caution,
        ),
    )


def _row(subject: str, cell: str, seed: int, trials: Sequence[StoredTrial]) -> StudyRow:
    sound = ok(trials)
    tests = [test for job in sound if (test := job.timeline.accuracy("test")) is not None]
    row: StudyRow = {"subject": subject, "cell": cell, "seed": seed, "runs": len(sound)}
    row |= {"accuracy_test_low": min(tests, default=None), "accuracy_test_high": max(tests, default=None)}
    try:
        graded = grade([job.timeline for job in sound])
    except ValueError as error:
        reason = note_of(trials) or str(error)
        return row | {"grade": None, "step": None, "layer": None, "note": reason, "words": f"no grade: {reason}"}
    layer = graded.layer
    row |= {"grade": graded.level, "note": note_of(trials), "words": _words(graded)}
    row["step"] = graded.step and f"epoch {graded.step[0] + 1}, step {graded.step[1] + 1}"
    row["layer"] = layer and f"epoch {layer.epoch + 1}, {layer.name} ({layer.apart} of {layer.count} arrays)"
    return row


def _words(grade: Grade) -> str:
    text = f"{grade.level} over {grade.runs} runs"
    if grade.step is not None:
        text += f"; losses first differ at step {grade.step[1] + 1} of epoch {grade.step[0] + 1}"
    if grade.layer is not None:
        text += f"; weights first differ in {grade.layer.name} after epoch {grade.layer.epoch + 1}"
    return text
