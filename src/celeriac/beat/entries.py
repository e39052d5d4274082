"""The entries of a schedule: what the settings, `add_periodic_task` and `@periodic` say, checked.

An entry has Celery's form, a dict with task, schedule, args, kwargs and options, and one word of its own: `missed`.
"""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from difflib import get_close_matches
from typing import Any, Protocol

from msgspec import Struct

from celeriac import registry
from celeriac.app import Celeriac
from celeriac.errors import ImproperlyConfigured
from celeriac.schedules import crontab, maybe_schedule

#: What becomes of due times that nobody was there for: one run for all, none, or one for each.
POLICIES = ("run_once", "skip", "run_all")
_WORDS = frozenset({"task", "schedule", "args", "kwargs", "options", "relative", "missed"})


class Schedule(Protocol):
    """What is to be known of a schedule."""

    def next_after(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """Return the first due time after that moment, None if there is none."""


class Entry(Struct):
    """One entry: the call, and when."""

    name: str
    task: str
    schedule: Schedule
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    options: Mapping[str, Any] = {}
    missed: str = "run_once"
    #: Seconds after which a due time that was missed is too long ago; None: never.
    deadline: float | None = None


def read(app: Celeriac) -> dict[str, Entry]:
    """Return the entries of an app whose tasks are loaded, by name; raises ImproperlyConfigured."""
    found: dict[str, Any] = {**registry.periodic, **app.periodic}
    found.update(app.conf.beat_schedule)
    entries = {str(name): _entry(str(name), given) for name, given in found.items()}
    for entry in entries.values():
        if isinstance(entry.schedule, crontab):
            entry.deadline = app.conf.beat_cron_starting_deadline
    return entries


def _entry(name: str, given: Any) -> Entry:
    where = f"The entry {name!r} of the schedule"
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{where} is {given!r}; it is a dict with task and schedule.")
    for word in given:
        if word not in _WORDS:
            near = get_close_matches(str(word), _WORDS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ImproperlyConfigured(f"{where} has {word!r}, which entries do not have.{hint}")
    task = getattr(given.get("task"), "name", given.get("task"))
    if not isinstance(task, str) or not task:
        raise ImproperlyConfigured(f"{where} names no task: 'task' is {given.get('task')!r}.")
    missed = given.get("missed", "run_once")
    if missed not in POLICIES:
        raise ImproperlyConfigured(f"{where}: 'missed' is {missed!r}, not one of {', '.join(POLICIES)}.")
    try:
        schedule: Any = maybe_schedule(given.get("schedule"), bool(given.get("relative", False)))
        schedule.next_after  # noqa: B018 - anything else would only be found out when it is due
        args, kwargs = tuple(given.get("args") or ()), dict(given.get("kwargs") or {})
        options = dict(given.get("options") or {})
    except (AttributeError, TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{where} cannot be read: {error}") from error
    return Entry(name, task, schedule, args, kwargs, options, missed)
