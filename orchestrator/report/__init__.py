"""A run as a page, tables and figures, in files that need nothing else to be read."""

from orchestrator.report.publish import Published, publish, require_writable
from orchestrator.report.studies import Section
from orchestrator.report.tables import check_row, summary_rows

__all__ = ["Published", "Section", "check_row", "publish", "require_writable", "summary_rows"]
