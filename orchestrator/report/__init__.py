"""A run as a page, tables and figures that anybody can open anywhere."""

from orchestrator.report.html import render
from orchestrator.report.tables import summary_rows

__all__ = ["render", "summary_rows"]
