"""The session on PostgreSQL, through psycopg. Made by `sessions`.

No statement of its own waits without a deadline, for a server that has fallen silent.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celeriac import states
from celeriac.django import deadline
from celeriac.django.session import PATIENCE, Rows, Session, driver_of
from celeriac.django.wakeup import has_ended
from celeriac.errors import CeleriacError

#: Seconds without an answer from the server after which a connection is asked whether it still leads there.
_FRESH = 2.0
#: How many connections a pool may hand out that died with their server.
_MOST_DEAD = 100


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
            self._replace(connection, timeout)
        return connection

    def _replace(self, connection: Any, timeout: float) -> None:
        for _ in range(_MOST_DEAD):
            connection.connection.close()  # a pool would hand it out again
            connection.close()
            self._open(connection, timeout)
            if not has_ended(connection.connection):
                return

    def _leads_there(self, connection: Any, timeout: float) -> bool:
        raw = connection.connection
        if has_ended(raw):
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
        driver = driver_of(self.alias)
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
    return hasattr(driver_of(alias), "pq")
