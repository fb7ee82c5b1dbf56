"""Opens and migrates the store; maps driver errors to StoreError."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.errors import StoreError, shortened

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
VERSION_TABLE = "waymark_schema"

_RETRY_SECONDS = (1.0, 3.0, 6.0, 10.0)
_BUSY_STEP_SECONDS = 0.02
_ADVISORY_LOCK = 0x7761796D61726B  # "waymark": held by one writer of a PostgreSQL database until its transaction ends

_ADVICE = {
    "42501": "Its user may not do that: let its owner run `GRANT CREATE, USAGE ON SCHEMA public TO <user>` there, and "
    "`GRANT ALL ON ALL TABLES IN SCHEMA public TO <user>`, or set WAYMARK_STORE to a database of your own.",
    "25006": "It only reads, as a standby does: name the primary server with WAYMARK_STORE.",
    "3F000": "It has no schema to make tables in: let its owner run `CREATE SCHEMA public`.",
    "42P01": "A table was removed: empty the database, or name another with WAYMARK_STORE, and run `invoke ingest`.",
    "42703": "A column was removed: empty the database, or name another with WAYMARK_STORE, and run `invoke ingest`.",
    "53100": "Its disk is full: make room there.",
}
"""What to do, by PostgreSQL's SQLSTATE: errors of a database that somebody else set up."""

_DAMAGED = "damaged"
_Found = TypeVar("_Found")
_SQLITE = "sqlite:///"
_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}


class Database:
    """Connections to one database. name: for messages, a path or a URL without its password."""

    def __init__(self, url: str, busy_seconds: float) -> None:
        """Does not connect yet. Raises StoreError for a URL that is not of SQLite or PostgreSQL."""
        parsed = _parsed(url)
        kind = parsed.drivername.partition("+")[0]
        if kind not in _DRIVERS:
            raise StoreError(f"The store's URL names a '{kind}' database; allowed: {', '.join(_DRIVERS)}.")
        if parsed.drivername == kind:
            parsed = parsed.set(drivername=_DRIVERS[kind])
        if kind == "sqlite":
            self.name = parsed.database or "the store in memory"
            self._busy_seconds = busy_seconds
            self._engine = _sqlite(parsed, busy_seconds)
        else:
            # A password may stand in the query too, so only what names the database is shown.
            self.name = f"{kind}://{parsed.host or ''}/{parsed.database or ''}"
            self._engine = _postgresql(parsed)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def read(self, work: Callable[[sa.Connection], _Found]) -> _Found:
        """What `work` gives in one transaction that only reads; see `write`."""
        return self._tried(self._reading, work)

    def write(self, work: Callable[[sa.Connection], object]) -> None:
        """Do `work` in one transaction. Only one program writes at a time: a replaced row is deleted and inserted.

        Where a server drops the connection the whole transaction is tried again, with waits, for about 20 seconds.
        """
        self._tried(self._writing, work)

    def _tried(
        self,
        transaction: Callable[[], AbstractContextManager[sa.Connection]],
        work: Callable[[sa.Connection], _Found],
        waits: Sequence[float] | None = None,
    ) -> _Found:
        waits = _RETRY_SECONDS if waits is None else waits
        for wait in (*waits, None):
            try:
                with transaction() as connection:
                    return work(connection)
            except sa.exc.OperationalError as error:
                if wait is None or self._engine.dialect.name == "sqlite":
                    raise StoreError(_why_unusable(self.name, str(error.orig))) from None
                time.sleep(wait)
            except (sa.exc.SQLAlchemyError, UnicodeDecodeError, OverflowError) as error:
                if isinstance(error, UnicodeDecodeError) or self._is_damaged():
                    raise StoreError(_why_unusable(self.name, _DAMAGED)) from None
                raise
        raise AssertionError("the last of them waits no more")

    def _is_damaged(self) -> bool:
        """Whether this is a SQLite file that is not whole, by its own check or because not even that can be made."""
        if self._engine.dialect.name != "sqlite":
            return False
        try:
            with self._engine.connect() as connection:
                said = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
                foreign = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        except (sa.exc.SQLAlchemyError, UnicodeDecodeError, OverflowError):
            return True
        return said != "ok" or foreign is not None

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._store_errors(but=sa.exc.OperationalError), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """One transaction that excludes other writers from its start."""
        with (
            self._store_errors(but=sa.exc.OperationalError),
            self._engine.execution_options(immediate=True).begin() as connection,
        ):
            if self._engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            yield connection

    def migrate(self) -> None:
        """Create or upgrade the schema to the newest revision, in one transaction.

        Raises StoreError if the schema is newer than this program or the tables are not ours.
        """
        config = Config()
        config.set_main_option(
            "script_location", str(Path(__file__).resolve().parent / "migrations").replace("%", "%%")
        )
        script = ScriptDirectory.from_config(config)
        # A server that is not there is told at once: its address may be wrong.
        revision = self._tried(self._reading, lambda connection: self._revision(connection, script), waits=())
        if revision == script.get_current_head():
            return

        def upgrade(connection: sa.Connection) -> None:
            self._revision(connection, script)  # another program may have changed it in between
            config.attributes.update(connection=connection, version_table=VERSION_TABLE)
            command.upgrade(config, "head")

        self.write(upgrade)
        if self._engine.dialect.name == "sqlite":
            self._let_readers_in()

    def _let_readers_in(self) -> None:
        """Have a SQLite file keep a write-ahead log, which is stored in it: readers then do not wait for the writer.

        SQLite does not wait for other programs here, as it does elsewhere; so we do.
        """
        autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                with self._store_errors(but=sa.exc.OperationalError), autocommit.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            except sa.exc.OperationalError as error:
                if time.monotonic() > deadline:
                    raise StoreError(_why_unusable(self.name, str(error.orig))) from None
                time.sleep(_BUSY_STEP_SECONDS)
            else:
                return

    def _revision(self, connection: sa.Connection, script: ScriptDirectory) -> str | None:
        """The schema's revision, None for an empty database; raises StoreError if it is unknown."""
        tables = sorted(sa.inspect(connection).get_table_names())
        if tables and VERSION_TABLE not in tables:
            raise StoreError(
                f"{self.name} is not a store of waymark: it holds the tables {', '.join(tables[:3])}. "
                "Set WAYMARK_STORE to a file or database of its own."
            )
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        heads = context.get_current_heads()
        if len(heads) > 1:
            raise StoreError(
                f"{self.name} has {len(heads)} schemas at once, by its table {VERSION_TABLE}: somebody changed that. "
                "Empty the database, or set WAYMARK_STORE to another, and run `invoke ingest`."
            )
        revision = heads[0] if heads else None
        if revision is not None and revision not in {step.revision for step in script.walk_revisions()}:
            raise StoreError(
                f"{self.name} has schema '{revision}', which a newer waymark made; this one knows up to "
                f"'{script.get_current_head()}'. Use that waymark, or move the store away and run `invoke ingest`."
            )
        return revision

    @contextmanager
    def _store_errors(self, but: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        """Raise StoreError if the database cannot be used; an error in our own statements keeps its traceback.

        but: errors that the caller handles.
        """
        try:
            yield
        except but:
            raise
        except sa.exc.DatabaseError as error:
            said = str(error.orig)
            advice = _ADVICE.get(getattr(error.orig, "sqlstate", None) or "")
            # psycopg and sqlite3 raise the base class itself only for a file or a server that is not a database
            is_plain = type(error) in (sa.exc.OperationalError, sa.exc.DatabaseError) or "connection option" in said
            if advice is None and not is_plain:
                raise
            raise StoreError(_why_unusable(self.name, said, advice)) from None


def _parsed(url: str) -> sa.URL:
    """Raises StoreError for a URL that cannot be read; it is not shown, because it may hold a password."""
    if url.startswith(_SQLITE):
        # All of the rest is the path, as a folder may be called 'what?'.
        return sa.URL.create("sqlite", database=url.removeprefix(_SQLITE))
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise StoreError(
            "The store's URL cannot be read. Write sqlite:////folder/store.sqlite or postgresql://user@host/name."
        ) from None


def _sqlite(url: sa.URL, busy_seconds: float) -> sa.Engine:
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The store's folder {folder} cannot be made ({error.strerror}).") from None
    engine = sa.create_engine(url, connect_args={"timeout": busy_seconds})

    def on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # else Python's driver begins a transaction for changes of rows only
        connection.execute("PRAGMA foreign_keys = ON")

    def on_begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if options.get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("immediate") else "BEGIN")

    sa.event.listen(engine, "connect", on_connect)
    sa.event.listen(engine, "begin", on_begin)
    return engine


def _postgresql(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url, pool_pre_ping=True)
    except ImportError:
        raise StoreError("A store in PostgreSQL needs its driver: pip install -e '.[postgres]' in the clone.") from None
    except (sa.exc.ArgumentError, TypeError, ValueError):
        raise StoreError(
            "The store's URL names a driver or an option that is not known. Write postgresql://user@host/name."
        ) from None


def _why_unusable(name: str, said: str, advice: str | None = None) -> str:
    if "locked" in said:
        return f"{name} is locked by another program that is writing to it. Try again when that is done."
    if said == _DAMAGED or "malformed" in said or "decode to UTF-8" in said:
        return f"{name} is damaged. Move it away; `invoke ingest` then makes the store again from the runs."
    if "not a database" in said:
        return f"{name} is not a SQLite file. Move it away; `invoke ingest` then makes the store again from the runs."
    reason = shortened(said.strip().splitlines()[0].removesuffix("."), 300)
    return f"{name} cannot be used as the store: {reason}. {advice or 'Set WAYMARK_STORE to another.'}"
