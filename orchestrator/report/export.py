"""Rows of plain values as CSV, JSON, Parquet and Markdown, inert: no cell runs in a spreadsheet or leaves its place."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.printable import printable


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header of all names; text that a spreadsheet would execute gets a leading quote."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def json_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a JSON list of objects, a row a line."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False, default=str) for row in rows)
    return f"[\n{lines}\n]\n"


def parquet_bytes(rows: Sequence[Mapping[str, Any]], clean: Callable[[str], str] = str) -> bytes | None:
    """Rows as a Parquet file with a column for every name; None if pyarrow is not installed. clean: for each text."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    cleaned = {
        name: [clean(value) if isinstance(value, str) else value for value in values]
        for name, values in columns.items()
    }
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(cleaned), file)
    return file.getvalue()


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of text as a Markdown table, with the names of the first row as its header."""
    if not rows:
        return ""
    lines = [
        [one_cell(name) for name in rows[0]],
        ["---"] * len(rows[0]),
        *([one_cell(text) for text in row.values()] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def one_cell(text: str) -> str:
    """Text escaped for one cell of a Markdown table."""
    flat = " ".join(printable(text).split())
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", flat)


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    seen = "".join(char for char in value if not char.isspace() and not unicodedata.category(char).startswith("C"))
    is_formula = unicodedata.normalize("NFKC", seen[:1]) in ("=", "+", "-", "@")  # full-width ones, too
    return f"'{printable(value)}" if is_formula or value.startswith(("\t", "\r")) else printable(value)
