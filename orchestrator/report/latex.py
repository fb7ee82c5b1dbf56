"""The tables of a run in LaTeX, for a paper: a file for \\input that needs the packages booktabs and longtable."""

from collections.abc import Collection, Mapping, Sequence

from orchestrator.printable import printable
from orchestrator.records.run_folder import RunFacts
from orchestrator.report.results_table import NARROW
from orchestrator.report.studies import Section

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "°": r"\textdegree{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{char: f"{{{char}}}" for char in "[]*"},  # after a line's end they would be its options
}
_NUMERIC = {"test", "step ms", "images/s, epoch", "epoch s", "spread"}


def results_latex(facts: RunFacts, texts: Sequence[Mapping[str, str]], sections: Sequence[Section]) -> str:
    """A table of the results of each cell, and every table of the studies. texts: of results_table.results_texts."""
    parts = [
        f"% {escaped(facts.run_id)}, made by waymark {escaped(facts.waymark_version)}.\n"
        "% \\usepackage{booktabs, longtable}, and \\usepackage[T1]{fontenc} for quotation marks\n"
    ]
    for cell in dict.fromkeys(row["cell"] for row in texts):
        rows = [{name: row[name] for name in NARROW} for row in texts if row["cell"] == cell]
        parts.append(latex_table(f"{cell}{facts.league_words}. Medians over the trials that ended ok.", rows, _NUMERIC))
    for section in sections:
        parts += [latex_table(table.caption, table.texts, table.numeric_headings) for table in section.tables]
    return "\n".join(filter(None, parts))


def latex_table(caption: str, rows: Sequence[Mapping[str, str]], numeric: Collection[str] = ()) -> str:
    """Rows of text as a longtable, with the names of the first row as its header; '' for no rows."""
    if not rows:
        return ""
    names = list(rows[0])
    columns = "".join("r" if name in numeric else "l" for name in names)
    lines = [_line(names), *(_line(row.values()) for row in rows)]
    return (
        f"\\begin{{longtable}}{{{columns}}}\n\\caption{{{escaped(caption)}}}\\\\\n\\toprule\n{lines[0]}\\midrule\n"
        f"\\endhead\n{''.join(lines[1:])}\\bottomrule\n\\end{{longtable}}\n"
    )


def _line(texts: Collection[str]) -> str:
    return " & ".join(map(escaped, texts)) + " \\\\\n"


def escaped(text: str) -> str:
    """Text that any LaTeX prints and never runs, on one line; what is not Latin-1 is a question mark."""
    plain = " ".join(printable(text).split())
    return "".join(_SPECIAL.get(char, char if ord(char) < 256 else "?") for char in plain)
