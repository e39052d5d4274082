"""Times of the sun: due at sunrise, at dusk, at noon.

The package `ephem` reckons them; it is imported when a schedule is made.
"""

import importlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from celeriac.errors import NotInstalled
from celeriac.schedules.base import App, BaseSchedule
from celeriac.schedules.walltime import DAY, instant_of

#: In so many days each event comes that ever comes.
_SEARCH = 367
_APART = timedelta(hours=1)  # two sunrises are further apart than that
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class _Event(NamedTuple):
    """How ephem is asked for an event: where the sun is, as seen from the horizon, and which way it goes."""

    horizon: str
    method: str
    center: bool


_EVENTS = {
    "dawn_astronomical": _Event("-18", "next_rising", True),
    "dawn_nautical": _Event("-12", "next_rising", True),
    "dawn_civil": _Event("-6", "next_rising", True),
    # Half a sun, and what the air bends its light by.
    "sunrise": _Event("-0:34", "next_rising", False),
    "solar_noon": _Event("0", "next_transit", False),
    "sunset": _Event("-0:34", "next_setting", False),
    "dusk_civil": _Event("-6", "next_setting", True),
    "dusk_nautical": _Event("-12", "next_setting", True),
    "dusk_astronomical": _Event("-18", "next_setting", True),
}


class solar(BaseSchedule):  # noqa: N801 - Celery's name
    """Due at an event of the sun at a place: `solar("sunset", 52.52, 13.40)`. Needs `celeriac[solar]`.

    Events: `dawn_astronomical`, `dawn_nautical`, `dawn_civil`, `sunrise`, `solar_noon`, `sunset`, `dusk_civil`,
    `dusk_nautical`, `dusk_astronomical`. South and west are negative. Days without the event are left out; one that
    does not come within a year is never due.
    """

    def __init__(
        self,
        event: str,
        lat: float,
        lon: float,
        nowfun: Callable[[], datetime] | None = None,
        app: App | None = None,
        *,
        timezone: str | tzinfo | None = None,
    ) -> None:
        super().__init__(nowfun, app, timezone=timezone)
        if event not in _EVENTS:
            raise ValueError(f"There is no event of the sun {event!r}; there are {', '.join(_EVENTS)}.")
        if not -90 <= lat <= 90:
            raise ValueError(f"The latitude is {lat}; it is from -90 to 90.")
        if not -180 <= lon <= 180:
            raise ValueError(f"The longitude is {lon}; it is from -180 to 180.")
        _ephem()
        self.event, self.lat, self.lon = event, lat, lon

    def next_after(self, moment: datetime, zone: tzinfo | None = None) -> datetime | None:
        """Return the first due time strictly after a moment, aware and in UTC; None if none comes within a year."""
        instant = instant_of(moment)
        # A day is asked from its beginning, whenever it is asked: ephem's answer depends by fractions of a second on
        # where it starts, and an event must not come a second time because it was looked for from another moment.
        midnight = _EPOCH - timedelta(hours=self.lon / 15)
        today = (instant - midnight) // DAY
        for day in range(today, today + _SEARCH):
            for found in self._events(midnight + day * DAY):
                if found > instant:
                    return found
        return None

    def _events(self, midnight: datetime) -> Iterator[datetime]:
        """The events of one day, which is 24 hours from midnight by the sun: one, now and then none or two."""
        ephem, asked = _ephem(), _EVENTS[self.event]
        place = ephem.Observer()
        place.lat, place.lon, place.elev = str(self.lat), str(self.lon), 0
        place.horizon, place.pressure = asked.horizon, 0
        options = {"use_center": True} if asked.center else {}
        start = midnight
        while start < midnight + DAY:
            try:
                found = getattr(place, asked.method)(ephem.Sun(), start=ephem.Date(start), **options)
            except ephem.CircumpolarError:
                return
            event = found.datetime().replace(tzinfo=UTC, microsecond=0)
            if event >= midnight + DAY:
                return
            yield event
            start = event + _APART

    @property
    def human_readable(self) -> str:
        """The event in plain words: "at sunset at 52.52° north, 13.4° east"."""
        south, west = self.lat < 0, self.lon < 0
        place = (
            f"{abs(self.lat)}° {'south' if south else 'north'}, {abs(self.lon)}° {'west' if west else 'east'}"
        )
        name, _, kind = self.event.partition("_")
        event = {"solar": "solar noon"}.get(name, f"{kind} {name}".strip())
        return f"at {event} at {place}"

    def _values(self) -> tuple[Any, ...]:
        return self.event, self.lat, self.lon, self.nowfun, self.timezone

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"


def _ephem() -> Any:
    try:
        return importlib.import_module("ephem")
    except ImportError:
        raise NotInstalled(
            "Schedules by the sun need the package 'ephem'. Install it: pip install 'celeriac[solar]'"
        ) from None
