"""A run as a page, tables and figures, in files that need nothing else to be read."""

from orchestrator.report.ci import GateResult, GateRow
from orchestrator.report.ci import files as ci_files
from orchestrator.report.export import csv_text
from orchestrator.report.publish import Published, publish, require_writable
from orchestrator.report.studies import Section
from orchestrator.report.tables import check_row, summary_rows
from orchestrator.report.trial_details import details as trial_details

__all__ = [
    "GateResult",
    "GateRow",
    "Published",
    "Section",
    "check_row",
    "ci_files",
    "csv_text",
    "publish",
    "require_writable",
    "summary_rows",
    "trial_details",
]
