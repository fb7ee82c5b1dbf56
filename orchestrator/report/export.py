"""Rows of plain values as CSV and as Markdown, inert: no cell runs in a spreadsheet or leaves its place in a table."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header of all names; text that a spreadsheet would execute gets a leading quote."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of text as a Markdown table, with the names of the first row as its header."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([one_cell(text) for text in row.values()] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def one_cell(text: str) -> str:
    """Text escaped for one cell of a Markdown table."""
    flat = " ".join(text.split())
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", flat)


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
