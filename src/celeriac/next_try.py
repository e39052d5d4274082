"""The message of a task's next try: the same id and links, one retry more, and a time at which it is due.

Made by `celeriac.execute` when a run has ended with Retry; published with the settlement of that run.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from celeriac.arguments import bounded_repr
from celeriac.broker import Publication
from celeriac.context import Request
from celeriac.errors import Retry
from celeriac.message import compression, serializers
from celeriac.message.message import Message
from celeriac.message.moments import retry_time
from celeriac.publishing import prepare
from celeriac.run import Run
from celeriac.signals import before_task_publish


def next_try(run: Run, retry: Retry, now: float, encode: Callable[[Message, str], bytes]) -> Publication:
    """Return the message, encoded; `now` is a unix time. Raises EncodeError for arguments that cannot be sent."""
    message = run.message
    due = retry_time(retry.when, now)
    args, kwargs, options = retry.call or (None, None, {})
    headers = replace(
        message.headers,
        retries=(message.headers.retries or 0) + 1,
        eta=datetime.fromtimestamp(due, UTC).isoformat(),
        parent_id=message.headers.parent_id or message.headers.id,
    )
    queue = options.get("queue") or run.queue
    priority = options.get("priority", message.properties.priority) or 0
    properties = replace(
        message.properties,
        priority=priority,
        celeriac_losses=0,
        celeriac_suspect=False,
        timestamp=time.time(),
    )
    again = replace(message, headers=headers, properties=properties)
    if args is not None or kwargs is not None:
        request: Request = run.request  # type: ignore[assignment]
        args = request.args if args is None else args
        kwargs = request.kwargs if kwargs is None else kwargs
        _call_with(again, run, args, kwargs)
    _tell(run, again, queue, (args, kwargs))
    return Publication(headers.id, headers.task, queue, encode(again, queue), priority, due)


def _call_with(again: Message, run: Run, args: Any, kwargs: Any) -> None:
    """Give the next try other arguments than this one had."""
    embed = run.request.embed if run.request is not None else None
    body = serializers.by_content_type[again.content_type].dumps([list(args), kwargs, embed])
    covers = run.task.covers if run.task is not None else None
    shown, named = (tuple(args), kwargs) if covers is None else covers.cover(args, kwargs)
    again.headers.argsrepr = bounded_repr(shown, len(body))
    again.headers.kwargsrepr = bounded_repr(named, len(body))
    if again.compression is not None:
        body, _ = compression.compress(body, again.compression)
    again.body = body


def _tell(run: Run, again: Message, queue: str, call: tuple[Any, Any]) -> None:
    """Tell `before_task_publish`, with the new arguments if `call` has some."""
    request = run.request
    if before_task_publish.receivers and request is not None and not request.is_eager:
        args, kwargs = call
        args = request.args if args is None else args
        kwargs = request.kwargs if kwargs is None else kwargs
        prepare(again, queue, (list(args), dict(kwargs), request.embed))
