"""Entries of the schedule that stand in code: the decorator `periodic`, and what `app.add_periodic_task` makes.

They have the form of `beat_schedule`'s entries; `celeriac.beat` reads both.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from celeriac import registry
from celeriac.canvas import Signature

T = TypeVar("T")


def periodic(
    schedule: Any,
    *,
    name: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    missed: str = "run_once",
    overlap: str = "allow",
    **options: Any,
) -> Callable[[T], T]:
    """Put a task into the schedule: `@periodic(crontab(hour=4))` above `@shared_task`.

    `schedule` is seconds, a timedelta, `crontab(...)` or another schedule. The entry is called `name`, which is the
    task's own unless it is given; several for one task need several names. `options` are those of `apply_async`;
    `missed` says what becomes of times when no beat ran: "run_once", "skip" or "run_all"; with `overlap="skip"` it is
    not sent while the run that was sent before has not ended.
    """

    def enter(task: T) -> T:
        entry = {"task": task, "schedule": schedule, "args": tuple(args), "kwargs": dict(kwargs or {})}
        key = name or getattr(task, "name", None) or repr(task)
        registry.periodic[key] = {**entry, "options": options, "missed": missed, "overlap": overlap}
        return task

    return enter


def entry_of(
    schedule: Any,
    sig: Signature[Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the entry of a call that is given as a signature, as `app.add_periodic_task` takes it."""
    call = sig.clone(args, kwargs)
    return {
        "task": call.task,
        "schedule": schedule,
        "args": tuple(call.args),
        "kwargs": dict(call.kwargs),
        "options": {**call.options, **options},
    }
