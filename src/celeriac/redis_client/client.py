"""A connection for each thread of this process, made when needed.

Used by the Redis broker and the Redis store. After a fork the child makes its own connections.
"""

import threading
import time
from weakref import ref

from celeriac.redis_client.address import Address
from celeriac.redis_client.connection import Connection, Unsent

#: How long a server may take to say that a connection still leads to it.
_CHECK = 1.0


class Client:
    """Hands each thread its connection to `address`. `opening` is a command that each begins with."""

    def __init__(self, address: Address, connect_timeout: float, opening: tuple[str, ...] = ()) -> None:
        self._address = address
        self._connect_timeout = connect_timeout
        self._opening = opening
        self._local = threading.local()
        # References that go when a thread has ended. Its operations are atomic: a lock could be held at a fork.
        self._open: set[ref[Connection]] = set()

    def connection(self, timeout: float, patience: float = 0.0) -> Connection:
        """Return a connection that a command can be sent on; raises Unsent or ServerError within `timeout` seconds.

        A refused connection is tried again for `patience` seconds: a server that restarts is back soon.
        """
        try:
            connection: Connection = self._local.connection
        except AttributeError:
            pass  # this thread's first
        else:
            if connection.usable and connection.answers(min(_CHECK, timeout / 2)):
                return connection
            connection.close()
        connection = self._local.connection = self._connect(timeout, patience)
        self._open.add(ref(connection, self._open.discard))
        return connection

    def lasting(self, timeout: float) -> Connection:
        """`connection` for one that receives pushes: what waits to be read on it is no sign of its end."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.mine and connection.answers(min(_CHECK, timeout / 2)):
            return connection
        return self.connection(timeout)

    def _connect(self, timeout: float, patience: float) -> Connection:
        start = time.monotonic()
        pause = 0.05
        tries = 0
        while True:
            tries += 1
            left = timeout - (time.monotonic() - start)
            try:
                return Connection(self._address, max(0.05, min(left, self._connect_timeout)), self._opening)
            except Unsent as error:
                passed = time.monotonic() - start
                if passed + pause > min(patience, timeout):
                    raise Unsent(error.reason, tries, passed) from None
            time.sleep(pause)
            pause = min(2 * pause, 0.25)

    def close(self) -> None:
        """Close all connections of this process. May be called twice; the next call opens anew."""
        for reference in self._open.copy():
            connection = reference()
            if connection is not None:
                connection.close()
