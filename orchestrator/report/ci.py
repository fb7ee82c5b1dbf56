"""What `invoke gate` found, for continuous integration: JUnit XML, a job summary, and two benchmark formats."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from orchestrator.printable import printable
from orchestrator.report.export import markdown_table
from orchestrator.trial import SubjectPair

Finding = Literal["not slower", "slower", "not decided", "not measured"]


@dataclass(frozen=True)
class GateRow:
    """One cell. words: the ratio with its interval, or why there is none.

    ratio, low, high: how many times as fast the candidate is. step_ms: median, smallest and largest of its runs.
    """

    cell: str
    finding: Finding
    words: str
    pairs: int = 0
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    step_ms: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class GateResult:
    """exit_code: 0 not slower by more than `allowed` (a share of 1), 10 slower, 11 not decided, 12 not measured."""

    compared: SubjectPair
    allowed: float
    rows: Sequence[GateRow]
    exit_code: int

    @property
    def sentence(self) -> str:
        """The finding in words."""
        baseline, candidate = self.compared
        limit = f"by more than {100 * self.allowed:.3g} %"
        said = {
            0: f"{candidate} is not slower than {baseline} {limit}",
            10: f"{candidate} is slower than {baseline} {limit}",
            11: f"whether {candidate} is slower than {baseline} {limit} is not decided",
            12: f"{candidate} and {baseline} were not measured, which says nothing about their speed",
        }
        return said.get(self.exit_code, "stopped") + "."


def files(result: GateResult) -> dict[str, str]:
    """File name -> text."""
    return {
        "junit.xml": junit(result),
        "summary.md": summary(result),
        "bencher.json": bencher(result),
        "github-action-benchmark.json": action_benchmark(result),
    }


def junit(result: GateResult) -> str:
    """A test case per cell: a slow-down is a failure, what was not measured an error, what was not decided a skip."""
    kinds = {"slower": "failure", "not measured": "error", "not decided": "skipped"}
    counts = {name: sum(kinds.get(row.finding) == name for row in result.rows) for name in kinds.values()}
    totals = {"failures": counts["failure"], "errors": counts["error"], "skipped": counts["skipped"]}
    suite = ElementTree.Element("testsuite", name="waymark gate", tests=str(len(result.rows)))
    for name, count in totals.items():
        suite.set(name, str(count))
    for row in result.rows:
        words = printable(row.words)  # a log may have colours, which XML cannot hold
        classname = f"waymark.{printable(result.compared[1])}"
        case = ElementTree.SubElement(suite, "testcase", classname=classname, name=printable(row.cell))
        if row.finding in kinds:
            ElementTree.SubElement(case, kinds[row.finding], message=f"{row.finding}: {words}")
        ElementTree.SubElement(case, "system-out").text = words
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def summary(result: GateResult) -> str:
    """Markdown, as $GITHUB_STEP_SUMMARY takes it."""
    rows = [
        {"cell": row.cell, "finding": row.finding, "speed": row.words, "pairs": str(row.pairs)} for row in result.rows
    ]
    return f"## {result.sentence}\n\n{markdown_table(rows)}"


def bencher(result: GateResult) -> str:
    """Bencher Metric Format: the candidate's step in nanoseconds, and how many times as fast it is as its baseline."""
    cases = {}
    for row in result.rows:
        measures = {}
        if row.step_ms is not None:
            value, low, high = (ms * 1e6 for ms in row.step_ms)
            measures["latency"] = {"value": value, "lower_value": low, "upper_value": high}
        if row.ratio is not None and row.low is not None and row.high is not None:
            measures["speed-ratio"] = {"value": row.ratio, "lower_value": row.low, "upper_value": row.high}
        if measures:
            cases[row.cell] = measures
    return json.dumps(cases, indent=1) + "\n"


def action_benchmark(result: GateResult) -> str:
    """The custom JSON of github-action-benchmark, for its tool `customSmallerIsBetter`."""
    return (
        json.dumps(
            [
                {
                    "name": row.cell,
                    "unit": "ms per step",
                    "value": row.step_ms[0],
                    "range": f"{row.step_ms[1]:.4g} to {row.step_ms[2]:.4g}",
                    "extra": f"{result.compared[1]} beside {result.compared[0]}: {row.words}",
                }
                for row in result.rows
                if row.step_ms is not None
            ],
            indent=1,
        )
        + "\n"
    )
