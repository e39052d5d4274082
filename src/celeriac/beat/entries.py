"""The entries of a schedule: what the settings, `add_periodic_task` and `@periodic` say, checked.

An entry has Celery's form, a dict with task, schedule, args, kwargs and options, and words of its own: `missed`
with `missed_limit`, `overlap`, `start_time`, `end_time` and `one_off`.
"""

import inspect
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from typing import Any, Protocol

from msgspec import Struct

from celeriac import registry
from celeriac.app import Celeriac
from celeriac.errors import ImproperlyConfigured
from celeriac.schedule import FromCode
from celeriac.schedules import crontab, maybe_schedule

#: What becomes of due times that nobody was there for: one run for all, none, or one for each.
POLICIES = ("run_once", "skip", "run_all")
#: What becomes of a due time while the run that was sent before has not ended.
OVERLAPS = ("allow", "skip")
#: Of very many that were missed, `run_all` runs so many, the last ones, where the entry does not say how many.
MOST = 100
_WORDS = frozenset(
    "task schedule args kwargs options relative missed missed_limit overlap start_time end_time one_off".split()
)


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
    #: How many due times that were missed `run_all` runs at most.
    most: int = MOST
    #: Not due before and after that; due times up to `since` are over. Unix times.
    start: float | None = None
    end: float | None = None
    since: float = 0.0
    #: It is over when it has run once.
    one_off: bool = False
    #: "skip": due times are over while a run has not ended.
    overlap: str = "allow"


def read(app: Celeriac) -> dict[str, Entry]:
    """Return the entries of an app whose tasks are loaded, by name; raises ImproperlyConfigured."""
    found: dict[str, Any] = {**registry.periodic, **app.periodic}
    found.update(app.conf.beat_schedule)
    entries = {str(name): entry_of(str(name), given) for name, given in found.items()}
    for entry in entries.values():
        finish(app, entry)
    return entries


def finish(app: Celeriac, entry: Entry) -> Entry:
    """Give an entry what the app's settings say of it, and return it."""
    if isinstance(entry.schedule, crontab):
        entry.deadline = app.conf.beat_cron_starting_deadline
    return entry


def from_code(app: Celeriac, entries: Iterable[Entry]) -> list[FromCode]:
    """Return entries of an app as they are shown to people."""
    return [FromCode(entry.name, _form(entry), where(app, entry.name)) for entry in entries]


def where(app: Celeriac, name: str) -> str:
    """Return where in the code an entry stands: a setting, a method, or file and line."""
    if name in app.conf.beat_schedule:
        return app.resolved.sources.get("beat_schedule", "beat_schedule")
    if name in app.periodic:
        return "app.add_periodic_task"
    task = registry.periodic.get(name, {}).get("task")
    code = getattr(inspect.unwrap(getattr(task, "run", task)), "__code__", None)
    if code is None:
        return "@periodic"
    path = os.path.relpath(code.co_filename)
    return f"{code.co_filename if path.startswith('..') else path}:{code.co_firstlineno}"


def _form(entry: Entry) -> dict[str, Any]:
    """Return the form that an entry has in settings."""
    words = ("task", "schedule", "args", "kwargs", "options", "missed", "one_off", "overlap")
    times = {"start_time": entry.start, "end_time": entry.end}
    return {
        **{word: getattr(entry, word) for word in words},
        **{word: None if at is None else datetime.fromtimestamp(at, UTC) for word, at in times.items()},
        "missed_limit": None if entry.most == MOST else entry.most,
    }


def entry_of(name: str, given: Any) -> Entry:
    """Return the entry that is given in the form of `beat_schedule`; raises ImproperlyConfigured."""
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
    overlap = given.get("overlap", "allow")
    if overlap not in OVERLAPS:
        raise ImproperlyConfigured(f"{where}: 'overlap' is {overlap!r}, not one of {', '.join(OVERLAPS)}.")
    try:
        schedule: Any = maybe_schedule(given.get("schedule"), bool(given.get("relative", False)))
        schedule.next_after  # noqa: B018 - anything else would only be found out when it is due
        args, kwargs = tuple(given.get("args") or ()), dict(given.get("kwargs") or {})
        options = dict(given.get("options") or {})
    except (AttributeError, TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{where} cannot be read: {error}") from error
    return Entry(
        name,
        task,
        schedule,
        args,
        kwargs,
        options,
        missed,
        most=_limit(where, given.get("missed_limit")),
        start=_moment(where, "start_time", given),
        end=_moment(where, "end_time", given),
        one_off=bool(given.get("one_off", False)),
        overlap=overlap,
    )


def _limit(where: str, given: Any) -> int:
    if given is None:
        return MOST
    if not isinstance(given, int) or given < 1:
        raise ImproperlyConfigured(f"{where}: 'missed_limit' is {given!r}; it is a number from 1 on.")
    return given


def _moment(where: str, word: str, given: Mapping[str, Any]) -> float | None:
    moment = given.get(word)
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ImproperlyConfigured(f"{where}: {word!r} is {moment!r}; it is a datetime with a time zone.")
    return moment.timestamp()
