"""Prints the result of a verb: tables or JSON on stdout, sentences on stderr."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.console.progress import Console
from orchestrator.console.tables import COMPARISON, GATE, LOAD, PARITY, SUMMARY, is_table, show, show_json
from orchestrator.report import GateResult, Report


def show_run(report: Report, as_json: bool, console: Console) -> None:
    """A sweep: its summary, why some cells have no numbers, the answers of its studies, the report, the answer."""
    rows = [row.flat() for row in report.rows]
    tables = [table for section in report.sections for table in section.tables]
    if as_json and tables:
        show_json({"results": rows, **{table.name: table.rows for table in tables}})
    else:
        facts = report.stored.facts
        show(f"Run {facts.run_id}{facts.league_words}", rows, as_json, _columns(rows))
    _say_reasons(rows, console)
    for section in report.sections if is_table() and not as_json else ():
        for table in (table for table in section.tables if not table.is_detail):
            show(section.title, table.texts, False)
        for verdict in section.verdicts:
            console.say(verdict)
    console.say(f"report: {report.page}")
    for sentence in report.unquiet:
        console.say(f"Was the machine quiet? {sentence}")
    for answer in report.answers:
        console.say(answer)
    if report.next_step:
        console.say(report.next_step)


def _columns(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Those of a summary; with the load beside each subject where the machine was not quiet."""
    if all(row["load"] in ("quiet", "") for row in rows):
        return SUMMARY
    return {name: SUMMARY[name] for name in ("subject", "cell", "status")} | LOAD | SUMMARY


def show_parity(rows: Sequence[Mapping[str, Any]], as_json: bool, console: Console) -> None:
    """The parity table."""
    show("Relative differences from numpy_ref", rows, as_json, PARITY)
    _say_reasons(rows, console)


def show_comparison(compared: tuple[str, str], rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """The verdicts of a comparison."""
    show(f"{compared[1]} against {compared[0]}", rows, as_json, COMPARISON)


def show_gate(result: GateResult, as_json: bool, console: Console) -> None:
    """The finding of a gate, cell by cell, and the sentence that its exit code stands for."""
    rows = [asdict(row) for row in result.rows]
    show(f"{result.compared[1]} against {result.compared[0]}", rows, as_json, GATE)
    console.say(result.sentence)


def _say_reasons(rows: Iterable[Mapping[str, Any]], console: Console) -> None:
    for row in rows:
        if row["reason"]:
            console.say(f"{row['subject']} {row['cell']}: {row['reason']}")
