"""Which fields of a `Schedule` count for which kind, what they may hold, and the schedule that they stand for.

Called by the model alone, which it is given; knows of no form and no database.
"""

import json
from datetime import datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.utils import timezone as django_timezone
from django.utils.translation import gettext_lazy as _

from celeriac import registry
from celeriac.errors import CeleriacError
from celeriac.message import serializers
from celeriac.schedules import BaseSchedule, clocked, crontab, schedule, solar
from celeriac.schedules.walltime import zone_of

CRON_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
#: The fields that say when, by kind.
FIELDS_OF: dict[str, tuple[str, ...]] = {
    "interval": ("every", "unit"),
    "crontab": CRON_FIELDS,
    "clocked": ("clocked_time",),
    "solar": ("event", "latitude", "longitude"),
    "code": (),
}
#: What has to be filled in, by kind.
_NEEDED = {**FIELDS_OF, "crontab": ()}
EVENTS = (
    ("sunrise", _("sunrise")),
    ("sunset", _("sunset")),
    ("solar_noon", _("solar noon")),
    ("dawn_civil", _("civil dawn")),
    ("dawn_nautical", _("nautical dawn")),
    ("dawn_astronomical", _("astronomical dawn")),
    ("dusk_civil", _("civil dusk")),
    ("dusk_nautical", _("nautical dusk")),
    ("dusk_astronomical", _("astronomical dusk")),
)
#: Fields that hold JSON, of which type, and what to say of another.
_JSON: dict[str, tuple[type, Any]] = {
    "args": (list, _('This is a list, such as ["north", 10].')),
    "kwargs": (dict, _('This is an object, such as {"limit": 10}.')),
    "headers": (dict, _('This is an object, such as {"tenant": "a"}.')),
}
#: Options of `apply_async` that are fields under the same name, where they are not empty.
_OPTIONS = ("queue", "exchange", "routing_key", "priority", "headers", "expires")
#: What making a schedule of fields may raise.
WRONG = (CeleriacError, ValueError, TypeError, OverflowError)


#: A `Schedule`; its module imports this one.
Row = Any


def project_zone() -> ZoneInfo:
    """Return the zone whose clocks count where a schedule names none."""
    return ZoneInfo(registry.current_app().conf.timezone or "UTC")


def schedule_of(row: Row) -> BaseSchedule:
    """Return the schedule that the fields stand for; raises one of `WRONG`."""
    zone = zone_of(row.timezone or None)
    match row.kind:
        case "interval":
            return schedule(timedelta(**{row.unit: row.every or 0}))
        case "crontab":
            return _crontab({name: getattr(row, name) for name in CRON_FIELDS}, zone)
        case "clocked":
            return clocked(aware(row.clocked_time), timezone=zone or project_zone())
        case "solar":
            return solar(row.event, row.latitude, row.longitude, timezone=zone)
    raise ValueError(f"Of {row.name!r} only the code says when it is due.")


def _crontab(fields: dict[str, Any], zone: tzinfo | None = None) -> crontab:
    given: dict[str, Any] = {name: value or "*" for name, value in fields.items()}
    return crontab(**given, timezone=zone)


def entry_form(row: Row) -> dict[str, Any]:
    """Return the entry as `beat_schedule` would have it; raises one of `WRONG`."""
    options = {name: value for name in _OPTIONS if (value := getattr(row, name)) not in (None, "", {})}
    if row.expires is not None:
        options["expires"] = aware(row.expires)
    if row.expires_after is not None:
        options["expires"] = row.expires_after
    return {
        "task": row.task,
        "schedule": schedule_of(row),
        "args": _untagged(row.args),
        "kwargs": _untagged(row.kwargs),
        "options": options,
        "missed": row.missed,
        "missed_limit": row.missed_limit,
        "overlap": row.overlap,
        "start_time": aware(row.start_time),
        "end_time": aware(row.end_time),
        "one_off": row.one_off,
    }


def aware(moment: Any) -> Any:
    """Return a time with a zone: where the project's have none, it is one of the project's own."""
    if isinstance(moment, datetime) and django_timezone.is_naive(moment):
        return django_timezone.make_aware(moment)
    return moment


def _untagged(value: Any) -> Any:
    """Return stored arguments as the task gets them: what is tagged as a date is one, whatever the serializer."""
    return serializers.json_loads(json.dumps(value).encode())


def empty_others(row: Row) -> None:
    """Set the fields of other kinds to what they are when nobody filled them in."""
    for kind, names in FIELDS_OF.items():
        for name in names if kind != row.kind else ():
            setattr(row, name, row._meta.get_field(name).get_default())


def check(row: Row) -> None:
    """Raise ValidationError, by field, for what cannot be."""
    errors = {**_wrong_values(row), **_wrong_times(row)}
    if not errors:
        errors = _wrong_schedule(row)
    if errors:
        raise ValidationError(errors)


def _wrong_values(row: Row) -> dict[str, Any]:
    wrong: dict[str, Any] = {
        name: what for name, (kind, what) in _JSON.items() if not isinstance(getattr(row, name), kind)
    }
    for name in _NEEDED.get(row.kind, ()):
        if getattr(row, name) in (None, ""):
            wrong[name] = _("This is needed to know when.")
    if row.kind == "code" and not row.from_code:
        wrong["kind"] = _("This is for what stands in the code. Choose another.")
    if row.every is not None and row.kind == "interval" and row.every <= 0:
        wrong["every"] = _("This has to be more than 0.")
    if row.expires is not None and row.expires_after is not None:
        wrong["expires"] = _("There is a number of seconds already; one of both.")
    try:
        zone_of(row.timezone or None)
    except ValueError as error:
        wrong["timezone"] = str(error)
    return wrong


def _wrong_times(row: Row) -> dict[str, Any]:
    now, wrong = aware(django_timezone.now()), {}
    start, end, once = aware(row.start_time), aware(row.end_time), aware(row.clocked_time)
    if end is not None and start is not None and end < start:
        wrong["end_time"] = _("The end is before the start.")
    if not row.enabled or not row.is_retimed:
        return wrong
    if row.kind == "clocked" and once is not None and once < now - timedelta(minutes=1):
        wrong["clocked_time"] = _("This time is over. Choose a later one, or run it now instead.")
    elif end is not None and end < now:
        wrong.setdefault("end_time", _("The end is over, so it would never be due."))
    return wrong


def _wrong_schedule(row: Row) -> dict[str, str]:
    if row.kind == "crontab":
        for name in CRON_FIELDS:
            try:
                _crontab({name: getattr(row, name)})
            except WRONG as error:
                return {name: str(error)}
    try:
        if row.kind == "solar":
            solar(row.event, 0, 0)  # what the place may be, its fields tell
        else:
            schedule_of(row)
    except WRONG as error:
        where = {"crontab": "day_of_month", "interval": "every", "solar": "event"}
        return {where.get(row.kind, "kind"): str(error)}
    return {}
