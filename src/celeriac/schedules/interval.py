"""Intervals: due each time that so much time has gone by."""

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any, overload

from celeriac.schedules import words
from celeriac.schedules.base import App, BaseSchedule
from celeriac.schedules.walltime import DAY, instant_of, midnight_of, reached, wall_time

_SECOND, _MINUTE, _HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class schedule(BaseSchedule):  # noqa: N801 - Celery's name
    """Due every so many seconds, or every timedelta: `schedule(30)`. It counts real time, whatever clocks do.

    With `relative=True` it is due by the clock: on the whole second, minute or hour, or at midnight, the largest of
    these that fits into the interval. The next due time is the last of these that is at most one interval away.
    """

    def __init__(
        self,
        run_every: float | timedelta,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: App | None = None,
        *,
        timezone: str | tzinfo | None = None,
    ) -> None:
        super().__init__(nowfun, app, timezone=timezone)
        self.run_every = _timedelta(run_every)
        self.relative = relative

    def next_after(self, moment: datetime, zone: tzinfo | None = None) -> datetime | None:
        """Return the first due time strictly after a moment, aware and in UTC; None if there is none."""
        instant = instant_of(moment)
        try:
            if not self.relative:
                return instant + self.run_every
            return self._by_the_clock(instant, self.timezone or zone or self.tz)
        except OverflowError:
            return None

    def _by_the_clock(self, instant: datetime, zone: tzinfo) -> datetime:
        if self.run_every >= DAY:
            midnight = midnight_of(wall_time(instant, zone) + self.run_every)
            while (found := reached(midnight, zone)) <= instant:
                midnight += DAY
            return found
        unit = next(each for each in (_HOUR, _MINUTE, _SECOND, self.run_every) if each <= self.run_every)
        unit = max(unit, _SECOND)
        found = instant + self.run_every
        # More than once where the clock is put forward or back by a part of the unit.
        while past := _past(found, unit, zone):
            found -= past
        if found <= instant:
            found = instant + unit - _past(instant, unit, zone)
            while past := _past(found, unit, zone):
                found += unit - past
        return found

    @property
    def seconds(self) -> float:
        """The interval in seconds."""
        return self.run_every.total_seconds()

    @property
    def human_seconds(self) -> str:
        """The interval as Celery writes it: "30.00 seconds"."""
        return words.measured(self.seconds)

    @property
    def human_readable(self) -> str:
        """The interval in plain words, such as "every 15 minutes"."""
        text = words.every(self.run_every)
        return f"{text}, by the clock{self._own_zone(' of ')}" if self.relative else text

    def _values(self) -> tuple[Any, ...]:
        return self.run_every, self.relative, self.nowfun, self.timezone

    def __eq__(self, other: object) -> bool:
        return self.run_every == other if isinstance(other, timedelta) else super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"


def _past(instant: datetime, unit: timedelta, zone: tzinfo) -> timedelta:
    """Return for how long the clock has shown this hour, minute or second."""
    wall = wall_time(instant, zone)
    return (wall - midnight_of(wall)) % unit


def _timedelta(given: float | timedelta) -> timedelta:
    if not isinstance(given, timedelta):
        if not isinstance(given, int | float):
            raise TypeError(f"The interval is {given!r}; it is a number of seconds, or a timedelta.")
        try:
            given = timedelta(seconds=given)
        except (OverflowError, ValueError):
            raise ValueError(f"An interval of {given} s cannot be counted.") from None
    if given <= timedelta():
        raise ValueError(
            f"An interval of {given.total_seconds():g} s is always over; it has to be more than 0."
        )
    return given


@overload
def maybe_schedule(s: None, relative: bool = False, app: App | None = None) -> None: ...
@overload
def maybe_schedule(
    s: float | timedelta | BaseSchedule, relative: bool = False, app: App | None = None
) -> BaseSchedule: ...
def maybe_schedule(
    s: float | timedelta | BaseSchedule | None, relative: bool = False, app: App | None = None
) -> BaseSchedule | None:
    """Return the schedule that seconds, a timedelta or a schedule stand for; raises TypeError or ValueError."""
    if s is None:
        return None
    if isinstance(s, BaseSchedule):
        s.app = app
        return s
    if isinstance(s, int | float | timedelta):
        return schedule(s, relative, app=app)
    raise TypeError(
        f"{s!r} is no schedule; give seconds, a timedelta, or one of crontab, schedule, solar and clocked."
    )
