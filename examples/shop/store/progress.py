"""How far a task is, as a stream of changes: sent as server-sent events, or by a WebSocket where Channels is there.

Views and `consumers` call this. What a task says of itself with `update_state` is in its result; the stream looks there
a few times a second and tells what has changed. It holds no thread under ASGI, and one for each reader under WSGI.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async

from celeriac import AsyncResult

LOOK_EVERY = 0.25  # seconds
QUIET = 15.0  # seconds without a change after which a line is sent all the same: a reader that has gone is noticed

Progress = dict[str, Any]


def progress_of(task_id: str) -> Progress:
    """What the page shows: the state, how much of it is done, and what came of it at the end."""
    result = AsyncResult(task_id)
    state, info = result.state, result.info
    progress: Progress = {"state": state, "done": 0, "of": 0, "result": None, "error": None}
    if state == "PROGRESS" and isinstance(info, dict):
        progress |= info
    elif state == "SUCCESS":
        progress["result"] = info
    elif isinstance(info, BaseException):
        progress["error"] = str(info)
    return progress


def has_ended(progress: Progress) -> bool:
    return progress["state"] in ("SUCCESS", "FAILURE", "REVOKED")


def as_event(progress: Progress | None) -> str:
    """One server-sent event; a comment where there is nothing new."""
    return ": nothing new\n\n" if progress is None else f"data: {json.dumps(progress)}\n\n"


async def changes(task_id: str) -> AsyncIterator[Progress | None]:
    """Yield what is known now, then each change, until the task has ended; None after a while without any."""
    last, told = None, 0.0
    while last is None or not has_ended(last):
        progress = await sync_to_async(progress_of)(task_id)
        if progress != last or time.monotonic() - told > QUIET:
            yield progress if progress != last else None
            last, told = progress, time.monotonic()
        if not has_ended(progress):
            await asyncio.sleep(LOOK_EVERY)


def changes_in_thread(task_id: str) -> Iterator[Progress | None]:
    """`changes` for a WSGI server, whose thread waits here."""
    last, told = None, 0.0
    while last is None or not has_ended(last):
        progress = progress_of(task_id)
        if progress != last or time.monotonic() - told > QUIET:
            yield progress if progress != last else None
            last, told = progress, time.monotonic()
        if not has_ended(progress):
            time.sleep(LOOK_EVERY)


async def events(task_id: str) -> AsyncIterator[str]:
    async for progress in changes(task_id):
        yield as_event(progress)


def events_in_thread(task_id: str) -> Iterator[str]:
    return map(as_event, changes_in_thread(task_id))
