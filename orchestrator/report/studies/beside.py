"""Compares a run with the study of 2020 in the cells that both have."""

from collections.abc import Sequence

from orchestrator.records.stored import StoredRun
from orchestrator.report.paper import DATASET, paper
from orchestrator.report.studies.section import Section, StudyRow, StudyTable
from orchestrator.report.tables import SummaryRow, summary_rows


def beside_the_paper(stored: StoredRun) -> Section | None:
    """Our cells and the paper's with the same framework, network, size and device; None if there are none.

    Runs on drawn signs, without CLAHE or with a native loader are left out.
    """
    rows = [row for found in summary_rows(stored) if (row := _row(found, stored)) is not None]
    if not rows:
        return None
    for _, members in _cells(rows):
        fastest = {side: max(float(row[f"{side}_images_per_second"]) for row in members) for side in ("ours", "paper")}
        for row in members:
            row["ours_times"] = fastest["ours"] / row["ours_images_per_second"]
            row["paper_times"] = fastest["paper"] / row["paper_images_per_second"]
    table = StudyTable(
        "paper",
        "Training speed and test accuracy of the cells that both have; slower than the fastest of the cell, in times.",
        {
            "cell": "cell",
            "subject": "subject",
            "ours_images_per_second": "images/s",
            "paper_images_per_second": "the paper's images/s",
            "ratio": "ours / the paper's",
            "ours_times": "behind the fastest",
            "paper_times": "in the paper",
            "accuracy_test": "test accuracy",
            "accuracy_paper": "the paper's accuracy",
        },
        rows,
    )
    return Section(
        anchor="paper",
        title="Beside the paper",
        about=(
            f"{paper().source}. Ours are the batch size over the median step; the paper's are "
            f"{paper().epochs} epochs of {paper().training_pictures:,} pictures over its total time, which includes "
            "more than steps."
        ),
        verdicts=(),
        tables=(table,),
        notes=(paper().caution, *paper().errata),
    )


def _row(found: SummaryRow, stored: StoredRun) -> StudyRow | None:
    trial = next(
        (one.trial for one in stored.trials if (one.trial.cell, one.trial.environment_key) == (found.cell, found.key)),
        None,
    )
    speed = found.medians.images_per_second
    is_plain = found.cell.label == found.cell.network
    if trial is None or not speed or trial.dataset.name != DATASET or not is_plain:
        return None
    theirs = paper().cell(trial.framework, trial.model, trial.input_size, trial.device)
    if theirs is None:
        return None
    their_speed = paper().images_per_second(theirs)
    return {
        "cell": trial.cell.title,
        "framework": trial.framework,
        "subject": trial.subject,
        "ours_images_per_second": speed,
        "paper_images_per_second": their_speed,
        "ratio": speed / their_speed,
        "accuracy_test": found.medians.accuracy_test,
        "accuracy_paper": theirs.accuracy_percent / 100,
    }


def _cells(rows: Sequence[StudyRow]) -> list[tuple[str, list[StudyRow]]]:
    return [(cell, [row for row in rows if row["cell"] == cell]) for cell in dict.fromkeys(row["cell"] for row in rows)]
