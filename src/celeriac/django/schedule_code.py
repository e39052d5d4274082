"""Rows for entries that stand in code, so that people see all that is scheduled in one list, and can pause it.

Called by beat when it takes office. A row that was taken over, which says for itself what holds, is left alone.
"""

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import F

from celeriac.django.models import Schedule
from celeriac.django.schedule_rules import FIELDS_OF
from celeriac.django.storable import name as as_name
from celeriac.schedule import FromCode
from celeriac.schedules import BaseSchedule, clocked, crontab, schedule, solar
from celeriac.schedules.walltime import zone_of

_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_CHUNK = 500
_UNITS = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))
#: Options that have a field of their own.
_OPTIONS = ("queue", "exchange", "routing_key", "priority", "headers")
#: Words of an entry that are fields under the same name.
_SAME = ("missed", "missed_limit", "overlap", "one_off", "start_time", "end_time")
#: What the fields hold that an entry says nothing of.
_BLANK = {
    name: getattr(Schedule(), name)
    for names in (*FIELDS_OF.values(), _OPTIONS, ("timezone", "expires", "expires_after", "code_words"))
    for name in names
}


def show(entries: Sequence[FromCode]) -> None:
    """Let the table have a row for each of these and no others, besides those that were taken over."""
    wanted = {as_name(entry.name): fields_of(entry) for entry in entries}
    there = {row.name: row for row in Schedule.objects.all()}
    new = [
        Schedule(name=name, counts_from=_EPOCH, **fields)
        for name, fields in wanted.items()
        if name not in there
    ]
    Schedule.objects.bulk_create(new, batch_size=_CHUNK, ignore_conflicts=True)
    for name, row in there.items():
        if not row.from_code:
            continue
        fields = wanted.get(name)
        if fields is None:
            # A pause outlives a release that lacks the entry.
            if row.enabled:
                row.delete()
        elif any(getattr(row, field) != value for field, value in fields.items()):
            Schedule.objects.filter(pk=row.pk).update(**fields, counts_from=F("counts_from"))


def fields_of(entry: FromCode) -> dict[str, Any]:
    """Return the fields that say what an entry in code says, as far as there are such fields."""
    given = entry.given
    options = given["options"]
    fields: dict[str, Any] = {
        **_BLANK,
        "task": as_name(given["task"]),
        "from_code": entry.where[:255],
        "args": _json(list(given["args"])),
        "kwargs": _json(dict(given["kwargs"])),
        **{name: _json(options[name]) for name in _OPTIONS if options.get(name) is not None},
        **{name: given[name] for name in _SAME},
    }
    for name in ("queue", "exchange", "routing_key"):
        if options.get(name):
            fields[name] = str(getattr(options[name], "name", options[name]))[:255]
    expires = options.get("expires")
    if isinstance(expires, int | float):
        fields["expires_after"] = float(expires)
    elif isinstance(expires, dt.datetime):
        fields["expires"] = expires if expires.tzinfo else expires.replace(tzinfo=dt.UTC)
    return fields | _when(given["schedule"])


def _when(value: Any) -> dict[str, Any]:
    """Return the fields that say when; those of the kind "code" where none do."""
    zone = _zone(value)
    if zone is not None:
        if type(value) is schedule and not value.relative:
            unit, size = next((each for each in _UNITS if value.seconds % each[1] == 0), _UNITS[-1])
            return {"kind": "interval", "every": value.seconds / size, "unit": unit}
        if type(value) is crontab and all(isinstance(field, int | str) for field in value.written):
            return {
                "kind": "crontab",
                "timezone": zone,
                **{n: str(f) for n, f in value.written._asdict().items()},
            }
        if type(value) is clocked and value.clocked_time.tzinfo is not None:
            return {"kind": "clocked", "clocked_time": value.clocked_time, "timezone": zone}
        if type(value) is solar:
            place = {"latitude": value.lat, "longitude": value.lon}
            return {"kind": "solar", "event": value.event, "timezone": zone, **place}
    return {"kind": "code", "code_words": str(getattr(value, "human_readable", repr(value)))[:255]}


def _zone(value: Any) -> str | None:
    """Return the name of a schedule's own zone, "" where it has none, None where the zone has no name or counts not."""
    if not isinstance(value, BaseSchedule) or value.nowfun is not None:
        return None
    name = "" if value.timezone is None else str(value.timezone)
    try:
        return name if not name or zone_of(name) is not None else None
    except ValueError:
        return None


def _json(value: Any) -> Any:
    """Return a value as it can be kept, for people to see: what JSON or the database has not, as text."""
    try:
        written = json.dumps(value, cls=DjangoJSONEncoder, allow_nan=False, ensure_ascii=False)
        written.encode()  # raises where there are lone surrogates
        if "\\u0000" not in written:
            return json.loads(written)
    except (TypeError, ValueError):
        pass
    if isinstance(value, dict):
        return {ascii(name).strip("'"): ascii(each) for name, each in value.items()}
    return [ascii(each) for each in value] if isinstance(value, list) else ascii(value)
