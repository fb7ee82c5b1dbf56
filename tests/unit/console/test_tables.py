"""Tables on stdout."""

import csv
import io

import pytest

from orchestrator.console.tables import as_csv, is_table, show

ROWS = [{"cell": "IDSIA@48", "step_ms": 1.5, "note": "=cmd()"}]


def test_csv_has_every_column_and_nothing_to_run(capsys):
    with as_csv(True):
        show("title", ROWS, False, {"cell": "cell"})
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row == {"cell": "IDSIA@48", "step_ms": "1.5", "note": "'=cmd()"}


def test_a_table_has_the_columns_that_are_named(capsys):
    show("title", ROWS, False, {"cell": "cell"})
    said = capsys.readouterr().out
    assert ("IDSIA@48" in said, "1.5" in said) == (True, False)


def test_csv_ends_with_its_verb():
    with as_csv(True):
        assert not is_table()
    assert is_table()


RUN = "20261129-211526-quick-of-a-long-name"
MANY = [
    {"run": RUN, "what": "sweep", "began": "2026-11-29 21:15", "state": "stopped: sweep --resume", "engine": "docker"}
]


@pytest.mark.parametrize("columns", [80, 60, 40])
def test_ids_stay_whole_and_other_columns_go_first(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    show("Runs", MANY, False)
    said = capsys.readouterr().out
    assert RUN in said
    assert ("more columns in a wider terminal" in said) == (columns < 80)


def test_no_color_leaves_no_escapes(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    show("Runs", MANY, False)
    assert "\x1b" not in capsys.readouterr().out


def test_text_is_no_markup_and_controls_no_terminal(capsys):
    show("title", [{"reason": "[/x] [red]no[/red] \x1b]0;mine\x07 end"}], False)
    said = capsys.readouterr().out
    assert "[/x] [red]no[/red]" in " ".join(said.split())
    assert "\x1b]" not in said
    assert "\x07" not in said
