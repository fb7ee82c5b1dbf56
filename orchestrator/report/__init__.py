"""A run as a page, tables and figures that anybody can open anywhere."""

from orchestrator.report.html import render
from orchestrator.report.studies import Section, answers
from orchestrator.report.tables import check_row, summary_rows

__all__ = ["Section", "answers", "check_row", "render", "summary_rows"]
