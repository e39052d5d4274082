"""The connections that coroutine tasks use: Django's async ORM works on a thread beside the event loop.

Called by `around`. That thread (asgiref's) runs what it is given in turn, so what is to be done to its connections
before a task is put into its queue before what the task itself asks of it, and nobody waits for it.
"""

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import SyncToAsync

#: Set in the context of coroutine tasks, which asgiref and asyncio take along to their threads.
_in_loop: contextvars.ContextVar[bool] = contextvars.ContextVar("celeriac_in_loop", default=False)


class _Opened:
    """The connections that were opened beside the loop, by thread; which thread is asgiref's; is it to tidy up?"""

    def __init__(self) -> None:
        self.connections: dict[Any, int] = {}
        self.thread: int | None = None
        self.known = 0.0
        self.asked = False


_opened = _Opened()


def note(connection: Any) -> None:
    """Remember a connection that was just opened, if a coroutine task is the cause."""
    if _in_loop.get():
        _opened.connections[connection] = threading.get_ident()


def see_to(is_suspect: Callable[[Any, float], bool], tidy: Callable[[], None]) -> None:
    """Have `tidy` called on the thread beside the loop if one of its connections is suspect: before each coroutine."""
    _in_loop.set(True)
    opened = _opened
    if not opened.connections or opened.asked:
        return
    for connection, thread in list(opened.connections.items()):
        if opened.thread in (None, thread) and is_suspect(connection, opened.known):
            opened.asked = True
            SyncToAsync.single_thread_executor.submit(_call, tidy)
            return


def _call(tidy: Callable[[], None]) -> None:
    try:
        tidy()
    finally:
        _opened.thread, _opened.known, _opened.asked = threading.get_ident(), time.monotonic(), False


def close() -> None:
    """Close what was opened beside the loop, which has ended: by now nobody uses it, whichever thread it was."""
    while _opened.connections:
        connection, _ = _opened.connections.popitem()
        if connection.connection is not None and not connection.in_atomic_block:
            connection.inc_thread_sharing()
            try:
                connection.close()
            finally:
                connection.dec_thread_sharing()
