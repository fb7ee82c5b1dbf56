"""Tables on stdout."""

import csv
import io

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
