"""A run as a page, tables and figures that anybody can open anywhere."""

from orchestrator.report.html import render
from orchestrator.report.tables import check_row, summary_rows

__all__ = ["check_row", "render", "summary_rows"]
