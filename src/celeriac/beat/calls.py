"""The calls that entries stand for: arguments and options for a due time, or for now.

Called by the engine, and by those who run an entry by hand.
"""

import hashlib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from celeriac import overlap
from celeriac.app import Celeriac
from celeriac.beat.entries import Entry
from celeriac.message.message import PERIODIC_NAME

_IDS = uuid.UUID("6f4f9df1-7f39-53c0-9f0a-1f6c3a6d2b57").bytes

Call = tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]


def call_for(entry: Entry, slot: float, now: float) -> Call:
    """Return args, kwargs and options for a due time; the id is the same for the same entry and due time."""
    args, kwargs, options = _call(entry, now)
    if entry.overlap == "skip":
        options["headers"][overlap.HEADER] = entry.name
    return args, kwargs, {"task_id": task_id(entry.name, slot), **options}


def run_now(app: Celeriac, entry: Entry, now: float) -> str:
    """Send the task of an entry, whether it is due or not, and return its id. When it is due next stays as it is."""
    args, kwargs, options = _call(entry, now)
    task = app.tasks.get(entry.task)
    if task is not None:
        return str(task.apply_async(args, kwargs, **options).id)
    return str(app.send_task(entry.task, args, kwargs, **options).id)


def task_id(entry: str, slot: float) -> str:
    """Return the id of the task that an entry sends for a due time: a UUID of version 5, of both."""
    digits = hashlib.sha1(_IDS + f"{entry} {slot!r}".encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def is_lazy(entry: Entry) -> bool:
    """Return whether an argument is to be found out when the task is sent."""
    return any(getattr(each, "lazy_for_beat", False) for each in (*entry.args, *entry.kwargs.values()))


def _call(entry: Entry, now: float) -> Call:
    args = tuple(each() if getattr(each, "lazy_for_beat", False) else each for each in entry.args)
    kwargs = {
        name: each() if getattr(each, "lazy_for_beat", False) else each for name, each in entry.kwargs.items()
    }
    return args, kwargs, _options(entry.name, entry.options, now)


def _options(name: str, given: Mapping[str, Any], now: float) -> dict[str, Any]:
    options = dict(given)
    # From now on, by the clock that all else goes by.
    for option, becomes in (("countdown", "eta"), ("expires", "expires")):
        if isinstance(options.get(option), int | float):
            options[becomes] = datetime.fromtimestamp(now + options.pop(option), UTC)
    options["headers"] = {**given.get("headers", {}), PERIODIC_NAME: name}
    return options
