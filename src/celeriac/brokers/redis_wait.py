"""Waiting for messages without asking again and again: client-side tracking (RESP3).

The waiter reads which of the lists have anything, and the server promises to tell when one of those that it looked at
changes. Reading and promise are one step, so nothing that comes after the look is slept through, and an idle
consumer costs a look for each `timeout`.
"""

from collections.abc import Sequence

from celeriac.brokers.redis_layout import Layout
from celeriac.redis_client.client import Client
from celeriac.redis_client.connection import Connection, Lost, Unsent, pack
from celeriac.redis_client.scripts import Script

#: Tracking is switched on per command, so that only the look is remembered.
TRACKING = ("CLIENT", "TRACKING", "ON", "OPTIN")
_MANY = 100


class Waiter:
    """Waits on connections of its own, one for each thread; `client` was opened with TRACKING."""

    def __init__(self, client: Client, layout: Layout, due: Script) -> None:
        self._client = client
        self._layout = layout
        self._due = due
        self._looks: dict[tuple[str, ...], bytes] = {}

    def wait(self, queues: Sequence[str], timeout: float, interrupt: int, patience: float) -> None:
        """See `Broker.wait`; `patience` bounds the wait for the server's answer. Raises Unsent, Lost, ServerError."""
        connection, ready, due = self._look(tuple(queues), patience)
        if ready:
            return
        if due:
            timeout = min(timeout, float(due))
        if timeout > 0:
            connection.push(timeout, interrupt)

    def _look(self, queues: tuple[str, ...], patience: float) -> tuple[Connection, int, bytes]:
        """Return the connection, how many lists have anything, and the seconds until something is due, if ever."""
        look = self._looks.get(queues) or self._make_look(queues)
        connection = self._client.lasting(patience)
        try:
            _, ready, due = self._due.run_after(connection, look, 2, queues, patience)
        except (Unsent, Lost):
            # Perhaps it was closed while idle, and a look may be repeated.
            connection = self._client.lasting(patience)
            _, ready, due = self._due.run_after(connection, look, 2, queues, patience)
        return connection, ready, due

    def _make_look(self, queues: tuple[str, ...]) -> bytes:
        if len(self._looks) > _MANY:
            self._looks.clear()
        keys = [key for queue in queues for key in self._layout.list_keys(queue)]
        nudges = [self._layout.nudge + queue for queue in queues]
        look = self._looks[queues] = pack(("CLIENT", "CACHING", "YES")) + pack(("EXISTS", *keys, *nudges))
        return look
