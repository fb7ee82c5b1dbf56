"""The database below a store: its address, its schemas, other programs that use it, and a server that goes away."""

import json
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.errors import StoreError
from orchestrator.records import database
from orchestrator.records import store as index
from orchestrator.records.store import Store
from tests import fake_run as fake

OLD_SCHEMAS = Path(__file__).resolve().parent.parent / "old_schemas"


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


@pytest.mark.parametrize("change", [(b"waymark_version", b"\xff\xfe\xfd"), (b"CREATE TABLE", b"CREATE TUBLE")])
def test_a_damaged_file_says_how_the_store_is_made_again(lite, change):
    sqlite3.connect(lite).execute("PRAGMA journal_mode = DELETE")
    content = lite.read_bytes()
    assert change[0] in content
    lite.write_bytes(content.replace(*change))
    says = r"is damaged\. Move it away; `invoke ingest` then makes the store again"
    with pytest.raises(StoreError, match=says), Store.open(f"sqlite:///{lite}") as store:
        store.runs()


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


HELD = {"0001": ["ok", "crashed"], "0002": ["ok", "misconfigured"], "0003": ["ok", "misconfigured"]}


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
    assert run.trials[0].timeline.epochs[0].loss.size > 0  # from its events: it has no packed timelines


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
    jobs = fake.some_jobs()
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
        record, exit_, outcome, said = fake.some_jobs()[0]
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


def psql(server, *commands):
    engine = sa.create_engine(sa.make_url(server.url).set(drivername="postgresql+psycopg"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for command in commands:
            connection.exec_driver_sql(command)
    engine.dispose()


def url_of(server, user):
    return sa.make_url(server.url).set(username=user).render_as_string(hide_password=False)


@pytest.fixture
def role(server):
    """A user of the server without any right."""
    drop = "DROP OWNED BY guest; DROP ROLE guest"
    psql(server, "CREATE ROLE guest LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    yield "guest"
    psql(server, *drop.split("; "))


def test_a_user_who_may_not_make_tables_is_told_what_to_do(empty_postgres, server, role):
    with pytest.raises(StoreError, match=r"permission denied for schema public.*`GRANT CREATE, USAGE ON SCHEMA public"):
        Store.open(url_of(server, role))


def test_a_user_who_may_only_read_reads_and_is_told_so(empty_postgres, server, role):
    with Store.open(empty_postgres) as store:
        fake.add_all(store, fake.run_facts(), fake.some_jobs())
    psql(server, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    with Store.open(url_of(server, role)) as store:
        assert len(store.run(fake.run_facts().run_id).trials) == 2
        with pytest.raises(StoreError, match=r"permission denied for table runs.*`GRANT ALL ON ALL TABLES"):
            store.add_run(fake.run_facts("another"))


def test_a_standby_is_told_as_one(empty_postgres, server):
    with Store.open(empty_postgres) as store:
        store.add_run(fake.run_facts())
    psql(server, "ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        with Store.open(empty_postgres) as store:
            assert len(store.runs()) == 1
            with pytest.raises(StoreError, match=r"read-only transaction\. It only reads, as a standby does: name"):
                store.add_run(fake.run_facts("another"))
    finally:
        psql(server, "SET default_transaction_read_only = off", "ALTER DATABASE postgres RESET ALL")


@pytest.mark.parametrize("change", ["DROP TABLE events", "ALTER TABLE jobs DROP COLUMN status"])
def test_a_table_that_somebody_changed_is_named(url, change):
    with Store.open(url) as store:
        fake.add_all(store, fake.run_facts(), fake.some_jobs())
        store._database.write(lambda connection: connection.exec_driver_sql(change))
        with pytest.raises(StoreError, match=r"cannot be used as the store: .*(events|status)"):
            store.add(*fake.some_jobs()[0])


def test_a_store_with_two_schemas_is_named(url):
    with Store.open(url) as store:
        two = "INSERT INTO waymark_schema VALUES ('0001')"
        store._database.write(lambda connection: connection.exec_driver_sql(two))
    with pytest.raises(StoreError, match="has 2 schemas at once, by its table waymark_schema"):
        Store.open(url)


def test_a_read_whose_connection_is_killed_is_tried_again(empty_postgres, server, monkeypatch):
    monkeypatch.setattr(database, "_RETRY_SECONDS", (0.1, 0.1))
    killed = []

    def read(connection):
        if not killed:
            killed.append(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar())
            psql(server, f"SELECT pg_terminate_backend({killed[0]})")
        return connection.exec_driver_sql("SELECT 1").scalar()

    with Store.open(empty_postgres) as store:
        assert (store._database.read(read), len(killed)) == (1, 1)


def test_a_row_that_another_version_wrote_hides_only_itself(url):
    with Store.open(url) as store:
        fake.add_all(store, fake.run_facts(), fake.some_jobs())
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
    fake.write_run(runs, fake.run_facts(), fake.some_jobs())
    path = next((runs / fake.run_facts().run_id).glob("0001-*")) / "record.json"
    record = json.loads(path.read_text())
    (record if name in record else record["trial"])[name] = value
    path.write_text(json.dumps(record))
    with Store.open(url) as store:
        read = store.rebuild(runs, lambda line: None)
    assert (read.jobs, len(read.damaged)) == (2, 1), read.damaged
    assert len(read.damaged[0]) < 500
