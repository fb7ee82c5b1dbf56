"""The tables of a run in LaTeX: what they show, and that no text from outside runs."""

import re
import shutil
import subprocess

import pytest

from orchestrator.report.latex import escaped, latex_table, results_latex
from orchestrator.report.results_table import results_texts
from orchestrator.report.tables import summary_rows
from tests import fake_run as fake
from tests.fake_stored import checked, run, timed

HOSTILE = r"\input{/etc/passwd} $x^2$ 100% a&b #1 {c}_~ \write18{rm} [2em] *" + "\x1b[31m\u202e中"


def test_results_are_a_table_for_each_cell():
    stored = run(timed(), timed(fake.trial(model=fake.IDSIA, input_size=48), 2), checks=[checked()])
    text = results_latex(stored.facts, results_texts(stored, summary_rows(stored)), [])
    assert re.findall(r"caption\{(.+?)\. Med", text) == ["IDSIA@48 cpu", "ResNet-20@32 cpu"]
    assert text.count("pytorch:2.13 & ok (1 of 1) & ") == 2


def test_no_command_of_a_hostile_text_is_left():
    left = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}", "", escaped(HOSTILE)
    )
    left = re.sub(r"\\[&%$#_{}]|\{[\[\]*]\}", "", left)
    assert not set(left) & set("\\{}$&%#_^~[]*\x1b")


def test_a_table_without_rows_is_left_out():
    assert latex_table("none", []) == ""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (Debian: texlive-latex-recommended)")
def test_latex_builds_a_hostile_table(tmp_path):
    table = latex_table(HOSTILE, [{"subject": HOSTILE, HOSTILE: "1 %"}])
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,longtable}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{head}\n{table}\n\\end{{document}}\n", encoding="utf-8")
    done = subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout[-800:]
