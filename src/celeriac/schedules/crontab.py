"""Crontabs: due at times of the clock and of the calendar. What a field may hold is in `fields`."""

from bisect import bisect_left, bisect_right
from calendar import isleap
from collections.abc import Callable
from datetime import MAXYEAR, date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple, Self

from celeriac.schedules import fields, words
from celeriac.schedules.base import App, BaseSchedule
from celeriac.schedules.fields import Cronspec, ParseException
from celeriac.schedules.walltime import instant_of, next_change, reached, wall_time

#: Further than any change of the clocks reaches.
_NEAR = timedelta(hours=26)
#: The longest that each month gets.
_LONGEST = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ORDER = "minute hour day_of_month month_of_year day_of_week"


class Written(NamedTuple):
    """The five fields as they were given, in Celery's order."""

    minute: Cronspec
    hour: Cronspec
    day_of_week: Cronspec
    day_of_month: Cronspec
    month_of_year: Cronspec


class crontab(BaseSchedule):  # noqa: N801 - Celery's name
    """Due where the clock and the calendar match all five fields: `crontab(minute=0, hour=4, day_of_week="mon")`.

    A field is a number, numbers, or a text: `*`, `*/15`, `8-17`, `8-17/3`, `fri-mon`, `0,30,45-50`; months and days of
    the week may be named; Sunday is 0. All three date fields have to match, other than in Unix's cron: on
    `crontab(0, 4, "mon", "1-7")` it is the first Monday of each month. A date that never comes is a ValueError.

    The clock is the one of `timezone`, else of the project. Where it is put forward or back:

    - A time that a clock skips is due when the clock is put forward, once, however many were skipped.
    - A time that comes twice is due once, when it comes first.
    - One that is due in every hour (`hour` is `*`, or names all 24) goes by real hours: it is due whenever the clock
      shows a time that matches, also in the hour that comes twice, and has nothing to catch up with for the hour that
      does not come.
    """

    def __init__(
        self,
        minute: Cronspec = "*",
        hour: Cronspec = "*",
        day_of_week: Cronspec = "*",
        day_of_month: Cronspec = "*",
        month_of_year: Cronspec = "*",
        nowfun: Callable[[], datetime] | None = None,
        app: App | None = None,
        *,
        timezone: str | tzinfo | None = None,
    ) -> None:
        super().__init__(nowfun, app, timezone=timezone)
        self.written = Written(*map(_kept, (minute, hour, day_of_week, day_of_month, month_of_year)))
        self._minutes = fields.MINUTE.numbers(self.written.minute)
        self._hours = fields.HOUR.numbers(self.written.hour)
        self._weekdays = fields.DAY_OF_WEEK.numbers(self.written.day_of_week)
        self._days = fields.DAY_OF_MONTH.numbers(self.written.day_of_month)
        self._months = fields.MONTH_OF_YEAR.numbers(self.written.month_of_year)
        if self._days[0] > max(_LONGEST[month] for month in self._months):
            raise ValueError(
                f"This crontab is never due: day_of_month {day_of_month!r} does not come in "
                f"month_of_year {month_of_year!r}, whose longest has {max(_LONGEST[m] for m in self._months)} days."
            )

    @classmethod
    def from_string(
        cls,
        crontab: str,
        nowfun: Callable[[], datetime] | None = None,
        app: App | None = None,
        *,
        timezone: str | tzinfo | None = None,
    ) -> Self:
        """Return the crontab of a line in Unix's order: minute, hour, day of month, month, day of week."""
        given = crontab.split()
        if len(given) != 5:
            raise ParseException(
                f"{crontab!r} has {len(given)} fields, not the five {_ORDER.replace(' ', ', ')}."
            )
        minute, hour, day_of_month, month_of_year, day_of_week = given
        return cls(minute, hour, day_of_week, day_of_month, month_of_year, nowfun, app, timezone=timezone)

    # -- the numbers, as Celery has them

    @property
    def minute(self) -> set[int]:
        """The minutes at which it is due."""
        return set(self._minutes)

    @property
    def hour(self) -> set[int]:
        """The hours in which it is due."""
        return set(self._hours)

    @property
    def day_of_week(self) -> set[int]:
        """The days of the week on which it is due; Sunday is 0."""
        return set(self._weekdays)

    @property
    def day_of_month(self) -> set[int]:
        """The days of the month on which it is due."""
        return set(self._days)

    @property
    def month_of_year(self) -> set[int]:
        """The months in which it is due."""
        return set(self._months)

    @property
    def human_readable(self) -> str:
        """The crontab in plain words, such as "every 15 minutes" or "at 04:00 on Mondays"."""
        return (
            words.crontab(self._minutes, self._hours, self._weekdays, self._days, self._months)
            + self._own_zone()
        )

    # -- when it is due

    def next_after(self, moment: datetime, zone: tzinfo | None = None) -> datetime | None:
        """Return the first due time strictly after a moment, aware and in UTC; None if there is none."""
        zone = self.timezone or zone or self.tz
        if len(self._hours) == 24:
            return self._by_real_hours(instant_of(moment), zone)
        return self._by_the_calendar(instant_of(moment), zone)

    def _by_the_calendar(self, instant: datetime, zone: tzinfo) -> datetime | None:
        wall = self._next_wall(wall_time(instant, zone))
        # More than once where the clock was put back: those times have come before.
        while wall is not None and (found := reached(wall, zone)) <= instant:
            wall = self._next_wall(wall)
        return None if wall is None else found

    def _by_real_hours(self, instant: datetime, zone: tzinfo) -> datetime | None:
        while True:
            now = wall_time(instant, zone)
            wall = self._next_wall(now)
            if wall is None:
                return None
            change = next_change(instant, instant + _NEAR, zone)
            found = instant + (wall - now)
            if change is None and wall - now > _NEAR:
                # Days ahead: nothing before it matches, and no change lies near enough to bring a time back.
                found = reached(wall, zone)
                change = found if wall_time(found, zone) != wall else None
            if change is None or found < change:
                return found
            if self._matches(shown := wall_time(change, zone)) and not shown.second:
                return change
            instant = change

    def _matches(self, wall: datetime) -> bool:
        return wall.hour in self._hours and wall.minute in self._minutes and self._is_day(wall)

    def _is_day(self, day: date) -> bool:
        return day.day in self._days and day.month in self._months and day.isoweekday() % 7 in self._weekdays

    def _next_wall(self, wall: datetime) -> datetime | None:
        """Return the first matching time on the wall after another one."""
        if self._is_day(wall):
            if wall.hour in self._hours and wall.minute < self._minutes[-1]:
                minute = self._minutes[bisect_right(self._minutes, wall.minute)]
                return datetime(wall.year, wall.month, wall.day, wall.hour, minute)  # noqa: DTZ001 - on the wall
            if wall.hour < self._hours[-1]:
                hour = self._hours[bisect_right(self._hours, wall.hour)]
                return datetime(wall.year, wall.month, wall.day, hour, self._minutes[0])  # noqa: DTZ001
        day = self._next_day(wall)
        if day is None:
            return None
        return datetime(day.year, day.month, day.day, self._hours[0], self._minutes[0])  # noqa: DTZ001

    def _next_day(self, after: date) -> date | None:
        year, month, day = after.year, after.month, after.day + 1
        # The last year is left out, so that there is a day after each.
        while year < MAXYEAR:
            for each in self._months[bisect_left(self._months, month) :]:
                found = self._day_in(year, each, day if each == month else 1)
                if found is not None:
                    return found
            year, month, day = year + 1, 1, 1
        return None

    def _day_in(self, year: int, month: int, first: int) -> date | None:
        length = 28 if month == 2 and not isleap(year) else _LONGEST[month]
        sunday = date(year, month, 1).toordinal() - 1
        for day in self._days[bisect_left(self._days, first) :]:
            if day > length:
                return None
            if (sunday + day) % 7 in self._weekdays:
                return date(year, month, day)
        return None

    # -- as a value

    def _values(self) -> tuple[Any, ...]:
        numbers = (self._minutes, self._hours, self._weekdays, self._days, self._months)
        return (*numbers, self.nowfun, self.timezone)

    def __repr__(self) -> str:
        shown = " ".join(str(getattr(self.written, name)) for name in _ORDER.split())
        return f"<crontab: {shown} (m/h/dM/MY/d){self._own_zone()}>"


def _kept(written: Cronspec) -> Cronspec:
    """Return what was given, such that nobody can change or exhaust it."""
    if isinstance(written, int | str | tuple | range | frozenset) or not hasattr(written, "__iter__"):
        return written
    return set(written) if isinstance(written, set) else list(written)
