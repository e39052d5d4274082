"""Plain SQL on one of the project's databases, through the connection that Django has open in this thread.

`DatabaseBroker` and `DatabaseStore` speak to the database through a `Session` and know nothing else of it; there is one
for SQLite and one for PostgreSQL (`sessions`). Inside
`atomic()` statements are part of that transaction; elsewhere `write` makes one of its own. The driver's own connection
is used under Django's, because its wrapper costs more than the statements do. Never keeps a connection of its own.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import Error as DjangoError
from django.db import InterfaceError, OperationalError, connections

from celeriac.django import sql
from celeriac.django.installed import missing_migrations
from celeriac.errors import CeleriacError, NotInstalled

#: How long workers wait for a locked database, or for an answer, before they say that it is down.
PATIENCE = 5.0

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
        self.errors: tuple[type[Exception], ...] = (DjangoError, driver_of(alias).Error)

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
        driver = driver_of(self.alias)
        return isinstance(
            error, OperationalError | InterfaceError | driver.OperationalError | driver.InterfaceError
        )

    def may_have_been_done(self, error: Exception) -> bool:
        """Return whether what failed with `error` outside a transaction may have been done all the same."""
        return False


def driver_of(alias: str) -> Any:
    """The module of the database's driver, with its exceptions."""
    connection: Any = connections[alias]
    return connection.Database
