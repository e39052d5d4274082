"""What all schedules have in common, and what one of a project's own is made from."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple, Protocol

from celeriac.schedules.walltime import instant_of, zone_of


class schedstate(NamedTuple):  # noqa: N801 - Celery's name
    """Whether something is due, and in how many seconds to look again; None: never."""

    is_due: bool
    next: float | None


class Conf(Protocol):
    """What is to be known of an app's settings."""

    @property
    def timezone(self) -> str | None:
        """The name of the project's time zone."""


class App(Protocol):
    """What is to be known of an app."""

    @property
    def conf(self) -> Conf:
        """Its settings."""


class BaseSchedule:
    """When something is due. A schedule of one's own overrides `next_after`, or Celery's `remaining_estimate`."""

    def __init__(
        self,
        nowfun: Callable[[], datetime] | None = None,
        app: App | None = None,
        *,
        timezone: str | tzinfo | None = None,
    ) -> None:
        self.nowfun = nowfun
        self.app = app
        self.timezone = zone_of(timezone)

    def next_after(self, moment: datetime, zone: tzinfo | None = None) -> datetime | None:
        """Return the first due time strictly after a moment, aware and in UTC; None if there is none.

        `zone` is where wall times are read if the schedule has no `timezone` of its own; None: the app's, else UTC.
        """
        if type(self).remaining_estimate is BaseSchedule.remaining_estimate:
            raise NotImplementedError(f"{type(self).__name__} has to override next_after().")
        # One that was written for Celery, which tells the time from now on.
        return instant_of(self.now() + self.remaining_estimate(moment))

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Return whether it has been due since it last ran, and in how many seconds to look again."""
        now = instant_of(self.now())
        following = self.next_after(last_run_at)
        due = following is not None and following <= now
        if due:
            following = self.next_after(now)
        return schedstate(due, None if following is None else (following - now).total_seconds())

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Return the time from now until it is due again, less than nothing if it is overdue."""
        following = self.next_after(last_run_at)
        return timedelta.max if following is None else following - instant_of(self.now())

    def now(self) -> datetime:
        """Return the current time: what `nowfun` says, if there is one."""
        return self.nowfun() if self.nowfun is not None else datetime.now(UTC)

    @property
    def tz(self) -> tzinfo:
        """The zone whose clocks count: its own, else the app's, else UTC."""
        of_app = None if self.app is None else zone_of(self.app.conf.timezone)
        return self.timezone or of_app or UTC

    @property
    def human_readable(self) -> str:
        """The schedule in plain words, such as "every 15 minutes" or "at 04:00 on Mondays"."""
        return repr(self)

    def _own_zone(self, before: str = ", ") -> str:
        """The zone to show behind the rest, nothing if it has none of its own."""
        return "" if self.timezone is None else f"{before}{self.timezone}"

    def _values(self) -> tuple[Any, ...]:
        """What makes two schedules equal."""
        return tuple(sorted(self.__getstate__().items()))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __getstate__(self) -> dict[str, Any]:
        """All but the app, which whoever reads it has."""
        return {**vars(self), "app": None}
