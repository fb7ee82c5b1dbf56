"""Several runs on one page: what stands beside each other, and what does not."""

import csv
from dataclasses import replace

from orchestrator.records.host_facts import RecordedHost
from orchestrator.report.collection import CSV, Entry, write_collection
from tests import fake_run as fake
from tests.fake_stored import checked, run, timed

HERE, THERE = "a" * 64, "b" * 64


def entry(run_id, host=HERE, started=1.0, step=0.1, **said):
    facts = {"host": fake.run_facts().host.model_copy(update={"hostname_sha256": host}), "started_unix": started}
    stored = run(timed(said.pop("trial", None), step_seconds=step), checks=[checked(**said)], run_id=run_id, **facts)
    return Entry.of(stored, f"{run_id}/index.html")


def rows_of(folder, *entries):
    write_collection(entries, folder, "Runs")
    return list(csv.DictReader((folder / CSV).read_text().splitlines()))


def test_machines_are_never_mixed(tmp_path):
    rows = rows_of(tmp_path, entry("one"), entry("two", host=THERE, started=2.0), entry("three", started=3.0))
    assert [(row["machine"], row["run"]) for row in rows] == [
        ("Machine 1", "one"),
        ("Machine 1", "three"),
        ("Machine 2", "two"),
    ]


def test_a_run_that_joins_two_machines_makes_them_one(tmp_path):
    entries = [entry("one"), entry("two", host=THERE, started=2.0), entry("three", started=3.0)]
    marks = {"one": ("system",), "two": ("boot",), "three": ("system", "boot")}
    hosts = [one.facts.host.model_copy(update={"marks": marks[one.facts.run_id]}) for one in entries]
    marked = [
        replace(one, facts=one.facts.model_copy(update={"host": host}))
        for one, host in zip(entries, hosts, strict=True)
    ]
    assert {row["machine"] for row in rows_of(tmp_path / "all", *marked)} == {"Machine 1"}
    assert {row["machine"] for row in rows_of(tmp_path / "two", *marked[:2])} == {"Machine 1", "Machine 2"}


def test_a_machine_that_no_record_names_stands_alone(tmp_path):
    rows = rows_of(tmp_path, entry("one", host=""), entry("two", host="", started=2.0))
    assert [row["machine"] for row in rows] == ["Machine 1", "Machine 2"]


def test_rows_stand_by_subject_and_time_and_not_by_speed(tmp_path):
    mxnet = entry("mxnet", step=0.01, trial=fake.trial("mxnet", "1.5"))
    rows = rows_of(tmp_path, entry("new", step=0.2, started=2.0), entry("old", step=0.3), mxnet)
    assert [row["run"] for row in rows] == ["mxnet", "old", "new"]


def test_each_run_brings_its_caveats(tmp_path):
    rows_of(tmp_path, entry("one"))
    page = (tmp_path / "index.html").read_text()
    assert "What limits these numbers" in page
    assert "fewer than 6 repeats" in page


def test_a_disturbed_row_is_named_above_the_table(tmp_path):
    loud = Entry.of(run(timed(others=90.0), checks=[checked()]), "loud/index.html")
    (row,) = rows_of(tmp_path, loud)
    page = (tmp_path / "index.html").read_text()
    assert (row["load"], float(row["foreign_percent"])) == ("disturbed", 90.0)
    assert page.index("used the processors of 1 of 1 rows") < page.index("<table")
    assert "90.0 %" in page


def test_another_batch_size_is_another_group(tmp_path):
    trial = fake.trial()
    small = fake.trial(training=trial.training.model_copy(update={"batch_size": 8}))
    rows = rows_of(tmp_path, entry("one"), entry("two", trial=small))
    assert len({row["group"] for row in rows}) == 2


def test_a_history_is_of_what_several_runs_timed(tmp_path):
    write_collection([entry("new", started=2.0, step=0.2), entry("old", started=1.0, step=0.1)], tmp_path, "Runs")
    page = (tmp_path / "index.html").read_text()
    assert page[page.index("History") :].index(">old<") < page[page.index("History") :].index(">new<")
    assert "2.00x" in page


def test_one_run_has_no_history(tmp_path):
    assert "History" not in write_collection([entry("one")], tmp_path, "Runs").read_text()


def test_names_from_outside_are_inert(tmp_path):
    hostile = RecordedHost(hostname_sha256=HERE, cpu_model="<script>alert(1)</script>")
    page = write_collection([Entry.of(run(timed(), host=hostile), "x")], tmp_path, "<b>").read_text()
    assert ("<script>alert" in page, "<b>" in page, "&lt;script&gt;alert" in page) == (False, False, True)


def test_a_disturbed_run_is_in_no_history(tmp_path):
    loud = run(timed(others=90.0), checks=[checked()], run_id="loud", started_unix=2.0)
    write_collection([entry("one"), Entry.of(loud, "loud/index.html")], tmp_path, "Runs")
    assert "History" not in (tmp_path / "index.html").read_text()
