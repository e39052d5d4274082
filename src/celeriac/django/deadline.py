"""Deadlines for PostgreSQL, whose client library waits for ever: to connect, and for the answer to a statement.

Used by `PostgresSession`, the watch that listens and the look at connections around tasks, so that a server which is
frozen, or behind a network that swallows everything, costs `delay()` and a worker some seconds and not their life.
Only Celeriac's own statements outside of the project's transactions are bounded; what the project says of
`connect_timeout` goes before.
"""

import contextlib
import functools
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

#: How long the server may take to cancel a statement, and then for its last word on it. Within the deadline.
_GRACE = 0.2
#: What psycopg sends a generator whose socket was not ready in time.
_NOT_READY = 0
#: libpq knows no shorter one.
_SHORTEST_CONNECT = 2


class _Overdue(Exception):
    pass


@contextmanager
def connecting(connection: Any, seconds: float) -> Iterator[None]:
    """Bound a connect of Django's `connection` within the block, where the project does not."""
    given = connection.settings_dict
    options = given["OPTIONS"]
    if not ({"connect_timeout", "pool", "service"} & options.keys() or "PGCONNECT_TIMEOUT" in os.environ):
        connection.settings_dict = given | {"OPTIONS": options | bound(seconds)}
    try:
        yield
    finally:
        connection.settings_dict = given


def bound(seconds: float) -> dict[str, int]:
    """Return libpq's parameter for a connect that may take `seconds`."""
    return {"connect_timeout": max(_SHORTEST_CONNECT, round(seconds))}


@contextmanager
def answering(raw: Any, seconds: float) -> Iterator[None]:
    """Within the block, a statement on psycopg 3's connection `raw` that is not done in `seconds` is an error.

    The server is asked to cancel it. If it says that it has, that is the error, and nothing was done; else it is an
    OperationalError without a code, and the connection is of no more use. Takes psycopg 3.2.13; older ones wait on.
    """
    end = time.monotonic() + max(seconds / 2, seconds - 2 * _GRACE)
    # The one door through which psycopg waits for the server; Django's own statements go through it too.
    raw.wait = functools.partial(_wait, raw, raw.wait, seconds, end)
    try:
        yield
    finally:
        vars(raw).pop("wait", None)


def is_usable(connection: Any, seconds: float) -> bool:
    """Django's `connection.is_usable()`, which asks the server, in `seconds` where the driver is psycopg 3.

    What lies between may have forgotten a connection that was idle and tell nobody. It is better to notice that now
    than to send a task and not to know what became of it.
    """
    raw = connection.connection
    if not hasattr(raw, "pgconn"):
        return bool(connection.is_usable())
    with answering(raw, seconds):
        return bool(connection.is_usable())


def _wait(raw: Any, wait: Any, seconds: float, end: float, generator: Any, *args: Any, **kwargs: Any) -> Any:
    with contextlib.suppress(_Overdue):
        return wait(_until(end, generator, None), *args, **kwargs)
    import psycopg  # noqa: PLC0415 - only where PostgreSQL is the database

    # The older way to cancel has no deadline of its own.
    if psycopg.capabilities.has_cancel_safe():
        with contextlib.suppress(psycopg.Error):
            raw.cancel_safe(timeout=_GRACE)
    try:
        return wait(_until(time.monotonic() + _GRACE, generator, _NOT_READY), *args, **kwargs)
    except psycopg.errors.QueryCanceled:
        text = f"not done within {seconds:.1f} s, and cancelled: perhaps a lock on the table"
        raise psycopg.errors.QueryCanceled(text) from None
    except _Overdue:
        raise psycopg.OperationalError(f"no answer within {seconds:.1f} s") from None


def _until(end: float, generator: Any, first: int | None) -> Generator[Any, Any, Any]:
    """Be `generator`, and raise _Overdue once `end` has come and there is nothing to read or write.

    psycopg asks ten times a second. `first` is what the generator is sent first: None unless it has begun.
    """
    try:
        wanted = generator.send(first)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= end:
                raise _Overdue
            wanted = generator.send(ready)
    except StopIteration as stop:
        return stop.value
