"""Rows on stdout, as a table, as JSON or as CSV; and the columns of each table."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from orchestrator.printable import printable

_is_csv: ContextVar[bool] = ContextVar("csv", default=False)

PIPE_COLUMNS = 160  # width of tables where there is no terminal

WHOLE = ("run", "row", "subject", "cell")
"""Columns of names that a reader copies: they are never broken, and columns behind them go first where it is narrow."""

FEWEST_COLUMNS = 2
UNLIMITED_COLUMNS = 10_000
LONGEST_WORD = 16
"""Longer ones are broken where it is narrow."""

SUMMARY = {
    "subject": "subject",
    "cell": "cell",
    "status": "status",
    "accuracy_test": "accuracy",
    "step_ms": "step ms",
    "epoch_images_per_second": "images/s",
    "epoch_s": "epoch s",
    "check": "selfcheck",
    "parity_logits": "logits off by",
}
"""The columns of a sweep's table, of report.summary_rows; --json has all of them."""

LOAD = {"load": "machine", "foreign_percent": "others %"}
"""The columns of a sweep's table that tell what other processes did, where they did something, or nobody knows."""

IMAGES = {"row": "row", "proof": "proof", "state": "state", "size_MB": "size MB", "cuda": "CUDA", "why": "why"}
"""The columns of a table of images, of commands.images.image_rows; --json has the packages and the image's name too."""

PARITY = {
    "subject": "subject",
    "cell": "cell",
    "check": "check",
    "logits": "logits",
    "clean_loss_step_1": "loss, step 1",
    "clean_loss_step_20": "to step 20",
    "study_loss_step_5": "study, to step 5",
    "update_step_1": "update, step 1",
    "update_step_20": "step 20",
    "averages_step_20": "averages",
    "logits_step_20": "logits, step 20",
}
"""The columns of the parity table, of report.check_row: differences from numpy_ref; --json has the bounds too."""

COMPARISON = {"cell": "cell", "words": "candidate is", "pairs": "pairs", "noise_floor": "noise floor"}
"""The columns of a comparison's table, of analysis.comparison.rows; --json has all of them."""


TUNED = {
    "framework": "framework",
    "default": "default",
    "best": "best",
    "ratio": "times as fast",
    "low": "from",
    "high": "to",
    "tried": "variants tried",
    "minutes": "minutes",
}
"""The columns of a tuning's table, of commands.tune.tuned_rows; --json has the path, too."""

RUNS = {"run": "run", "what": "what", "began": "began, UTC", "age": "age", "trials": "trials", "ok": "ok"}
RUNS |= {"state": "state", "engine": "engine", "size_MB": "size MB"}
"""The columns of the list of runs, of commands.records.run_rows."""

JOBS = {"submission": "submission", "shard": "shard", "state": "state", "job": "job", "node": "node"}
JOBS |= {"attempts": "attempts", "jobs_ended": "ended", "trials": "trials", "run": "run", "why": "why"}
"""The columns of the list of shards on a cluster, of commands.submit.job_rows."""

GATE = {"cell": "cell", "finding": "candidate is", "words": "speed"}
"""The columns of a gate's table, of report.ci.GateRow; --json has all of them."""


@contextmanager
def as_csv(is_csv: bool) -> Iterator[None]:
    """Within it `show` prints CSV, with all keys as columns, unless JSON is asked for."""
    token = _is_csv.set(is_csv)
    try:
        yield
    finally:
        _is_csv.reset(token)


def is_table() -> bool:
    """Whether `show` prints tables for people; a program reads one table only."""
    return not _is_csv.get()


def show(
    title: str, rows: Sequence[Mapping[str, Any]], as_json: bool, headings: Mapping[str, str] | None = None
) -> None:
    """Rows as JSON or CSV on stdout, or as a table of the keys in `headings`, by default all keys of the first row."""
    if as_json:
        show_json(rows)
        return
    if _is_csv.get():
        from orchestrator.report import csv_text  # with scipy behind it, for which no other table waits

        print(csv_text(rows), end="")  # noqa: T201 - this is the output
        return
    shown = headings or {key: key.replace("_", " ") for key in (rows[0] if rows else ())}
    console = Console(width=_width(), color_system=None if os.environ.get("NO_COLOR") else "auto")
    unlimited = console.options.update(max_width=UNLIMITED_COLUMNS)
    table, left_out = _table(title, rows, shown), 0
    while len(shown) > FEWEST_COLUMNS and Measurement.get(console, unlimited, table).minimum > console.width:
        shown, left_out = dict(list(shown.items())[:-1]), left_out + 1
        table = _table(title, rows, shown)
    console.print(table)
    if left_out:
        console.print(f"{left_out} more columns in a wider terminal, and with --json.", highlight=False)


def _width() -> int | None:
    """None for that of the terminal, or of $COLUMNS."""
    return None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPE_COLUMNS


def _table(title: str, rows: Sequence[Mapping[str, Any]], shown: Mapping[str, str]) -> Table:
    """In it names that a reader copies stay on one line."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for key, heading in shown.items():
        is_number = any(isinstance(row.get(key), float) for row in rows)
        texts = [heading, *(_cell(row.get(key)) for row in rows)]
        words = [word for text in texts for word in text.split()] or [""]
        width = max(map(len, texts)) if key in WHOLE else min(LONGEST_WORD, max(map(len, words)))
        table.add_column(
            heading,
            overflow="fold",
            justify="right" if is_number else "left",
            no_wrap=key in WHOLE,
            min_width=width,
        )
    for row in rows:
        table.add_row(*(Text(_cell(row.get(key))) for key in shown))
    return table


def show_json(value: object) -> None:
    """Anything as JSON."""
    print(json.dumps(value, indent=1, default=str))  # noqa: T201 - this is the output


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
