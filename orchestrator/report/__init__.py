"""A run as a page, tables and figures, in files that need nothing else to be read."""

from orchestrator.report.ci import GateResult, GateRow
from orchestrator.report.ci import files as ci_files
from orchestrator.report.export import csv_text
from orchestrator.report.studies import Section
from orchestrator.report.tables import check_row, summary_rows
from orchestrator.report.trial_details import details as trial_details
from orchestrator.report.writing import Report, require_writable, write_report

__all__ = [
    "GateResult",
    "GateRow",
    "Report",
    "Section",
    "check_row",
    "ci_files",
    "csv_text",
    "require_writable",
    "summary_rows",
    "trial_details",
    "write_report",
]
