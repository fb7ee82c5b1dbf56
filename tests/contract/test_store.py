"""What every store keeps to, in SQLite and, where its server is installed, in PostgreSQL."""

import json
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.errors import StoreError
from orchestrator.execution.selfcheck import request_of
from orchestrator.records import database
from orchestrator.records import store as index
from orchestrator.records.job import AuditRequest
from orchestrator.records.store import Store
from orchestrator.records.stored import CheckSubject
from orchestrator.trial import Outcome
from tests import fake_run as fake
from tests import postgres

OLD_SCHEMAS = Path(__file__).resolve().parent.parent / "old_schemas"
CRASHED = Outcome(status="crashed", fault="unknown", reason="ended with exit code 1 after 'built'\0")


@pytest.fixture(scope="module")
def server():
    folder = postgres.binaries()
    if folder is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt install postgresql)")
    with postgres.running(folder) as server:
        yield server


@pytest.fixture
def empty_postgres(server):
    """URL of an empty database."""
    engine = sa.create_engine(sa.make_url(server.url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS events, jobs, runs, waymark_schema")
    engine.dispose()
    return server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'folder' / 'store.sqlite'}"
    return request.getfixturevalue("empty_postgres")


@pytest.fixture
def store(url):
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def lite(tmp_path):
    """Path of a SQLite store that holds one run."""
    path = tmp_path / "store.sqlite"
    with Store.open(f"sqlite:///{path}") as opened:
        opened.add_run(fake.run_facts())
    return path


def add_all(store, facts, jobs):
    store.add_run(facts)
    for record, exit_, outcome, said in jobs:
        store.add(record, exit_, outcome, said)


def some_jobs(run_id="20261121-120000-quick"):
    return [
        (fake.trial_record(run_id=run_id), fake.ENDED, fake.OK, fake.training()),
        (fake.trial_record(ordinal=2, run_id=run_id), None, CRASHED, []),
        (fake.check_record(run_id=run_id), fake.ENDED, fake.OK, fake.checking()),
    ]


def question(record):
    request = record.check or request_of(record.trial, record.data.classes)
    where = (record.environment.identity, record.worker_sha256, record.processor)
    return CheckSubject.of_request(*where, request), request.input_size


def test_a_trial_comes_back_as_it_went_in(store):
    record, _, _, said = job = some_jobs()[0]
    add_all(store, fake.run_facts(), [job])
    trial = store.run(record.run_id).trials[0]
    said = tuple(event for event in said if event.kind != "progress")
    assert (trial.record, trial.exit, trial.outcome, trial.events) == (record, fake.ENDED, fake.OK, said)


def test_what_the_machine_did_comes_back_as_it_went_in(store):
    record, exit_, outcome, said = some_jobs()[0]
    store.add_run(fake.run_facts())
    store.add(record, exit_, outcome, said, fake.SAMPLES)
    assert store.run(record.run_id).trials[0].samples == fake.SAMPLES


def test_rebuilding_takes_up_what_the_machine_did(store, tmp_path):
    folder = fake.write_run(tmp_path, fake.run_facts(), some_jobs())
    lines = "".join(sample.model_dump_json() + "\n" for sample in fake.SAMPLES)
    (folder / "0001-job" / "telemetry.jsonl").write_text(lines)
    store.ingest(folder)
    assert [trial.samples for trial in store.run(fake.run_facts().run_id).trials] == [fake.SAMPLES, ()]


def test_a_run_comes_back_as_it_went_in(store):
    store.add_run(fake.run_facts())
    assert store.run(fake.run_facts().run_id).facts == fake.run_facts()


def test_trials_come_back_in_the_order_of_the_plan(store):
    add_all(store, fake.run_facts(), reversed(some_jobs()))
    assert [trial.record.ordinal for trial in store.run(fake.run_facts().run_id).trials] == [1, 2]


def test_adding_twice_is_adding_once(store):
    add_all(store, fake.run_facts(), some_jobs())
    once = store.run(fake.run_facts().run_id)
    add_all(store, fake.run_facts(), some_jobs())
    assert store.run(fake.run_facts().run_id) == once


def test_a_job_done_again_replaces_the_first_answer(store):
    record = fake.trial_record()
    add_all(store, fake.run_facts(), [(record, None, CRASHED, []), (record, fake.ENDED, fake.OK, fake.training())])
    assert [trial.outcome for trial in store.run(record.run_id).trials] == [fake.OK]


def test_a_job_of_a_run_that_was_never_added_is_our_bug(store):
    with pytest.raises(sa.exc.IntegrityError):
        store.add(fake.trial_record(), None, fake.OK, [])


def test_rebuilding_gives_the_rows_of_adding(store, tmp_path):
    add_all(store, fake.run_facts(), some_jobs())
    fake.write_run(tmp_path / "runs", fake.run_facts(), some_jobs())
    with Store.open(f"sqlite:///{tmp_path / 'again.sqlite'}") as again:
        again.rebuild(tmp_path / "runs", lambda line: None)
        assert again.run(fake.run_facts().run_id) == store.run(fake.run_facts().run_id)


def test_rebuilding_counts_runs_and_jobs(store, tmp_path):
    fake.write_run(tmp_path / "runs", fake.run_facts(), some_jobs())
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
    folder = fake.write_run(tmp_path, fake.run_facts(), some_jobs())
    (folder / "0001-job" / name).write_bytes(content.encode(errors="surrogateescape"))
    read = store.ingest(folder)
    assert (read.jobs, "0001-job" in read.damaged[0]) == (2, True)


def test_a_job_folder_without_a_record_is_named(store, tmp_path):
    folder = fake.write_run(tmp_path, fake.run_facts(), some_jobs())
    (folder / "0002-job" / "record.json").unlink()
    assert store.ingest(folder).damaged == (
        f"{folder / '0002-job' / 'record.json'} cannot be read (No such file or directory).",
    )


def test_a_job_that_strayed_from_another_run_is_named(store, tmp_path):
    folder = fake.write_run(tmp_path, fake.run_facts(), [(fake.trial_record(run_id="other"), None, fake.OK, [])])
    assert "belongs to run 'other'" in store.ingest(folder).damaged[0]


def test_a_folder_that_is_no_run_is_named(store, tmp_path):
    runs = tmp_path / "runs"
    (runs / "stray").mkdir(parents=True)
    assert store.rebuild(runs, lambda line: None).damaged == ()  # of a run that was killed at its very start
    (runs / "stray" / "notes.txt").touch()
    assert "run.json cannot be read" in store.rebuild(runs, lambda line: None).damaged[0]


def test_resuming_asks_only_for_what_ended_ok(store):
    add_all(store, fake.run_facts(), some_jobs())
    assert [record.id for record in store.ok_records(fake.run_facts().run_id)] == ["id-1"]


def test_resuming_one_run_ignores_the_others(store):
    add_all(store, fake.run_facts("another"), some_jobs("another"))
    assert store.ok_records(fake.run_facts().run_id) == []


def test_a_check_that_passed_is_found(store):
    record = fake.check_record()
    add_all(store, fake.run_facts(), [(record, fake.ENDED, fake.OK, fake.checking())])
    assert store.passing_check(*question(record)).timeline.check.figures == fake.FIGURES


@pytest.mark.parametrize(
    ("outcome", "said"),
    [(fake.OK, fake.checking(passed=False)), (CRASHED, fake.checking()), (fake.OK, [])],
    ids=["failed", "crashed", "silent"],
)
def test_a_check_that_did_not_pass_is_no_passing_check(store, outcome, said):
    record = fake.check_record()
    add_all(store, fake.run_facts(), [(record, fake.ENDED, outcome, said)])
    assert store.passing_check(*question(record)) is None


def test_a_later_check_that_failed_takes_an_earlier_pass_back(store):
    record = fake.check_record(run_id="before")
    add_all(store, fake.run_facts("before", started_unix=1.0), [(record, fake.ENDED, fake.OK, fake.checking())])
    failed = (fake.check_record(), fake.ENDED, fake.OK, fake.checking(passed=False))
    add_all(store, fake.run_facts(), [failed])
    assert store.passing_check(*question(record)) is None


def test_the_latest_check_may_have_failed(store):
    record = fake.check_record()
    add_all(store, fake.run_facts(), [(record, fake.ENDED, fake.OK, fake.checking(passed=False))])
    assert not store.latest_check(*question(record)).passed


@pytest.mark.parametrize(
    "change",
    [
        {"environment": fake.environment(identity="sha256:rebuilt")},
        {"worker_sha256": "0" * 64},
        {"model": fake.IDSIA, "input_size": 48},
        {"input_size": 48},
        {"threads": 4},
        {"processor": "another"},
    ],
    ids=["environment", "worker", "model", "size", "threads", "processor"],
)
def test_a_check_of_anything_else_does_not_count(store, change):
    add_all(store, fake.run_facts(), [(fake.check_record(**change), fake.ENDED, fake.OK, fake.checking())])
    assert store.passing_check(*question(fake.check_record())) is None


def test_an_audit_comes_back_with_its_run_and_is_no_check(store):
    trial, check = fake.trial_record(), fake.check_record()
    request = AuditRequest(ordinal=trial.ordinal, trial=trial.trial, events_sha256=None)
    audit = fake.trial_record(ordinal=95).model_copy(update={"trial": None, "audit": request})
    jobs = [(trial, fake.ENDED, fake.OK, fake.training()), (audit, fake.ENDED, fake.OK, fake.checking())]
    add_all(store, fake.run_facts(), jobs)
    stored = store.run(trial.run_id)
    assert [one.record for one in stored.audits] == [audit]
    assert stored.audit_of(stored.trials[0]).passed
    assert (stored.checks, store.latest_check(*question(check))) == ((), None)


def test_a_trial_is_no_check(store):
    add_all(store, fake.run_facts(), some_jobs()[:1])
    assert store.latest_check(*question(fake.trial_record())) is None


def test_a_run_that_did_not_check_shows_the_check_on_record(store):
    add_all(store, fake.run_facts("before", started_unix=1.0), some_jobs("before")[2:])
    add_all(store, fake.run_facts(), some_jobs()[:1])
    assert [check.record.run_id for check in store.run(fake.run_facts().run_id).checks] == ["before"]


def test_a_check_of_one_size_stands_for_the_network(store):
    add_all(store, fake.run_facts("before", started_unix=1.0), some_jobs("before")[2:])
    at_48 = fake.trial_record(fake.trial(input_size=48))
    add_all(store, fake.run_facts(), [(at_48, fake.ENDED, fake.OK, fake.training())])
    assert len(store.run(fake.run_facts().run_id).checks) == 1


def test_environments_stand_once_in_order_of_use(store):
    tensorflow = fake.trial_record(fake.trial("tensorflow", "2.21"), ordinal=3)
    add_all(store, fake.run_facts(), [*some_jobs(), (tensorflow, fake.ENDED, fake.OK, [])])
    names = [one.framework for one in store.run(fake.run_facts().run_id).environments]
    assert names == ["pytorch", "tensorflow"]


def test_runs_come_newest_first(store):
    for started in (1.0, 3.0, 2.0):
        store.add_run(fake.run_facts(f"run-{started:.0f}", started_unix=started))
    assert [run.run_id for run in store.runs()] == ["run-3", "run-2", "run-1"]


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


def test_postgresql_keeps_a_run(empty_postgres):
    with Store.open(empty_postgres) as store:
        store.add_run(fake.run_facts())
        assert store.run(fake.run_facts().run_id).facts == fake.run_facts()


def test_a_password_never_reaches_a_message():
    with pytest.raises(StoreError) as error:
        Store.open("postgresql://user:secret@127.0.0.1:1/none")
    assert "secret" not in str(error.value)


def test_the_store_reads_the_columns_that_the_migrations_made(lite):
    connection = sqlite3.connect(lite)
    made = {
        table: tuple(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
        for table in ("runs", "jobs", "events")
    }
    connection.close()
    assert made == {"runs": index.RUN_COLUMNS, "jobs": index.JOB_COLUMNS, "events": index.EVENT_COLUMNS}


def test_readers_of_a_sqlite_store_do_not_wait_for_its_writer(lite):
    writer = sqlite3.connect(lite, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with Store.open(f"sqlite:///{lite}", busy_seconds=0.1) as store:
        assert store.latest_sweep() == fake.run_facts()
    writer.close()


def test_a_locked_store_says_so(lite):
    writer = sqlite3.connect(lite, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with (
        Store.open(f"sqlite:///{lite}", busy_seconds=0.1) as store,
        pytest.raises(StoreError, match="is locked by another program"),
    ):
        store.add_run(fake.run_facts())
    writer.close()


def test_a_store_of_a_newer_waymark_is_left_alone(lite):
    connection = sqlite3.connect(lite)
    with connection:
        connection.execute("UPDATE waymark_schema SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match=r"has schema '9999', which a newer waymark made"):
        Store.open(f"sqlite:///{lite}")


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is not a store of waymark: it holds the tables bookmarks"):
        Store.open(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_says_so(tmp_path):
    path = tmp_path / "store.sqlite"
    path.write_text("this is a diary, and a long one, not a database; " * 20)
    with pytest.raises(StoreError, match="is not a SQLite file"):
        Store.open(f"sqlite:///{path}")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "URL cannot be read"),
        ("", "URL cannot be read"),
        ("postgresql://host:port/name", "URL cannot be read"),
        ("postgresql://[::1/name", "URL cannot be read|cannot be used"),
        ("mysql://host/name", "names a 'mysql' database"),
        ("postgresql+nodriver://host/name", "a driver or an option that is not known"),
        ("postgresql://waymark@127.0.0.1:9/name", "cannot be used as the store"),
        ("postgresql://waymark@127.0.0.1:9/name?sauce=hot", "cannot be used as the store"),
        ("sqlite:////proc/nowhere/store.sqlite", "cannot be made"),
        ("sqlite:///" + "x" * 5000, "cannot be"),
    ],
)
def test_a_url_that_is_none_of_ours_says_what_is(url, says):
    with pytest.raises(StoreError, match=says):
        Store.open(url)


def test_a_store_below_a_file_says_that_its_folder_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        Store.open(f"sqlite:///{tmp_path / 'file' / 'store.sqlite'}")


HELD = {"0001": ["ok", "crashed"], "0002": ["ok", "misconfigured"]}


@pytest.mark.parametrize("dump", sorted(OLD_SCHEMAS.glob("*.sql")), ids=lambda path: path.stem)
def test_a_store_of_an_old_schema_opens_with_what_it_holds(dump, tmp_path):
    path = tmp_path / "store.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(dump.read_text())
    connection.close()
    with Store.open(f"sqlite:///{path}") as store:
        (facts,) = store.runs()
        run = store.run(facts.run_id)
    assert [trial.outcome.status for trial in run.trials] == HELD[dump.stem]


@pytest.mark.parametrize("where", ["waymark:SECRET@127.0.0.1:9/name", "127.0.0.1:9/name?user=waymark&password=SECRET"])
def test_a_password_is_never_shown(where):
    with pytest.raises(StoreError) as caught:
        Store.open(f"postgresql://{where}")
    assert "SECRET" not in str(caught.value)
    assert "postgresql://127.0.0.1/name" in str(caught.value)


def at_once(count, work):
    """The errors of `work` in so many threads that begin together."""
    errors, start = [], threading.Barrier(count)

    def one():
        start.wait()
        try:
            work()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_several_programs_may_open_a_new_store_at_once(url):
    for _ in range(3):
        assert at_once(4, lambda: Store.open(url).close()) == []


def test_several_programs_may_make_a_sqlite_store_at_once(tmp_path):
    # Without waiting for each other one of 40 failed; here are 120.
    for at in range(20):
        assert at_once(6, lambda at=at: Store.open(f"sqlite:///{tmp_path / str(at)}").close()) == []


def test_two_programs_may_write_one_job_at_once(url):
    jobs = some_jobs()
    with Store.open(url) as store:
        store.add_run(fake.run_facts())

    def write():
        with Store.open(url) as store:
            for record, exit_, outcome, said in jobs:
                store.add(record, exit_, outcome, said)

    for _ in range(5):
        assert at_once(4, write) == []
    with Store.open(url) as store:
        assert len(store.run(fake.run_facts().run_id).trials) == 2


def test_a_server_that_comes_back_is_waited_for(empty_postgres, server, monkeypatch):
    with Store.open(empty_postgres) as store:
        store.add_run(fake.run_facts())
        server.stop()
        later = threading.Timer(1.5, server.start)
        later.start()
        record, exit_, outcome, said = some_jobs()[0]
        store.add(record, exit_, outcome, said)
        later.join()
        assert len(store.run(record.run_id).trials) == 1


def test_a_server_that_stays_away_is_one_sentence(empty_postgres, server, monkeypatch):
    monkeypatch.setattr(database, "_RETRY_SECONDS", (0.1,))
    with Store.open(empty_postgres) as store:
        server.stop()
        try:
            with pytest.raises(StoreError, match="cannot be used as the store"):
                store.add_run(fake.run_facts())
            with pytest.raises(StoreError, match="cannot be used as the store"):
                store.runs()
        finally:
            server.start()


def test_a_row_that_another_version_wrote_hides_only_itself(url):
    with Store.open(url) as store:
        add_all(store, fake.run_facts(), some_jobs())
        store.add_run(fake.run_facts(run_id="later"))
        broken = sa.text("UPDATE runs SET run_json = '{}' WHERE run_id = 'later'")
        store._database.write(lambda connection: connection.execute(broken))
        assert [run.run_id for run in store.runs()] == [fake.run_facts().run_id]
        assert store.latest_sweep().run_id == fake.run_facts().run_id
        with pytest.raises(StoreError, match="run 'later' does not read"):
            store.run("later")


ODD = {
    "an ordinal of 2^65": ("ordinal", 2**65),
    "a negative ordinal": ("ordinal", -1),
    "a NUL in an id": ("id", "a\0b"),
    "an id of 100,000 characters": ("id", "a" * 100_000),
    "a repeat of 2^40": ("repeat", 2**40),
    "a NUL in a framework": ("framework", "py\0torch"),
}


@pytest.mark.parametrize("case", ODD, ids=str)
def test_one_odd_job_does_not_stop_ingest(url, tmp_path, case):
    name, value = ODD[case]
    runs = tmp_path / "runs"
    fake.write_run(runs, fake.run_facts(), some_jobs())
    path = next((runs / fake.run_facts().run_id).glob("0001-*")) / "record.json"
    record = json.loads(path.read_text())
    (record if name in record else record["trial"])[name] = value
    path.write_text(json.dumps(record))
    with Store.open(url) as store:
        read = store.rebuild(runs, lambda line: None)
    assert (read.jobs, len(read.damaged)) == (2, 1), read.damaged
    assert len(read.damaged[0]) < 500
