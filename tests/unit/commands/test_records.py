"""What is done with runs on record: list them, show a trial, remove one."""

from datetime import timedelta

import pytest

from orchestrator.commands import records
from orchestrator.console.progress import Console
from orchestrator.errors import EngineError, StoreError
from orchestrator.execution.locks import exclusive_run
from orchestrator.home import Home
from orchestrator.records.store import Store
from tests import fake_run as fake

RUN = fake.run_facts().run_id


@pytest.fixture
def home(tmp_path):
    """A home with one run of two trials, in its folder and in the store."""
    home = Home(tmp_path / "home")
    folder = fake.write_run(home.runs, fake.run_facts(), fake.some_jobs())
    with Store.open(home.store_url) as store:
        store.ingest(folder)
    return home


def test_each_run_is_listed_with_its_trials_age_and_size(home):
    (row,) = records.run_rows(home)
    assert (row["run"], row["what"], row["trials"], row["engine"]) == (RUN, "sweep", 2, "docker")
    assert (row["size_MB"] > 0, row["age"].split()[1] in ("min", "h", "days")) == (True, True)


@pytest.mark.parametrize(("hours", "text"), [(0.5, "30 min"), (3, "3 h"), (47, "47 h"), (72, "3 days")])
def test_an_age_is_told_in_a_unit_that_suits_it(hours, text):
    assert records._age(timedelta(hours=hours)) == text


def test_a_run_without_a_folder_here_has_no_size(home):
    with Store.open(home.store_url) as store:
        store.add_run(fake.run_facts("20261122-120000-other"))
    assert {row["run"]: row["size_MB"] for row in records.run_rows(home)}["20261122-120000-other"] is None


@pytest.mark.parametrize("name", [f"{RUN}/1", "1"])
def test_a_trial_is_shown_by_run_and_number(home, name):
    title, rows = records.trial_rows(name, home)
    facts = {row["fact"]: row["value"] for row in rows}
    assert title == f"Trial 1 of {RUN}"
    assert facts["command"].startswith(f"invoke sweep --spec=reports/{RUN}/spec.json --device=cpu --frameworks=")


def test_a_trial_that_is_not_there_is_refused_by_number(home):
    with pytest.raises(StoreError, match=r"has no trial '7'\. Its trials are: 1, 2\."):
        records.trial_rows(f"{RUN}/7", home)


def test_a_run_is_removed_from_disk_store_and_reports(home, tmp_path):
    reports = tmp_path / "reports"
    (reports / RUN).mkdir(parents=True)
    records.remove(RUN, home, reports, Console())
    assert (records.run_rows(home), list(home.runs.iterdir()), list(reports.iterdir())) == ([], [], [])


@pytest.mark.parametrize("name", ["..", "20261121-120000-quik", ""])
def test_what_is_no_run_is_not_removed(home, tmp_path, name):
    with pytest.raises(StoreError, match="has no run"):
        records.remove(name, home, tmp_path, Console())
    assert len(records.run_rows(home)) == 1


def test_nothing_is_removed_while_a_run_is_going_on(home, tmp_path):
    with exclusive_run(home), pytest.raises(EngineError, match="another run is going on"):
        records.remove(RUN, home, tmp_path, Console())
