"""The effect of each setting: pairs of builds in one run, judged as one family, with the paper's tuning table."""

from collections.abc import Mapping

from orchestrator.analysis import comparison
from orchestrator.analysis.noise import NoiseFloors
from orchestrator.records.stored import StoredRun
from orchestrator.report.studies.inference import precision_of
from orchestrator.report.studies.section import Section, StudyRow, StudyTable
from orchestrator.report.study2020.paper import paper

TUNED_CELL = "IDSIA@48"
"""The cell in which the paper's tuning was timed."""


def pairs_section(stored: StoredRun, floors: NoiseFloors) -> Section | None:
    """All pairs that the spec names; None if it names none."""
    if not stored.facts.pairs:
        return None
    precisions = {job.trial.subject: precision_of(job) for job in stored.trials}
    rows = [_noted(_with_paper(row), precisions) for row in comparison.family(stored, stored.facts.pairs, floors)]
    is_tuning = stored.facts.study == "build-flags"
    headings = {"candidate": "candidate", "baseline": "baseline", "cell": "cell", "words": "candidate is"}
    headings |= {"pairs": "pairs", "noise_floor": "noise floor"} | ({"paper": "the paper's"} if is_tuning else {})
    headings |= {"note": "note"}
    noise = floors.words(stored.trials)
    return Section(
        anchor="pairs",
        title="The effect of each setting" if is_tuning else "Builds compared",
        about=(
            "Each build and its baseline, in fresh processes one after the other: the mean over pairs of the ratio of "
            "median steps. All pairs and cells of this run are one family, the means another: in 95 % of cases all "
            f"intervals of a family hold together, and one that excludes 1 is a verdict. {noise}"
        ),
        verdicts=_verdicts(rows) if is_tuning else (),
        tables=(StudyTable("pairs", "How many times as fast each candidate is as its baseline.", headings, rows),),
        notes=_notes() if is_tuning else (),
    )


def _noted(row: StudyRow, precisions: Mapping[str, str]) -> StudyRow:
    """With a note where the two do not compute in the same precision: then they are no equals."""
    baseline, candidate = (precisions.get(row[side], "") for side in ("baseline", "candidate"))
    is_equal = baseline == candidate or not (baseline and candidate)
    return {**row, "note": "" if is_equal else f"computes in {candidate}, its baseline in {baseline}"}


def _with_paper(row: StudyRow) -> StudyRow:
    known = paper().tuning_of((row["baseline"], row["candidate"]))
    if known is None or row["cell"] != f"{TUNED_CELL} {known.device}":
        return {**row, "paper": None, "paper_ratio": None}
    return {**row, "paper": known.words, "paper_ratio": known.ratio}


def _verdicts(rows: list[StudyRow]) -> tuple[str, ...]:
    """A sentence for each of the paper's settings, with its effect in this run."""
    said = []
    for tuning in paper().tuning:
        here = [row for row in rows if row["paper_ratio"] and (row["baseline"], row["candidate"]) in tuning.pairs]
        name = f"{tuning.framework} on the {tuning.device.upper()} ({tuning.change}), in the paper {tuning.words}"
        if not here:
            said.append(f"{name}: not measured in this run.")
        said += [f"{name}; here {row['candidate']} beside {row['baseline']}: {row['words']}." for row in here]
    return tuple(said)


def _notes() -> tuple[str, ...]:
    return (
        "The paper timed one epoch of IDSIA at 48x48 before and after, once; its figure is shown for that cell only.",
        "Of CNTK and PyTorch on the CPU, and of all frameworks but PyTorch on the GPU, the paper says that there was "
        "nothing to tune.",
        paper().caution,
        paper().errata[2],
        paper().errata[4],
    )
