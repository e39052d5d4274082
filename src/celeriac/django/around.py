"""What Django does around a request, done around a task: connections checked, language and time zone put back.

Installed in workers by `DjangoFramework.install_hooks`. A task that uses neither database nor translations costs less
than a microsecond here, so nothing below may ask Django's thread-local objects, which cost four each, without a cause.
Coroutine tasks, whose database work has a thread of its own, are in `beside_loop`.
"""

import contextvars
import threading
import time
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.signals import connection_created
from django.utils import timezone, translation

from celeriac.context import Request
from celeriac.django import beside_loop, deadline
from celeriac.django.wakeup import has_ended
from celeriac.hooks import Hooks

#: A worker keeps a connection that long where the project says CONN_MAX_AGE = 0, which is meant for web requests.
KEEP = 60.0
#: A connection that was not asked for so long whether it leads anywhere is asked before a task gets it.
STALE = 1.0
#: How long the server has to answer that.
ANSWER = 2.0


class _Here(threading.local):
    """Of this thread: when each connection was known to work, and the context variables from before the task."""

    def __init__(self) -> None:
        self.known: dict[Any, float] = {}
        self.context: contextvars.Context | None = None


_here = _Here()


def install(hooks: Hooks) -> None:
    """Run `before_task` and `after_task` around each task; once, however often it is called."""
    if before_task in hooks.before_task:
        return
    for connection in connections.all(initialized_only=True):
        _here.known[connection] = 0.0
    connection_created.connect(_opened, dispatch_uid="celeriac")
    hooks.before_task = (*hooks.before_task, before_task)
    hooks.after_task = (*hooks.after_task, after_task)
    hooks.before_coroutine = (*hooks.before_coroutine, before_coroutine)
    hooks.after_loop = (*hooks.after_loop, beside_loop.close)


def _opened(sender: Any, connection: Any, **options: Any) -> None:
    if _has_pool(connection) and has_ended(connection.connection):
        # A pool without health checks hands out what died with its server, as often as it has one.
        connection.connection.close()
        connection.close()
        connection.connect()
        return
    _here.known[connection] = time.monotonic()
    beside_loop.note(connection)


def before_task(request: Request) -> None:
    """See that the task gets no connection that died while nothing ran."""
    _here.context = contextvars.copy_context()
    if _here.known:
        _try_out()


def before_coroutine() -> None:
    """The same for a coroutine task: have it seen to where it is to work, if there is a cause."""
    beside_loop.see_to(_is_suspect, _tidy)


def after_task(request: Request) -> None:
    """Undo what the task left behind: an open transaction, a broken or old connection, a language, a time zone."""
    here = _here
    if request.interrupted:
        _close_all(here.known)
    if here.known:
        _let_go()
    # Django keeps the language and the time zone in context variables: those that did not change need no look.
    if here.context is not None and contextvars.copy_context() != here.context:
        _put_back(here.context)


# -- connections


def _try_out() -> None:
    """Close the connections of this thread that lead nowhere."""
    known = _here.known
    now = time.monotonic()
    for connection, since in known.items():
        if connection.connection is None or connection.in_atomic_block or connection.vendor == "sqlite":
            continue
        if has_ended(connection.connection):
            connection.connection.close()  # a pool would hand it out again
            connection.close()
        elif now - since > STALE:
            if deadline.is_usable(connection, ANSWER):
                known[connection] = now
            else:
                connection.close()


def _let_go() -> None:
    """Close what is not to be kept for the next task, or give it back to its pool."""
    for connection in _here.known:
        if connection.connection is None or connection.in_atomic_block:
            continue
        if connection.queries_logged:
            connection.queries_log.clear()
        if _is_spent(connection):
            connection.close()
        else:
            connection.errors_occurred = False
            connection.health_check_done = False


def _tidy() -> None:
    """What is done around each task, between two coroutine tasks."""
    _let_go()
    _try_out()


def _close_all(opened: Iterable[Any]) -> None:
    """Close what a soft limit may have struck: in a statement, or between BEGIN and what Django notes of it."""
    for connection in opened:
        connection.in_atomic_block = False
        connection.close()


def _is_spent(connection: Any) -> bool:
    if connection.autocommit != connection.settings_dict["AUTOCOMMIT"]:
        return True
    if connection.errors_occurred and not deadline.is_usable(connection, ANSWER):
        return True
    return _is_over_age(connection)


def _is_over_age(connection: Any) -> bool:
    if _has_pool(connection):
        return True  # other threads may be waiting for it
    grace = 0.0 if connection.settings_dict["CONN_MAX_AGE"] else KEEP
    return connection.close_at is not None and time.monotonic() >= connection.close_at + grace


def _has_pool(connection: Any) -> bool:
    return bool(connection.settings_dict["OPTIONS"].get("pool"))


def _is_suspect(connection: Any, since: float) -> bool:
    """Return whether another thread's connection is worth a look there. May be wrong either way."""
    raw = connection.connection
    if raw is None or connection.in_atomic_block:
        return False
    if connection.errors_occurred or _is_over_age(connection):
        return True
    if connection.autocommit != connection.settings_dict["AUTOCOMMIT"]:
        return True
    return connection.vendor != "sqlite" and (time.monotonic() - since > STALE or has_ended(raw))


# -- language and time zone


def _put_back(before: contextvars.Context) -> None:
    """Make the language and the time zone what they were."""
    language, zone = before.run(_language_and_zone)
    if language == settings.LANGUAGE_CODE:
        translation.deactivate()
    elif language is None:
        translation.deactivate_all()
    elif language != translation.get_language():
        translation.activate(language)
    if zone == timezone.get_default_timezone():
        timezone.deactivate()
    else:
        timezone.activate(zone)


def _language_and_zone() -> tuple[str | None, Any]:
    return translation.get_language(), timezone.get_current_timezone()
