"""The results of a run and its caveats in Markdown, for an issue or a README."""

from collections.abc import Sequence

from orchestrator.records.stored import StoredRun
from orchestrator.report import export, tables
from orchestrator.report.studies import Section
from orchestrator.report.tables import SummaryRow
from orchestrator.report.text import figures3, percent, tiny


def results_markdown(
    stored: StoredRun, rows: Sequence[SummaryRow], caveats: Sequence[str], sections: Sequence[Section]
) -> str:
    """The results and their caveats, for an issue or a README."""
    lines = [
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
            **{name: tiny(row.parity.get(name)) for name in tables.figure_names(stored)},
            "reason": row.reason,
        }
        for row in rows
    ]
    items = "".join(f"- {export.one_cell(caveat)}\n" for caveat in caveats) or "- none\n"
    answered = "".join(_section_markdown(section) for section in sections)
    title = f"{stored.facts.run_id}{stored.facts.league_words}"
    return f"# {title}\n\n{export.markdown_table(lines)}\n{answered}## Caveats\n\n{items}"


def _section_markdown(section: Section) -> str:
    verdicts, notes = (
        "".join(f"- {export.one_cell(item)}\n" for item in said) for said in (section.verdicts, section.notes)
    )
    shown = [export.markdown_table(table.texts) for table in section.tables]
    parts = [part for part in (export.one_cell(section.about) + "\n", verdicts, *shown, notes) if part]
    return f"## {export.one_cell(section.title)}\n\n" + "\n".join(parts) + "\n"
