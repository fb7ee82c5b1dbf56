"""The results of a run as rows of text, for the documents that people read."""

from collections.abc import Sequence

from orchestrator.records.stored import StoredRun
from orchestrator.report import tables
from orchestrator.report.tables import SummaryRow
from orchestrator.report.text import figures3, percent, tiny

NARROW = ("subject", "status", "test", "step ms", "images/s, epoch", "epoch s", "spread", "selfcheck", "audit")
"""The columns that fit the width of a printed page, beside the cell."""


def results_texts(stored: StoredRun, rows: Sequence[SummaryRow]) -> list[dict[str, str]]:
    """A row of text for each summary row: heading -> text, with all figures of the selfcheck."""
    names = tables.figure_names(stored)
    return [
        {
            "cell": row.cell.title,
            "subject": row.subject,
            "status": f"{row.status} ({row.ok} of {row.trials})" if row.trials else row.status,
            "test": percent(row.medians.accuracy_test),
            "valid": percent(row.medians.accuracy_valid),
            "step ms": figures3(row.medians.step_ms),
            "images/s, step": figures3(row.medians.images_per_second),
            "images/s, epoch": figures3(row.medians.epoch_images_per_second),
            "epoch s": figures3(row.medians.epoch_s),
            "total s": figures3(row.medians.total_s),
            "spread": percent(row.spread, 0),
            "selfcheck": row.check,
            "audit": row.audit,
            **{name: tiny(row.parity.get(name)) for name in names},
            "reason": row.reason,
        }
        for row in rows
    ]
