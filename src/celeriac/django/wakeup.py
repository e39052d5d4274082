"""Waiting until somebody else has written to a database, without asking it all the time.

Each thread that waits has a `Watch` of its own (`open_watch`). `DatabaseBroker.wait` arms it, looks into the
database, and only then waits: what is written after the look ends the wait. A watch never reads a message.

SQLite: Linux tells of writes to the database's files (inotify); elsewhere a counter in the file is asked 66 times a
second, which takes 4 us each. PostgreSQL: LISTEN.
"""

import contextlib
import ctypes
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from celeriac.django import deadline
from celeriac.libc import libc

_POLL = 0.015
#: select() knows no higher descriptors.
_FD_SETSIZE = 1024
#: A look for changes that no event told of: file systems shared with another kernel have none.
_SAFETY = 0.25
#: The same for PostgreSQL.
_PULSE = 1.0
#: How long a server may take to let us listen.
_PATIENCE = 5.0


def readable(descriptors: list[int], timeout: float) -> list[int]:
    """Return those that can be read, waiting up to `timeout` seconds."""
    if max(descriptors) < _FD_SETSIZE:
        return select.select(descriptors, [], [], timeout)[0]
    # Counts in whole milliseconds, which is too coarse for the other case.
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(timeout * 1000)]


def has_ended(raw: Any) -> bool:
    """Return whether the server has closed a driver's connection, as far as can be told without asking it.

    For one that is not in use: between statements a server says nothing but that it ends. Where it was a notice after
    all, a new connection does no harm.
    """
    if not hasattr(raw, "fileno"):
        return False
    try:
        return bool(getattr(raw, "closed", False) or readable([raw.fileno()], 0))
    except Exception:  # the driver's own: closed just now, by another thread
        return True


class Watch(Protocol):
    """Something that can wait for a change."""

    def arm(self) -> None:
        """Forget what happened up to now."""

    def wait(self, timeout: float, interrupt: int) -> bool:
        """Return True after a change since `arm`; False when `interrupt` is readable or `timeout` seconds are over."""

    def close(self) -> None:
        """Give back what is held."""


class Polling:
    """Asks `version` for a number that changes with the data."""

    def __init__(self, version: Callable[[], object], interval: float = _POLL) -> None:
        self._version = version
        self._interval = interval
        self._seen: object = None

    def arm(self) -> None:
        self._seen = self._version()

    def wait(self, timeout: float, interrupt: int) -> bool:
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if readable([interrupt], min(left, self._interval)):
                return False
            if self._version() != self._seen:
                return True
        return False

    def close(self) -> None:
        """Nothing is held."""


_IN_MODIFY, _IN_DELETE_SELF, _IN_MOVE_SELF = 0x2, 0x400, 0x800


class Files:
    """Linux's inotify on a SQLite database and its write-ahead log.

    An event says that a file is being written; the change is to be seen a moment later, when the writer has updated
    its index. `version` (SQLite's data_version) says whether it is.
    """

    def __init__(self, path: str, version: Callable[[], object]) -> None:
        self._version = version
        self._seen: object = None
        self._fd = libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        # The log exists as long as a connection is open, and ours is.
        watched = [self._add(path + suffix) for suffix in ("", "-wal")]
        if not watched[0]:
            self.close()
            raise OSError(ctypes.get_errno(), "inotify_add_watch", path)

    def _add(self, path: str) -> bool:
        return bool(
            libc().inotify_add_watch(
                self._fd, os.fsencode(path), _IN_MODIFY | _IN_DELETE_SELF | _IN_MOVE_SELF
            )
            >= 0
        )

    def arm(self) -> None:
        self._drain()
        self._seen = self._version()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._fd, 65536)) > 32768:
                pass

    def wait(self, timeout: float, interrupt: int) -> bool:
        deadline = time.monotonic() + timeout
        pause = _SAFETY
        while (left := deadline - time.monotonic()) > 0:
            ready = readable([self._fd, interrupt], min(left, pause))
            if interrupt in ready:
                return False
            if self._version() != self._seen:
                return True
            if ready:
                self._drain()
                pause = 0.0002
            else:
                pause = min(pause * 2, _SAFETY)
        return False

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class Notices:
    """PostgreSQL's LISTEN, on a connection of its own; psycopg 3."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connection = connect()
        try:
            self._connection.autocommit = True
            with deadline.answering(self._connection, _PATIENCE):
                self._connection.execute("LISTEN celeriac")
        except BaseException:
            self._connection.close()
            raise

    def arm(self) -> None:
        self._take()

    def _take(self) -> bool:
        pgconn = self._connection.pgconn
        pgconn.consume_input()
        taken = False
        while pgconn.notifies() is not None:
            taken = True
        return taken

    def wait(self, timeout: float, interrupt: int) -> bool:
        fd = self._connection.fileno()
        ready = readable([fd, interrupt], min(timeout, _PULSE))
        if interrupt in ready:
            return False
        # Without a notice: look all the same, for behind a pooler there may be none.
        return self._take() or timeout > _PULSE

    def close(self) -> None:
        self._connection.close()


def watch_postgres(connection: Any) -> Watch:
    """Return a watch on the database of one of Django's connections to PostgreSQL."""
    if not hasattr(connection.connection, "notifies"):  # psycopg 2
        return Polling(object, _PULSE)
    parameters = deadline.bound(_PATIENCE) | connection.get_connection_params()
    return Notices(lambda: connection.Database.connect(**parameters))


def watch_sqlite(raw: Any) -> Watch:
    """Return a watch on the database of a SQLite connection."""

    def version() -> object:
        return raw.execute("PRAGMA data_version").fetchone()[0]

    path = next((row[2] for row in raw.execute("PRAGMA database_list") if row[1] == "main"), "")
    if not path:
        # In memory: connections that share a cache do not count each other's changes. Look each time.
        return Polling(object)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return Files(path, version)
    return Polling(version)


# What a forked child has from its parent, and must not close: it would say good-bye for it.
_abandoned: list[Watch] = []


class Watches:
    """The watches of one broker: each thread has its own, bound to the connection that it looks with."""

    def __init__(self) -> None:
        self._thread = threading.local()
        self._all: list[tuple[int, Watch]] = []

    def __iter__(self) -> Iterator[Watch]:
        return iter([watch for _, watch in self._all])

    def mine(self, raw: Any, open_watch: Callable[[], Watch]) -> Watch:
        """Return this thread's watch; a new one if the connection `raw` or the process is another than before."""
        owner = (os.getpid(), raw)
        if getattr(self._thread, "owner", None) != owner:
            self.drop_mine()
            self._thread.entry = (owner[0], open_watch())
            self._thread.owner = owner
            self._all.append(self._thread.entry)
        watch: Watch = self._thread.entry[1]
        return watch

    def drop_mine(self) -> None:
        """Close this thread's watch."""
        entry = getattr(self._thread, "entry", None)
        self._thread.owner = self._thread.entry = None
        if entry is not None and entry in self._all:
            self._all.remove(entry)
            _close(*entry)

    def close(self) -> None:
        """Close the watches of all threads."""
        entries, self._all = self._all, []
        self._thread = threading.local()
        for entry in entries:
            _close(*entry)


def _close(pid: int, watch: Watch) -> None:
    if pid != os.getpid() and isinstance(watch, Notices):
        _abandoned.append(watch)
        return
    with contextlib.suppress(Exception):
        watch.close()
