"""Plain SQL on one of the project's databases, through the connection that Django has open in this thread.

`DatabaseBroker` and `DatabaseStore` speak to the database through a `Session` and know nothing else of it. Inside
`atomic()` statements are part of that transaction; elsewhere `write` makes one of its own. The driver's own connection
is used under Django's, because its wrapper costs more than the statements do. Never keeps a connection of its own.
"""

import asyncio
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections
from django.db import Error as DjangoError
from django.utils.connection import ConnectionDoesNotExist

from celeriac import states
from celeriac.django import deadline, sql
from celeriac.django.installed import missing_migrations
from celeriac.django.wakeup import readable
from celeriac.errors import CeleriacError, ImproperlyConfigured, NotInstalled

#: How long workers wait for a locked database, or for an answer, before they say that it is down.
PATIENCE = 5.0

#: Seconds without an answer from PostgreSQL after which a connection is asked whether it still leads there.
_FRESH = 2.0

Rows = list[tuple[Any, ...]]

# What a forked child must neither use nor close: connections that its parent opened.
_abandoned: list[Any] = []


class Session:
    """The statements of `celeriac.django.sql` on the database called `alias`."""

    vendor = ""

    def __init__(self, alias: str, refusal: type[CeleriacError]) -> None:
        self.alias = alias
        self._refusal = refusal
        self.sql = sql.statements(self.vendor)
        self._pid = os.getpid()
        #: What a driver raises, and what Django makes of it.
        self.errors: tuple[type[Exception], ...] = (DjangoError, _driver(alias).Error)

    # -- the connection

    def connect(self, timeout: float = PATIENCE) -> Any:
        """Return Django's connection of this thread, open; raises the refusal under an event loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            if not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
                raise self._refusal(
                    "An event loop is running in this thread, and the database would block it. Use the async form: "
                    "await task.adelay(...), await result.aget(); or asgiref's sync_to_async."
                )
        connection = connections[self.alias]
        if os.getpid() != self._pid:
            self._abandon(connection)
        if connection.connection is None:
            self._open(connection, timeout)
        return connection

    def _open(self, connection: Any, timeout: float) -> None:
        connection.ensure_connection()

    def _abandon(self, connection: Any) -> None:
        self._pid = os.getpid()
        if connection.connection is not None and not connection.in_atomic_block:
            _abandoned.append(connection.connection)
            connection.connection = None

    def inside(self, connection: Any) -> bool:
        """Return whether the project has a transaction open."""
        return bool(connection.in_atomic_block or not connection.autocommit)

    def close(self) -> None:
        """Close this thread's connection unless a transaction is open on it."""
        connection = connections[self.alias]
        if os.getpid() != self._pid:
            self._abandon(connection)
        if not connection.in_atomic_block:
            connection.close()

    # -- statements

    @contextmanager
    def write(self, timeout: float = PATIENCE, *, once: bool = False) -> Iterator[Any]:
        """Run the block in one transaction: the one that is open, or its own. Gives what statements are run on.

        `once` says that the block may be one statement, which needs no BEGIN and COMMIT of its own.
        """
        raise NotImplementedError
        yield

    @contextmanager
    def read(self, timeout: float = PATIENCE) -> Iterator[Any]:
        """Give what statements are run on, without a transaction of its own."""
        raise NotImplementedError
        yield

    def tune(self, raw: Any) -> None:
        """Prepare this thread's connection for a consumer's many small transactions."""

    def rows(self, raw: Any, name: str, *parameters: Any) -> Rows:
        """Run a statement and return what it found."""
        raise NotImplementedError

    def count(self, raw: Any, name: str, *parameters: Any) -> int:
        """Run a statement and return how many rows it changed."""
        raise NotImplementedError

    def each(self, raw: Any, name: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of `parameters`."""
        raw.executemany(self.sql[name], parameters)

    def upsert(self, raw: Any, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write results, one row each, in order."""
        self.each(raw, "store", rows)

    def these(self, values: Sequence[Any]) -> Any:
        """Return a set of values as the one parameter that `{in_ids}` or `{in_names}` takes."""
        return list(values)

    # -- errors

    @property
    def place(self) -> str:
        """The database in words, for banners and errors."""
        options = connections[self.alias].settings_dict
        host = f" on {options['HOST']}" if options.get("HOST") else ""
        return f"{options['NAME']}{host} (database {self.alias!r})"

    def explain(self, error: Exception) -> CeleriacError | None:
        """Return what to raise instead where the cause is that tables are missing, else None."""
        if not self._lacks_table(error):
            return None
        try:
            return missing_migrations(self.alias)
        except DjangoError:
            # The project's transaction is broken by the error and answers no question.
            return NotInstalled("The database lacks celeriac's tables. Run:  python manage.py migrate")

    def _lacks_table(self, error: Exception) -> bool:
        raise NotImplementedError

    def is_unreachable(self, error: Exception) -> bool:
        """Return whether the cause is that the database cannot be used at all, now."""
        driver = _driver(self.alias)
        return isinstance(
            error, OperationalError | InterfaceError | driver.OperationalError | driver.InterfaceError
        )

    def may_have_been_done(self, error: Exception) -> bool:
        """Return whether what failed with `error` outside a transaction may have been done all the same."""
        return False


class SQLiteSession(Session):
    """SQLite. Its writers queue up for one lock."""

    vendor = "sqlite"

    def __init__(self, alias: str, refusal: type[CeleriacError]) -> None:
        super().__init__(alias, refusal)
        # Of this thread: the driver's connection and how long the project lets it wait for locks, in milliseconds.
        self._thread = threading.local()

    @contextmanager
    def write(self, timeout: float = PATIENCE, *, once: bool = False) -> Iterator[Any]:
        connection = self.connect()
        raw = connection.connection
        if self.inside(connection):
            yield raw
            return
        self._begin(raw, timeout)
        try:
            yield raw
            raw.execute("COMMIT")
        except BaseException:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise

    def _begin(self, raw: sqlite3.Connection, timeout: float) -> None:
        """Begin a writing transaction.

        SQLite's own waiting sleeps ever longer, up to 100 ms, and as long as the project's settings say. Here it is
        a few milliseconds at a time, for as long as the caller can wait.
        """
        known = self._thread
        if getattr(known, "raw", None) is not raw:
            (known.patience,) = raw.execute("PRAGMA busy_timeout").fetchone()
            known.raw = raw
        raw.execute("PRAGMA busy_timeout = 0")
        deadline = 0.0
        pause = 0.0001
        try:
            while True:
                try:
                    raw.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    # The low byte is the kind; the rest says why it is busy.
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        raise
                    now = time.monotonic()
                    deadline = deadline or now + timeout
                    if now >= deadline:
                        raise
                # Workers hold the lock for a millisecond or two; a program that holds it longer is left alone.
                pause = min(pause * 1.5, 0.001 if now - deadline + timeout < 0.05 else 0.005)
                time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - keeps waiters out of step
        finally:
            raw.execute(f"PRAGMA busy_timeout = {known.patience}")

    @contextmanager
    def read(self, timeout: float = PATIENCE) -> Iterator[Any]:
        yield self.connect().connection

    def tune(self, raw: Any) -> None:
        # Some systems build SQLite to overwrite what is deleted with zeros, which doubles the writing of a queue.
        # FAST still does so where it costs nothing. The log is copied into the database every 16 MB, not every 4.
        raw.execute("PRAGMA secure_delete = FAST")
        raw.execute("PRAGMA wal_autocheckpoint = 4000")

    def rows(self, raw: Any, name: str, *parameters: Any) -> Rows:
        found: Rows = raw.execute(self.sql[name], parameters).fetchall()
        return found

    def count(self, raw: Any, name: str, *parameters: Any) -> int:
        changed: int = raw.execute(self.sql[name], parameters).rowcount
        return changed

    def these(self, values: Sequence[Any]) -> Any:
        return msgspec.json.encode(values).decode()

    @property
    def place(self) -> str:
        return f"{connections[self.alias].settings_dict['NAME']} (database {self.alias!r})"

    def _lacks_table(self, error: Exception) -> bool:
        text = str(error)
        return text.startswith(("no such table: celeriac_", "no such column", "table celeriac_"))


class PostgresSession(Session):
    """PostgreSQL, through psycopg."""

    vendor = "postgresql"

    def __init__(self, alias: str, refusal: type[CeleriacError]) -> None:
        super().__init__(alias, refusal)
        # Of this thread: the driver's connection and when it was last known to lead to the server.
        self._thread = threading.local()
        if not _is_psycopg3(alias):
            self.sql = {name: statement.replace("%b", "%s") for name, statement in self.sql.items()}

    def connect(self, timeout: float = PATIENCE) -> Any:
        connection = super().connect(timeout)
        if not self.inside(connection) and not self._leads_there(connection, timeout):
            # The server was restarted, say, while nobody used the connection.
            connection.close()
            self._open(connection, timeout)
        return connection

    def _leads_there(self, connection: Any, timeout: float) -> bool:
        raw = connection.connection
        if _has_ended(raw):
            return False
        known = self._thread
        idle = time.monotonic() - known.used if getattr(known, "raw", None) is raw else 0.0
        return idle < _FRESH or deadline.is_usable(connection, min(1.0, timeout / 2))

    def _used(self, raw: Any) -> None:
        self._thread.raw = raw
        self._thread.used = time.monotonic()

    def _open(self, connection: Any, timeout: float) -> None:
        try:
            with deadline.connecting(connection, timeout):
                connection.ensure_connection()
        except BaseException:
            connection.close()  # it may have got as far as a connection that it could not set up
            raise

    @contextmanager
    def _cursor(self, connection: Any, timeout: float) -> Iterator[Any]:
        """Give a cursor whose statements have a deadline, unless they are the project's transaction's."""
        raw = connection.connection
        if self.inside(connection) or not hasattr(raw, "pgconn"):
            with _cursor(raw) as cursor:
                yield cursor
            return
        with deadline.answering(raw, timeout), _cursor(raw) as cursor:
            yield cursor
        self._used(raw)

    @contextmanager
    def write(self, timeout: float = PATIENCE, *, once: bool = False) -> Iterator[Any]:
        end = time.monotonic() + timeout
        connection = self.connect(timeout)
        own = not once and not self.inside(connection)
        try:
            with self._cursor(connection, max(0.1, end - time.monotonic())) as raw:
                if own:
                    raw.execute("BEGIN")
                yield raw
                if own:
                    raw.execute("COMMIT")
        except BaseException as error:
            if not self.inside(connection):
                self._give_up(connection, error)
            raise

    def _give_up(self, connection: Any, error: BaseException) -> None:
        if connection.connection.closed or isinstance(error, connection.Database.OperationalError):
            # Whatever state it is in, the next statement gets a new one.
            connection.close()
        else:
            connection.connection.rollback()

    @contextmanager
    def read(self, timeout: float = PATIENCE) -> Iterator[Any]:
        connection = self.connect()
        try:
            with self._cursor(connection, timeout) as raw:
                yield raw
        except connection.Database.OperationalError:
            if not self.inside(connection):
                connection.close()
            raise

    def upsert(self, raw: Any, rows: Sequence[tuple[Any, ...]]) -> None:
        # One statement must not touch a row twice; the last one wins, but for a SUCCESS.
        last: dict[str, tuple[Any, ...]] = {}
        for row in rows:
            task_id, state, *_ = row
            if task_id not in last or last[task_id][1] != states.SUCCESS or state == states.SUCCESS:
                last[task_id] = row
        raw.execute(self.sql["store"], [list(column) for column in zip(*last.values(), strict=True)])

    def may_have_been_done(self, error: Exception) -> bool:
        # An error that the server reports has undone the statement; one that the driver reports is about the line.
        driver = _driver(self.alias)
        if not isinstance(error, driver.OperationalError | driver.InterfaceError):
            return False
        return getattr(error, "sqlstate", None) is None and "the connection is closed" not in str(error)

    def rows(self, raw: Any, name: str, *parameters: Any) -> Rows:
        raw.execute(self.sql[name], parameters)
        found: Rows = raw.fetchall()
        return found

    def count(self, raw: Any, name: str, *parameters: Any) -> int:
        raw.execute(self.sql[name], parameters)
        changed: int = raw.rowcount
        return changed

    def _lacks_table(self, error: Exception) -> bool:
        # undefined_table, undefined_column
        return getattr(error, "sqlstate", None) in ("42P01", "42703")


def _cursor(raw: Any) -> Any:
    """Return a cursor that sends parameters apart from the statement, and many rows in one go.

    Django's own writes them into the statement's text, which doubles the bytes of a message.
    """
    if not hasattr(raw, "pgconn"):  # psycopg 2 knows no other way
        return raw.cursor()
    import psycopg  # noqa: PLC0415 - only where PostgreSQL is the database

    cursor = psycopg.Cursor(raw)
    cursor.format = psycopg.pq.Format.BINARY
    return cursor


def _is_psycopg3(alias: str) -> bool:
    return hasattr(_driver(alias), "pq")


def _has_ended(raw: Any) -> bool:
    """Return whether the server has closed a connection that nobody was using.

    Between statements a server says nothing but that it ends. Where it was a notice after all, a new connection does
    no harm.
    """
    return raw.closed or bool(readable([raw.fileno()], 0))


def _driver(alias: str) -> Any:
    """The module of the database's driver, with its exceptions."""
    connection: Any = connections[alias]
    return connection.Database


_SESSIONS = {session.vendor: session for session in (SQLiteSession, PostgresSession)}


def open_session(url: str, setting: str, refusal: type[CeleriacError]) -> Session:
    """Return a session on the database that `url` names: `django://ALIAS`, or `django://` for the default one.

    `setting` is where the URL comes from, `refusal` what is raised where the database must not be used.
    """
    alias = url.partition("://")[2].strip("/") or DEFAULT_DB_ALIAS
    try:
        vendor = connections[alias].vendor
    except ConnectionDoesNotExist:
        known = ", ".join(sorted(connections.settings))
        raise ImproperlyConfigured(
            f"{setting} is {url!r}, and DATABASES has no {alias!r}. It has: {known}."
        ) from None
    made = _SESSIONS.get(vendor)
    if made is None:
        raise ImproperlyConfigured(
            f"{setting} is {url!r}, and database {alias!r} is {vendor}. Celeriac keeps messages and results on "
            "SQLite and PostgreSQL; set CELERY_BROKER_URL and CELERY_RESULT_BACKEND to redis://... instead."
        )
    return made(alias, refusal)
