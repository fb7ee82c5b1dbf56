"""Runs that waymark 0.1 wrote (tests/old_runs): read, reported and resumed with the figures that they had then."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console as Terminal

from orchestrator.analysis import comparison
from orchestrator.commands import compare, records, sweep
from orchestrator.console.progress import Console
from orchestrator.execution.session import RunOptions
from orchestrator.home import Home
from orchestrator.records.store import Store
from orchestrator.report import summary_rows

OLD = Path(__file__).resolve().parent.parent / "old_runs"
FIRST, SECOND, THIRD, COMPARED = sorted(path.name for path in OLD.iterdir() if path.is_dir())
EXPECTED = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))
for _row in (row for rows in EXPECTED["summary"].values() for row in rows):
    del _row["memory_gib"]  # of the whole machine; since 0.4 it is in no row of a subject


def quiet():
    return Console(Terminal(file=io.StringIO(), width=200))


@pytest.fixture
def home(tmp_path):
    """A home that holds these run folders, and no store."""
    shutil.copytree(OLD, tmp_path / "home" / "runs", ignore=shutil.ignore_patterns("expected.json", "README.md"))
    return Home(tmp_path / "home")


@pytest.fixture
def ingested(home):
    assert records.ingest(home, quiet()) == 0
    return home


def rows_of(home, run_id):
    """Summary rows as 0.1 called things; it did not measure what other processes used."""
    with Store.open(home.store_url) as store:
        rows = [row.flat() for row in summary_rows(store.run(run_id))]
    assert {row.pop("foreign_percent") for row in rows} == {None}
    assert {row.pop("audit") for row in rows} == {""}
    assert {row.pop("load") for row in rows} <= {"unknown", ""}
    assert all(row.pop("epoch_images_per_second") is not None or row["ok"] == 0 for row in rows)
    return [{**row, "status": row["status"].replace("misconfigured", "environment")} for row in rows]


@pytest.mark.parametrize("run_id", [FIRST, SECOND, THIRD, COMPARED])
def test_an_old_run_has_the_figures_that_it_had(ingested, run_id):
    assert rows_of(ingested, run_id) == EXPECTED["summary"][run_id]


@pytest.mark.parametrize("run_id", [FIRST, SECOND, THIRD, COMPARED])
def test_an_old_question_has_the_key_that_it_had(ingested, run_id):
    with Store.open(ingested.store_url) as store:
        assert [one.trial.key for one in store.run(run_id).trials] == EXPECTED["trial_keys"][run_id]


def test_an_old_run_is_reported(ingested, tmp_path):
    report = records.render_again(FIRST, ingested, tmp_path)
    assert "misconfigured" in report.page.read_text(encoding="utf-8")
    rows = comparison.family(report.stored, report.stored.facts.pairs, comparison.NoiseFloors())
    assert rows == EXPECTED["pairs"]


def test_two_old_runs_are_compared(ingested):
    assert compare.recorded(ingested, (SECOND, THIRD)) == EXPECTED["compare_runs"]


def test_an_old_comparison_is_told_again(ingested):
    assert compare.recorded(ingested, (COMPARED, COMPARED)) == EXPECTED["compare_one"]


def test_an_old_run_that_was_stopped_is_resumed(ingested, tmp_path, catalogue):
    home, run = ingested, ingested.runs / FIRST
    for job in ("0005-numpy_ref-1.0-resnet-8-32-cpu-s0-r1", "0006-numpy_ref-1.0-unmet-resnet-8-32-cpu-s0-r1"):
        shutil.rmtree(run / job)
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**facts, "engine": f"replay:{OLD / FIRST}"}), encoding="utf-8")
    home.root.joinpath("store.sqlite").unlink()
    records.ingest(home, quiet())
    row = catalogue.resolve("numpy_ref", "cpu")
    rows = tuple(replace(row, variant=variant) for variant in ("1.0", "1.0-threads", "1.0-unmet"))
    catalogue = replace(catalogue, tables={**catalogue.tables, "numpy_ref": rows})

    said = io.StringIO()
    request = sweep.SweepRequest(tmp_path / "unread.json", resume=FIRST, options=RunOptions())
    sweep.sweep(request, catalogue, home, tmp_path / "reports", Console(Terminal(file=said, width=200)))
    assert said.getvalue().count("already done, with earlier worker code") == 3
    assert [without_launch(row) for row in rows_of(home, FIRST)] == [
        without_launch(row) for row in EXPECTED["summary"][FIRST]
    ]


def without_launch(row):
    """The row without what the engine that replays knows nothing of: nobody watched the machine."""
    unknown = ("cpu_percent", "steal_percent", "cpu_joules")
    return {name: value for name, value in row.items() if name not in unknown}
