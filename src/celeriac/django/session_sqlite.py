"""The session on SQLite. Made by `sessions`."""

import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from django.db import connections

from celeriac.django.session import PATIENCE, Rows, Session
from celeriac.errors import CeleriacError


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
                    if not _is_taken(error):
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
        deadline = 0.0
        while True:
            try:
                found: Rows = raw.execute(self.sql[name], parameters).fetchall()
                return found
            except sqlite3.OperationalError as error:
                # Readers wait for nobody, but in memory, where connections share a cache, they do.
                now = time.monotonic()
                deadline = deadline or now + PATIENCE
                if raw.in_transaction or now >= deadline or not _is_taken(error):
                    raise
            time.sleep(0.001)

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


def _is_taken(error: sqlite3.OperationalError) -> bool:
    """Return whether another connection is in the way."""
    # The low byte is the kind; the rest says why.
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
