"""Schedules: values that say when something is due, under the names of `celery.schedules`.

    from celeriac.schedules import crontab, schedule, solar, clocked

Each tells by `next_after(moment, zone)` when it is due next. None of them waits, sends or remembers anything: that is
beat's business. They may be compared, hashed, pickled, and shown in plain words (`human_readable`).
"""

from celeriac.schedules.base import App, BaseSchedule, schedstate
from celeriac.schedules.clocked import clocked
from celeriac.schedules.crontab import crontab
from celeriac.schedules.fields import ParseException, crontab_parser
from celeriac.schedules.interval import maybe_schedule, schedule
from celeriac.schedules.solar import solar

__all__ = [
    "App",
    "BaseSchedule",
    "ParseException",
    "clocked",
    "crontab",
    "crontab_parser",
    "maybe_schedule",
    "schedstate",
    "schedule",
    "solar",
]
