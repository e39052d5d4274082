"""Instants and the times that clocks on the wall show for them. Called by the schedules; knows nothing of them.

An instant is an aware datetime in UTC, a wall time a naive one. `zoneinfo` names no transitions, so they are looked for
where two probes disagree; that happens only near one.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

#: No zone has ever put its clocks forward or back by more than a day.
DAY = timedelta(days=1)


def zone_of(value: str | tzinfo | None) -> tzinfo | None:
    """Return the time zone that a name stands for; None for None. Raises ValueError, or TypeError."""
    if value is None or isinstance(value, tzinfo):
        # pytz's zones do not know of folds; they have a name that zoneinfo knows.
        return value if not isinstance(name := getattr(value, "zone", None), str) else zone_of(name)
    if not isinstance(value, str):
        raise TypeError(f"timezone is {value!r}; it is a name such as 'Europe/Berlin', or a tzinfo.")
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        near = get_close_matches(value, available_timezones(), 1)
        hint = f" Did you mean {near[0]!r}?" if near else " A name is one such as 'Europe/Berlin'."
        raise ValueError(f"There is no time zone {value!r}.{hint}") from None


def instant_of(moment: datetime) -> datetime:
    """Return an aware moment in UTC; one without a zone is taken for UTC, as Celery does."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def wall_time(instant: datetime, zone: tzinfo) -> datetime:
    """Return what a clock in that zone shows."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def midnight_of(wall: datetime) -> datetime:
    """Return the wall time at which a day begins."""
    return wall.replace(hour=0, minute=0, second=0, microsecond=0)


def reached(wall: datetime, zone: tzinfo) -> datetime:
    """Return the instant at which clocks first show a wall time; the end of the gap where they never do."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if wall_time(instant, zone) == wall:
        return instant
    return _first(instant - DAY, instant + DAY, lambda moment: wall_time(moment, zone) >= wall)


def next_change(instant: datetime, until: datetime, zone: tzinfo) -> datetime | None:
    """Return when clocks are next put forward or back, if at `until` they go otherwise than at `instant`."""
    before = instant.astimezone(zone).utcoffset()
    if until.astimezone(zone).utcoffset() == before:
        return None
    return _first(
        instant.replace(microsecond=0), until, lambda moment: moment.astimezone(zone).utcoffset() != before
    )


def _first(low: datetime, high: datetime, holds: Callable[[datetime], bool]) -> datetime:
    """Return the first whole second after `low` at which something holds, as it does at `high`."""
    start = low.replace(microsecond=0)
    without, with_ = 0, int((high - start).total_seconds())
    while with_ - without > 1:
        middle = (without + with_) // 2
        if holds(start + timedelta(seconds=middle)):
            with_ = middle
        else:
            without = middle
    return start + timedelta(seconds=with_)
