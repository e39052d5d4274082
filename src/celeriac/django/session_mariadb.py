"""The session on MariaDB, 10.6 or later, through mysqlclient or PyMySQL. Made by `sessions`.

Its transactions are READ COMMITTED, as Django's are unless told otherwise: a claim then locks the rows that it takes
and nothing between them.
"""

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celeriac.django.session import PATIENCE, Rows, Session
from celeriac.django.wakeup import has_ended
from celeriac.errors import CeleriacError

#: The first version with SKIP LOCKED and with INSERT ... RETURNING.
NEEDED = (10, 6)
#: Seconds without an answer from the server after which a connection is asked whether it still leads there.
_FRESH = 2.0
#: How many rows one INSERT has, and about how many bytes unless a single row has more.
_MOST_ROWS = 1000
_MOST_BYTES = 500_000
_INSERT = re.compile(r"(INSERT .* VALUES )(\(.*?\))( ON DUPLICATE KEY .*)?$").match
_READ_COMMITTED = "read committed"


class MariaDBSession(Session):
    """MariaDB."""

    vendor = "mysql"

    def __init__(self, alias: str, refusal: type[CeleriacError]) -> None:
        super().__init__(alias, refusal)
        # Of this thread: the driver's connection, when it was last known to lead to the server, and whether a COMMIT
        # was under way when something failed.
        self._thread = threading.local()
        self._is_known = False

    # -- the connection

    def connect(self, timeout: float = PATIENCE) -> Any:
        connection = super().connect(timeout)
        if not self.inside(connection) and not self._leads_there(connection, timeout):
            connection.close()
            self._open(connection, timeout)
        if not self._is_known:
            self._refuse_others(connection)
        return connection

    def _leads_there(self, connection: Any, timeout: float) -> bool:
        raw, known = connection.connection, self._thread
        if has_ended(
            getattr(raw, "_sock", raw)
        ):  # PyMySQL's socket; mysqlclient's connection has its descriptor
            return False
        idle = time.monotonic() - known.used if getattr(known, "raw", None) is raw else 0.0
        if idle < _FRESH:
            return True
        with _answering(raw, min(1.0, timeout / 2)):
            return bool(connection.is_usable())

    def _refuse_others(self, connection: Any) -> None:
        if not connection.mysql_is_mariadb or connection.mysql_version < NEEDED:
            found = "MariaDB" if connection.mysql_is_mariadb else "MySQL"
            version = ".".join(map(str, connection.mysql_version))
            raise self._refusal(
                f"{self.place} is {found} {version}. Celeriac keeps messages and results on MariaDB 10.6 or later, "
                "PostgreSQL and SQLite; set CELERY_BROKER_URL and CELERY_RESULT_BACKEND to redis://... instead."
            )
        self._is_known = True

    # -- transactions

    @contextmanager
    def write(self, timeout: float = PATIENCE, *, once: bool = False) -> Iterator[Any]:
        connection = self.connect(timeout)
        raw = connection.connection
        self._thread.committing = False
        if self.inside(connection):
            with raw.cursor() as cursor:
                yield cursor
            return
        try:
            with _answering(raw, timeout), raw.cursor() as cursor:
                if connection.isolation_level != _READ_COMMITTED:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                cursor.execute("BEGIN")
                yield cursor
                self._thread.committing = True
                cursor.execute("COMMIT")
                self._thread.committing = False
            self._used(raw)
        except BaseException as error:
            self._give_up(connection, error)
            raise

    def _give_up(self, connection: Any, error: BaseException) -> None:
        driver = connection.Database
        if connection.connection is not None and not isinstance(
            error, driver.OperationalError | driver.InterfaceError
        ):
            with contextlib.suppress(driver.Error):
                connection.connection.rollback()
                return
        # Whatever state it is in, the next statement gets a new one.
        connection.close()

    @contextmanager
    def read(self, timeout: float = PATIENCE) -> Iterator[Any]:
        connection = self.connect()
        raw = connection.connection
        try:
            with _answering(raw, timeout), raw.cursor() as cursor:
                yield cursor
            self._used(raw)
        except (connection.Database.OperationalError, connection.Database.InterfaceError):
            if not self.inside(connection):
                connection.close()
            raise

    def _used(self, raw: Any) -> None:
        self._thread.raw = raw
        self._thread.used = time.monotonic()

    # -- statements

    def rows(self, raw: Any, name: str, *parameters: Any) -> Rows:
        raw.execute(self.sql[name], parameters)
        return list(raw.fetchall())

    def count(self, raw: Any, name: str, *parameters: Any) -> int:
        raw.execute(self.sql[name], parameters)
        changed: int = raw.rowcount
        return changed

    def these(self, values: Sequence[Any]) -> Any:
        # The driver writes it as a list; one of nothing would be no SQL.
        return tuple(values) or (None,)

    def each(self, raw: Any, name: str, parameters: Sequence[Sequence[Any]]) -> None:
        for statement, values in self._at_once(name, parameters):
            raw.execute(statement, values)

    def insert_numbered(self, raw: Any, name: str, parameters: Sequence[Sequence[Any]]) -> list[int]:
        """Insert many rows with the statement of one, and return their numbers in order."""
        numbers: list[int] = []
        for statement, values in self._at_once(name, parameters):
            raw.execute(f"{statement} RETURNING id", values)
            # Numbers grow within a statement, in the order of its rows.
            numbers += sorted(row[0] for row in raw.fetchall())
        return numbers

    def _at_once(self, name: str, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, list[Any]]]:
        """Yield INSERTs of many rows, made of that of one, and their parameters: a trip for each would take long."""
        found = _INSERT(self.sql[name])
        if found is None:
            raise ValueError(f"{name} inserts no row of parameters")
        head, row, end = found.groups(default="")
        some: list[Any] = []
        count = size = 0
        for parameters in rows:
            more = sum(len(value) for value in parameters if isinstance(value, str | bytes))
            if count and (count == _MOST_ROWS or size + more > _MOST_BYTES):
                yield f"{head}{', '.join([row] * count)}{end}", some
                some, count, size = [], 0, 0
            some += parameters
            count, size = count + 1, size + more
        if count:
            yield f"{head}{', '.join([row] * count)}{end}", some

    def unsuitable(self, raw: Any, largest: int) -> list[str]:
        """Return what is wrong with the server or the tables, and how to mend it."""
        raw.execute("SELECT @@max_allowed_packet")
        ((packet,),) = raw.fetchall()
        raw.execute(
            "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE() "
            "AND table_name LIKE 'celeriac\\_%%' AND engine <> 'InnoDB' ORDER BY table_name",
            (),
        )
        told = [
            f"{table} is a table of {engine}, which has no transactions. Run: ALTER TABLE {table} ENGINE = InnoDB"
            for table, engine in raw.fetchall()
        ]
        if packet < 2 * largest:
            told.append(
                f"{self.place} takes statements of {packet:,} bytes (max_allowed_packet), and messages may have "
                f"{largest:,} (worker_max_message_bytes), which are up to twice as many on their way. Set "
                f"max_allowed_packet = {2 * largest:,} on the server, or allow smaller messages."
            )
        return told

    # -- errors

    def may_have_been_done(self, error: Exception) -> bool:
        return bool(getattr(self._thread, "committing", False)) and self.is_unreachable(error)

    def was_deadlock(self, error: BaseException | None) -> bool:
        """Return whether InnoDB has undone a whole transaction, so that another could go on."""
        return error is not None and error.args[:1] == (1213,)

    def _lacks_table(self, error: Exception) -> bool:
        # no such table, unknown column
        return bool(error.args) and error.args[0] in (1146, 1054)


@contextmanager
def _answering(raw: Any, seconds: float) -> Iterator[None]:
    """In this block the server has `seconds` for each answer, where the driver is PyMySQL.

    mysqlclient knows deadlines for a whole connection only: `read_timeout` in OPTIONS.
    """
    if not hasattr(raw, "_read_timeout"):
        yield
        return
    before = raw._read_timeout, raw._write_timeout
    raw._read_timeout = raw._write_timeout = seconds
    try:
        yield
    finally:
        raw._read_timeout, raw._write_timeout = before
