"""Clocked: due once, at a time. The name is django-celery-beat's."""

from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

from celeriac.schedules.base import App, BaseSchedule
from celeriac.schedules.walltime import instant_of, reached


class clocked(BaseSchedule):  # noqa: N801 - django-celery-beat's name
    """Due once: `clocked(datetime(2027, 1, 1, 9, 0))`. A time without a zone is read in `timezone`, else the app's."""

    def __init__(
        self,
        clocked_time: datetime,
        nowfun: Callable[[], datetime] | None = None,
        app: App | None = None,
        *,
        timezone: str | tzinfo | None = None,
    ) -> None:
        super().__init__(nowfun, app, timezone=timezone)
        if not isinstance(clocked_time, datetime):
            raise TypeError(f"clocked_time is {clocked_time!r}; it is a datetime.")
        self.clocked_time = clocked_time

    def next_after(self, moment: datetime, zone: tzinfo | None = None) -> datetime | None:
        """Return its time, aware and in UTC, if it is strictly after a moment, else None."""
        if self.clocked_time.tzinfo is not None:
            due = instant_of(self.clocked_time)
        else:
            due = reached(self.clocked_time, self.timezone or zone or self.tz)
        return due if due > instant_of(moment) else None

    @property
    def human_readable(self) -> str:
        """The time in plain words: "once, at 2027-01-01 09:00"."""
        shown = self.clocked_time.replace(tzinfo=None)
        if self.clocked_time.tzinfo is None:
            zone = self._own_zone()
        else:
            if self.timezone is not None:
                shown = self.clocked_time.astimezone(self.timezone).replace(tzinfo=None)
            zone = f", {self.timezone or self.clocked_time.tzinfo}"
        exact = "seconds" if shown.second or shown.microsecond else "minutes"
        return f"once, at {shown.isoformat(' ', exact)}{zone}"

    def _values(self) -> tuple[Any, ...]:
        return self.clocked_time, self.nowfun, self.timezone

    def __repr__(self) -> str:
        return f"<clocked: {self.clocked_time}{self._own_zone()}>"
