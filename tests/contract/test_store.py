"""What every store keeps to, in SQLite and, where its server is installed, in PostgreSQL."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.errors import StoreError
from orchestrator.execution.selfcheck import request_of
from orchestrator.networks import Network
from orchestrator.records import store as index
from orchestrator.records.job import AuditRequest
from orchestrator.records.run_folder import JobFolder, RunFolder
from orchestrator.records.store import Store
from orchestrator.records.stored import CheckSubject
from orchestrator.records.timeline import read_timeline
from tests import fake_run as fake

OLD_SCHEMAS = Path(__file__).resolve().parent.parent / "old_schemas"


def network_of(record):
    return Network.of(record.trial.model, record.trial.input_size, record.data.classes)


def question(record):
    request = record.check or request_of(record.trial, network_of(record))
    where = (record.environment.identity, record.worker_sha256, record.processor)
    return CheckSubject.of_request(*where, request), request


def test_a_trial_comes_back_as_it_went_in(store):
    record, _, _, said = job = fake.some_jobs()[0]
    fake.add_all(store, fake.run_facts(), [job])
    trial = store.run(record.run_id).trials[0]
    said = tuple(event for event in said if event.kind != "progress")
    assert (trial.record, trial.exit, trial.outcome, trial.timeline.scores) == (
        record,
        fake.ENDED,
        fake.OK,
        read_timeline(said).scores,
    )


def test_what_the_machine_did_comes_back_as_it_went_in(store):
    record, exit_, outcome, said = fake.some_jobs()[0]
    store.add_run(fake.run_facts())
    store.add(record, exit_, outcome, said, fake.SAMPLES)
    assert store.run(record.run_id).trials[0].samples == fake.SAMPLES


def test_rebuilding_takes_up_what_the_machine_did(store, tmp_path):
    folder = fake.write_run(tmp_path, fake.run_facts(), fake.some_jobs())
    lines = "".join(sample.model_dump_json() + "\n" for sample in fake.SAMPLES)
    (folder / "0001-job" / "telemetry.jsonl").write_text(lines)
    store.ingest(folder)
    assert [trial.samples for trial in store.run(fake.run_facts().run_id).trials] == [fake.SAMPLES, ()]


def test_a_run_comes_back_as_it_went_in(store):
    store.add_run(fake.run_facts())
    assert store.run(fake.run_facts().run_id).facts == fake.run_facts()


def test_trials_come_back_in_the_order_of_the_plan(store):
    fake.add_all(store, fake.run_facts(), reversed(fake.some_jobs()))
    assert [trial.record.ordinal for trial in store.run(fake.run_facts().run_id).trials] == [1, 2]


def test_adding_twice_is_adding_once(store):
    fake.add_all(store, fake.run_facts(), fake.some_jobs())
    once = repr(store.run(fake.run_facts().run_id))
    fake.add_all(store, fake.run_facts(), fake.some_jobs())
    assert repr(store.run(fake.run_facts().run_id)) == once


def test_a_job_done_again_replaces_the_first_answer(store):
    record = fake.trial_record()
    fake.add_all(
        store, fake.run_facts(), [(record, None, fake.CRASHED, []), (record, fake.ENDED, fake.OK, fake.training())]
    )
    assert [trial.outcome for trial in store.run(record.run_id).trials] == [fake.OK]


def test_a_job_of_a_run_that_was_never_added_is_our_bug(store):
    with pytest.raises(sa.exc.IntegrityError):
        store.add(fake.trial_record(), None, fake.OK, [])


def test_a_job_without_packed_bytes_is_read_from_events(store):
    """As in a store that was filled by waymark 0.2."""
    fake.add_all(store, fake.run_facts(), fake.some_jobs())
    packed = repr(store.run(fake.run_facts().run_id))
    store._database.write(lambda connection: connection.execute(sa.update(index._jobs).values(timeline=None)))
    assert repr(store.run(fake.run_facts().run_id)) == packed


def test_rebuilding_gives_the_rows_of_adding(store, tmp_path):
    fake.add_all(store, fake.run_facts(), fake.some_jobs())
    fake.write_run(tmp_path / "runs", fake.run_facts(), fake.some_jobs())
    with Store.open(f"sqlite:///{tmp_path / 'again.sqlite'}") as again:
        again.rebuild(tmp_path / "runs", lambda line: None)
        assert repr(again.run(fake.run_facts().run_id)) == repr(store.run(fake.run_facts().run_id))


def test_rebuilding_counts_runs_and_jobs(store, tmp_path):
    fake.write_run(tmp_path / "runs", fake.run_facts(), fake.some_jobs())
    fake.write_run(tmp_path / "runs", fake.run_facts("another"), [])
    assert store.rebuild(tmp_path / "runs", lambda line: None) == index.Ingested(runs=2, jobs=3, damaged=())


def test_rebuilding_where_nothing_ever_ran_finds_nothing(store, tmp_path):
    assert store.rebuild(tmp_path / "absent", lambda line: None).runs == 0


def test_a_job_without_outcome_is_lost(store, tmp_path):
    record = fake.trial_record()
    store.ingest(fake.write_run(tmp_path, fake.run_facts(), [(record, None, None, fake.training()[:3])]))
    outcome = store.run(record.run_id).trials[0].outcome
    assert (outcome.status, outcome.fault) == ("lost", "unknown")


@pytest.mark.parametrize("name", ["record.json", "exit.json", "outcome.json"])
@pytest.mark.parametrize("content", ["", "{", '{"run_id": 5}', "\udcff"], ids=["empty", "torn", "wrong", "bytes"])
def test_a_damaged_job_is_named_and_stops_nothing_else(store, tmp_path, name, content):
    folder = fake.write_run(tmp_path, fake.run_facts(), fake.some_jobs())
    (folder / "0001-job" / name).write_bytes(content.encode(errors="surrogateescape"))
    read = store.ingest(folder)
    assert (read.jobs, "0001-job" in read.damaged[0]) == (2, True)


def test_a_job_folder_without_a_record_is_named(store, tmp_path):
    folder = fake.write_run(tmp_path, fake.run_facts(), fake.some_jobs())
    (folder / "0002-job" / "record.json").unlink()
    assert store.ingest(folder).damaged == (
        f"{folder / '0002-job' / 'record.json'} cannot be read (No such file or directory).",
    )


def test_a_job_that_strayed_from_another_run_is_named(store, tmp_path):
    folder = fake.write_run(tmp_path, fake.run_facts(), [(fake.trial_record(run_id="other"), None, fake.OK, [])])
    assert "belongs to run 'other'" in store.ingest(folder).damaged[0]


def meanwhile(monkeypatch, owner, name, act):
    """Have `act` done once, after the first call of `owner.name`: what a sweep does beside an ingest."""
    plain, waiting = getattr(owner, name), [act]

    def call(*arguments, **named):
        given = plain(*arguments, **named)
        while waiting:
            waiting.pop()()
        return given

    monkeypatch.setattr(owner, name, call)


def test_a_job_that_ends_during_an_ingest_stays(store, tmp_path, monkeypatch):
    first, second, *_ = fake.some_jobs()
    folder = fake.write_run(tmp_path, fake.run_facts(), [first])

    def end_another():
        fake.write_run(tmp_path, fake.run_facts(), [first, second])
        store.add(*second)

    meanwhile(monkeypatch, RunFolder, "jobs", end_another)
    store.ingest(folder)
    assert [trial.record.ordinal for trial in store.run(fake.run_facts().run_id).trials] == [1, 2]


def test_an_outcome_that_comes_during_an_ingest_stays(store, tmp_path, monkeypatch):
    record, exit_, outcome, said = fake.some_jobs()[0]
    folder = fake.write_run(tmp_path, fake.run_facts(), [(record, None, None, said[:3])])

    def end():
        fake.write_run(tmp_path, fake.run_facts(), [(record, exit_, outcome, said)])
        store.add(record, exit_, outcome, said)

    meanwhile(monkeypatch, JobFolder, "outcome", end)
    store.ingest(folder)
    assert [trial.outcome.status for trial in store.run(record.run_id).trials] == ["ok"]


def test_a_record_that_changes_its_run_meanwhile_is_refused(store, tmp_path, monkeypatch):
    record, *job = fake.some_jobs()[0]
    folder = fake.write_run(tmp_path, fake.run_facts(), [(record, *job)])
    store.add_run(fake.run_facts("another"))

    def forge():
        JobFolder(folder / "0001-job").write("record.json", record.model_copy(update={"run_id": "another"}))

    meanwhile(monkeypatch, RunFolder, "jobs", forge)
    assert "says that it is job 1 of run 'another'" in store.ingest(folder).damaged[0]
    assert store.run("another").trials == ()


def test_the_end_of_a_run_during_an_ingest_stays(store, tmp_path, monkeypatch):
    ended = fake.run_facts(host=fake.host(load_after=fake.load()))
    folder = fake.write_run(tmp_path, fake.run_facts(), fake.some_jobs())

    def end():
        fake.write_run(tmp_path, ended, fake.some_jobs())
        store.add_run(ended)

    meanwhile(monkeypatch, RunFolder, "facts", end)
    store.ingest(folder)
    assert store.run(ended.run_id).facts.state == "ended"


def test_a_run_that_is_removed_during_an_ingest_is_gone(store, tmp_path, monkeypatch):
    folder = fake.write_run(tmp_path / "runs", fake.run_facts(), fake.some_jobs())

    def remove():
        folder.rename(tmp_path / "removed")
        store.remove(fake.run_facts().run_id)

    meanwhile(monkeypatch, RunFolder, "jobs", remove)
    store.ingest(folder)
    assert store.runs() == []


def test_a_folder_that_is_no_run_is_named(store, tmp_path):
    runs = tmp_path / "runs"
    (runs / "stray").mkdir(parents=True)
    assert store.rebuild(runs, lambda line: None).damaged == ()  # of a run that was killed at its very start
    (runs / "stray" / "notes.txt").touch()
    assert "run.json cannot be read" in store.rebuild(runs, lambda line: None).damaged[0]


def test_resuming_asks_only_for_what_ended_ok(store):
    fake.add_all(store, fake.run_facts(), fake.some_jobs())
    assert [record.id for record in store.ok_records(fake.run_facts().run_id)] == ["id-1"]


def test_resuming_one_run_ignores_the_others(store):
    fake.add_all(store, fake.run_facts("another"), fake.some_jobs("another"))
    assert store.ok_records(fake.run_facts().run_id) == []


def test_a_check_that_passed_is_found(store):
    record = fake.check_record()
    fake.add_all(store, fake.run_facts(), [(record, fake.ENDED, fake.OK, fake.checking())])
    assert store.passing_check(*question(record)).timeline.check.figures == fake.FIGURES


@pytest.mark.parametrize(
    ("outcome", "said"),
    [(fake.OK, fake.checking(passed=False)), (fake.CRASHED, fake.checking()), (fake.OK, [])],
    ids=["failed", "crashed", "silent"],
)
def test_a_check_that_did_not_pass_is_no_passing_check(store, outcome, said):
    record = fake.check_record()
    fake.add_all(store, fake.run_facts(), [(record, fake.ENDED, outcome, said)])
    assert store.passing_check(*question(record)) is None


def test_a_later_check_that_failed_takes_an_earlier_pass_back(store):
    record = fake.check_record(run_id="before")
    fake.add_all(store, fake.run_facts("before", started_unix=1.0), [(record, fake.ENDED, fake.OK, fake.checking())])
    failed = (fake.check_record(), fake.ENDED, fake.OK, fake.checking(passed=False))
    fake.add_all(store, fake.run_facts(), [failed])
    assert store.passing_check(*question(record)) is None


def test_the_latest_check_may_have_failed(store):
    record = fake.check_record()
    fake.add_all(store, fake.run_facts(), [(record, fake.ENDED, fake.OK, fake.checking(passed=False))])
    assert not store.latest_check(*question(record)).passed


@pytest.mark.parametrize(
    "change",
    [
        {"environment": fake.environment(identity="sha256:rebuilt")},
        {"worker_sha256": "0" * 64},
        {"model": fake.IDSIA, "input_size": 48},
        {"input_size": 48},
        {"batch_size": 32},
        {"steps": "first"},
        {"threads": 4},
        {"processor": "another"},
        {"network_sha256": "0" * 64},
    ],
    ids=["environment", "worker", "model", "size", "batch", "first step", "threads", "processor", "ops"],
)
def test_a_check_of_anything_else_does_not_count(store, change):
    fake.add_all(store, fake.run_facts(), [(fake.check_record(**change), fake.ENDED, fake.OK, fake.checking())])
    assert store.passing_check(*question(fake.check_record())) is None


def test_a_check_of_all_steps_includes_the_first(store):
    fake.add_all(store, fake.run_facts(), [(fake.check_record(), fake.ENDED, fake.OK, fake.checking())])
    assert store.passing_check(*question(fake.check_record(steps="first"))) is not None


def test_an_audit_comes_back_with_its_run_and_is_no_check(store):
    trial, check = fake.trial_record(), fake.check_record()
    request = AuditRequest(ordinal=trial.ordinal, trial=trial.trial, events_sha256=None)
    audit = fake.trial_record(ordinal=95).model_copy(update={"trial": None, "audit": request})
    jobs = [(trial, fake.ENDED, fake.OK, fake.training()), (audit, fake.ENDED, fake.OK, fake.checking())]
    fake.add_all(store, fake.run_facts(), jobs)
    stored = store.run(trial.run_id)
    assert [one.record for one in stored.audits] == [audit]
    assert stored.audit_of(stored.trials[0]).passed
    assert (stored.checks, store.latest_check(*question(check))) == ((), None)


def test_a_trial_is_no_check(store):
    fake.add_all(store, fake.run_facts(), fake.some_jobs()[:1])
    assert store.latest_check(*question(fake.trial_record())) is None


def test_a_run_that_did_not_check_shows_the_check_on_record(store):
    fake.add_all(store, fake.run_facts("before", started_unix=1.0), fake.some_jobs("before")[2:])
    fake.add_all(store, fake.run_facts(), fake.some_jobs()[:1])
    assert [check.record.run_id for check in store.run(fake.run_facts().run_id).checks] == ["before"]


def test_a_check_of_one_size_stands_for_the_network(store):
    fake.add_all(store, fake.run_facts("before", started_unix=1.0), fake.some_jobs("before")[2:])
    at_48 = fake.trial_record(fake.trial(input_size=48))
    fake.add_all(store, fake.run_facts(), [(at_48, fake.ENDED, fake.OK, fake.training())])
    assert len(store.run(fake.run_facts().run_id).checks) == 1


def test_a_trial_shows_the_check_of_its_own_first_step_too(store):
    whole = fake.check_record(run_id="before")
    at_48, at_64 = (
        fake.check_record(run_id="before", ordinal=number, input_size=size, steps="first")
        for number, size in ((91, 48), (92, 64))
    )
    checks = [(check, fake.ENDED, fake.OK, fake.checking()) for check in (whole, at_48, at_64)]
    fake.add_all(store, fake.run_facts("before", started_unix=1.0), checks)
    trial = fake.trial_record(fake.trial(input_size=48))
    fake.add_all(store, fake.run_facts(), [(trial, fake.ENDED, fake.OK, fake.training())])
    stored = store.run(fake.run_facts().run_id)
    assert [check.record.ordinal for check in stored.checks] == [90, 91]
    assert all(check.covers(stored.trials[0]) for check in stored.checks)


def test_environments_stand_once_in_order_of_use(store):
    tensorflow = fake.trial_record(fake.trial("tensorflow", "2.21"), ordinal=3)
    fake.add_all(store, fake.run_facts(), [*fake.some_jobs(), (tensorflow, fake.ENDED, fake.OK, [])])
    names = [one.framework for one in store.run(fake.run_facts().run_id).environments]
    assert names == ["pytorch", "tensorflow"]


def test_runs_come_newest_first(store):
    for started in (1.0, 3.0, 2.0):
        store.add_run(fake.run_facts(f"run-{started:.0f}", started_unix=started))
    assert [run.run_id for run in store.runs()] == ["run-3", "run-2", "run-1"]


def test_comparisons_before_a_run_are_of_its_machine(store):
    pair, here = ("mxnet:1.5", "mxnet:1.9"), fake.host(hostname_sha256="here")
    for at, (run_id, changes) in enumerate(
        {
            "first": {"compared": pair},
            "second": {"compared": pair},
            "no-comparison": {},
            "elsewhere": {"compared": pair, "host": fake.host(hostname_sha256="there")},
            "now": {"compared": pair},
            "later": {"compared": pair},
        }.items()
    ):
        store.add_run(fake.run_facts(run_id, **{"host": here, "started_unix": float(at), **changes}))
    found = store.comparisons_before(store.run("now").facts)
    assert [run.facts.run_id for run in found] == ["second", "first"]


def test_an_empty_store_has_no_latest_sweep(store):
    assert store.latest_sweep() is None


def test_an_unknown_run_is_answered_with_the_nearest(store):
    store.add_run(fake.run_facts())
    with pytest.raises(StoreError, match="Did you mean '20261121-120000-quick'"):
        store.run("20261121-120000-quik")


def test_opening_again_keeps_what_is_there(store, url):
    store.add_run(fake.run_facts())
    with Store.open(url) as again:
        assert again.latest_sweep() == fake.run_facts()


def test_a_run_that_is_removed_is_gone_with_its_jobs(store):
    fake.add_all(store, fake.run_facts(), fake.some_jobs())
    fake.add_all(store, fake.run_facts("20261122-120000-other"), ())
    store.remove(fake.run_facts().run_id)
    assert ([run.run_id for run in store.runs()], store.trial_counts()) == (["20261122-120000-other"], {})


def test_trials_are_counted_by_run(store):
    fake.add_all(store, fake.run_facts(), fake.some_jobs())
    outcomes = [outcome.status for record, _, outcome, _ in fake.some_jobs() if record.trial]
    assert store.trial_counts() == {fake.run_facts().run_id: (len(outcomes), outcomes.count("ok"))}
