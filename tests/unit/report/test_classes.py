"""Which classes are recognised, and which are taken for which: tables and chart."""

import csv
import io

import pytest

from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.records.timeline import read_timeline
from orchestrator.report import html
from orchestrator.report.class_charts import confusions
from orchestrator.report.studies import classes_section
from tests import fake_run as fake

COUNTS = [[0, 0, 8], [0, 1, 2], [1, 0, 5], [1, 1, 5], [2, 1, 10]]
NAMES = ("stop", "<b>yield</b>", "\u202eevil")


def trial(seed=0, counts=COUNTS, framework="pytorch"):
    asked = fake.trial(seed=seed, framework=framework)
    said = [(event.kind, event.fields) for event in fake.training()]
    said.insert(-1, ("confusion", {"counts": counts}))
    return StoredTrial(fake.trial_record(asked), fake.OK, fake.ENDED, read_timeline(fake.events(*said)))


def run(*trials, **facts):
    names = {"gtsrb": NAMES} if not facts else facts["names"]
    return StoredRun(fake.run_facts(class_names=names), tuple(trials), ())


def table(section, name):
    return next(table for table in section.tables if table.name == name).rows


def test_the_hardest_class_and_its_confusions_are_named():
    (row,) = table(classes_section(run(trial())), "classes")
    assert (row["least"], row["accuracy_least"], row["classes_missed"]) == ("\ufffdevil", 0.0, 1)
    assert row["confused"].startswith("\ufffdevil for <b>yield</b> (10 of 10); <b>yield</b> for stop (5 of 10)")


def test_trials_of_a_row_are_counted_together():
    rows = table(classes_section(run(trial(0), trial(1))), "accuracy-by-class")
    assert [(row["pictures"], row["accuracy_test"]) for row in rows] == [(20, 0.8), (20, 0.5), (20, 0.0)]
    assert (rows[0]["taken_for"], rows[0]["share_taken"]) == ("<b>yield</b>", 0.2)


def test_a_row_of_each_subject_is_told():
    section = classes_section(run(trial(), trial(framework="mxnet")))
    assert [row["subject"].split(":")[0] for row in table(section, "classes")] == ["pytorch", "mxnet"]


def test_a_run_without_confusions_has_no_section():
    asked = fake.trial()
    silent = StoredTrial(fake.trial_record(asked), fake.OK, fake.ENDED, read_timeline(fake.training()))
    assert classes_section(run(silent)) is None


def test_classes_of_older_runs_are_numbers():
    rows = table(classes_section(run(trial(), names={})), "confusion")
    assert (rows[1]["class"], rows[1]["taken_for"], rows[1]["pictures"]) == ("0", "1", 2)


@pytest.mark.parametrize("counts", [[[0, 0]], [[0, -1, 3]], [[0, 0, 0]], [["a", 0, 1]]])
def test_counts_that_are_none_are_left_out(counts):
    assert trial(counts=counts).timeline.confusion is None
    assert trial(counts=counts).timeline.unread == 1


def test_hostile_names_are_inert_on_the_page_and_in_the_table(tmp_path, home):
    stored = run(trial())
    section = classes_section(stored)
    page = html.render(stored, tmp_path / "report", home, None, [section], [], None)
    text = page.read_text()
    assert "<b>yield" not in text.split("<script")[0]
    assert "\u202e" not in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report" / "confusion.csv").read_text())))
    assert rows[1]["taken_for"] == "<b>yield</b>"


def test_the_chart_has_a_panel_for_each_row():
    altair = pytest.importorskip("altair")
    stored = run(trial(), trial(1), trial(framework="mxnet"))
    (drawing,) = confusions(altair, stored, list(stored.trials))
    values = drawing.chart["data"]["values"]
    assert {point["cell"].rpartition(" ")[2].split(":")[0] for point in values} == {"pytorch", "mxnet"}
    assert {point["share"] for point in values if point["true"] == 0} == {0.8, 0.2}


def test_a_chart_of_too_many_classes_is_not_drawn():
    altair = pytest.importorskip("altair")
    stored = run(trial(counts=[[label, label, 1] for label in range(200)]))
    assert confusions(altair, stored, list(stored.trials)) == []
