"""What is done with runs on record: list them, show a trial, remove one."""

from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.commands import reap, records
from orchestrator.console.progress import Console
from orchestrator.errors import LockedError, SpecError, StoreError
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
    assert facts["command"].startswith(f"invoke sweep --spec={RUN} --device=cpu --frameworks=")


def test_a_trial_that_is_not_there_is_refused_by_number(home):
    with pytest.raises(StoreError, match=r"has no trial '7'\. Its trials are: 1, 2\."):
        records.trial_rows(f"{RUN}/7", home)


def test_a_run_is_removed_from_disk_store_and_reports(home, tmp_path):
    reports = tmp_path / "reports"
    (reports / RUN).mkdir(parents=True)
    records.remove(RUN, home, reports, Console())
    assert (records.run_rows(home), list(home.runs.iterdir()), list(reports.iterdir())) == ([], [], [])


@pytest.mark.parametrize("step", ["rename", "remove"])
def test_a_removal_that_was_killed_can_be_finished(home, tmp_path, monkeypatch, step):
    reports = tmp_path / "reports"
    (reports / RUN).mkdir(parents=True)
    where = {"rename": Path, "remove": records.files}[step]
    plain = getattr(where, step)

    def killed(path, *more):
        if step == "rename":
            plain(path, *more)
        if step == "rename" or path.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(where, step, killed)
        with pytest.raises(KeyboardInterrupt):
            records.remove(RUN, home, reports, Console())
    assert records.ingest(home, Console()) == 0
    with Store.open(home.store_url) as store:
        known = {run.run_id: len(store.run(run.run_id).trials) for run in store.runs()}
    assert known == ({RUN: 2} if step == "rename" else {})  # never a part of it
    assert reap.leftovers(home, reports) != []
    if step == "rename":
        records.remove(RUN, home, reports, Console())
    else:
        reap.reap(home, reports, Console())
    with Store.open(home.store_url) as store:
        assert store.runs() == []
    assert (list(home.runs.iterdir()), list(reports.iterdir())) == ([], [])


def test_reaping_finishes_a_removal_in_the_store_too(home, tmp_path):
    (home.runs / RUN).rename(home.runs / f".removed-{RUN}")
    reap.reap(home, tmp_path / "reports", Console())
    with Store.open(home.store_url) as store:
        assert store.runs() == []
    assert list(home.runs.iterdir()) == []


def test_reaping_removes_what_a_killed_run_left_and_no_more(home, tmp_path):
    job = next((home.runs / RUN).glob("0001-*"))
    for name in (".before-0001-x", ".refused-0001-x"):
        (home.runs / RUN / name).mkdir()
    (home.runs / "20261130-000000-empty").mkdir()
    (job / ".outcome.json.0123abcd.draft").touch()
    (home.virtualenvs / "half").mkdir(parents=True)
    (home.virtualenvs / "whole").mkdir()
    (home.virtualenvs / "whole" / "waymark-complete").touch()
    kept = {path.name for path in (home.runs / RUN).iterdir() if not path.name.startswith(".")}
    assert len(reap.leftovers(home, tmp_path / "reports")) == 5
    reap.reap(home, tmp_path / "reports", Console())
    assert reap.leftovers(home, tmp_path / "reports") == []
    assert {path.name for path in (home.runs / RUN).iterdir()} == kept
    assert [path.name for path in home.virtualenvs.iterdir()] == ["whole"]
    assert len(records.run_rows(home)) == 1


@pytest.mark.parametrize("name", ["..", "20261121-120000-quik", ""])
def test_what_is_no_run_is_not_removed(home, tmp_path, name):
    with pytest.raises(StoreError, match="has no run"):
        records.remove(name, home, tmp_path, Console())
    assert len(records.run_rows(home)) == 1


def test_the_run_that_is_going_on_is_not_removed(home, tmp_path):
    with exclusive_run(home), pytest.raises(LockedError, match="another run is going on"):
        records.remove(RUN, home, tmp_path, Console())


def ended(run_id=RUN, **changes):
    return fake.run_facts(run_id, host=fake.host(load_after=fake.load()), **changes)


def test_a_run_that_has_ended_is_removed_beside_another(home, tmp_path):
    with Store.open(home.store_url) as store:
        store.add_run(ended())
    with exclusive_run(home):
        records.remove(RUN, home, tmp_path, Console())
    assert records.run_rows(home) == []


@pytest.mark.parametrize(
    ("facts", "trials", "state"),
    [
        (ended(planned=9), 2, "ended"),
        (ended(planned=9, is_stopped=True), "2 of 9", "stopped: sweep --resume"),
        (fake.run_facts(planned=9), "2 of 9", "going on, or killed: sweep --resume"),
        (fake.run_facts(), 2, "going on, or killed: sweep --resume"),
    ],
    ids=["ended", "stopped", "killed", "of an earlier version"],
)
def test_a_run_tells_how_many_were_planned_and_its_state(home, facts, trials, state):
    with Store.open(home.store_url) as store:
        store.add_run(facts)
    (row,) = records.run_rows(home)
    assert (row["trials"], row["state"]) == (trials, state)


OF_MLFLOW = pytest.mark.filterwarnings("default")  # it uses what its own libraries call deprecated


@OF_MLFLOW
def test_mlflow_reads_back_what_was_exported(home, tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    records.export_to_mlflow(RUN, uri, home, Console())
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(RUN)
    runs = {run.data.params["repeat"] + run.info.status: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["0FAILED", "0FINISHED"]
    ended = runs["0FINISHED"]
    assert ended.data.params["training.batch_size"] == str(fake.trial().training.batch_size)
    assert ended.data.tags["waymark.status"] == "ok"
    losses = client.get_metric_history(ended.info.run_id, "loss")
    assert [metric.step for metric in losses] == [0, 1]


@OF_MLFLOW
def test_a_run_is_exported_to_mlflow_once(home, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    records.export_to_mlflow(RUN, uri, home, Console())
    with pytest.raises(StoreError, match=r"has an experiment .* already"):
        records.export_to_mlflow(RUN, uri, home, Console())


@OF_MLFLOW
def test_a_place_that_mlflow_does_not_know_is_refused(home):
    with pytest.raises(StoreError, match="MLflow cannot write to ftp:"):
        records.export_to_mlflow(RUN, "ftp://nowhere.example", home, Console())


def test_a_folder_is_no_address_of_mlflow(home):
    with pytest.raises(SpecError, match=r"--to is runs; MLflow takes an address: sqlite:///runs/mlflow\.db"):
        records.export_to_mlflow(RUN, "runs", home, Console())
