"""Takes over the schedule of django-celery-beat: its tables, read as they are, become rows of `Schedule`.

Called by the command `import_beat`. The package itself need not be installed any more, and may be of any version:
columns that a table lacks are left out. Nothing of its tables is changed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import models, router, transaction
from django.utils import timezone
from msgspec import Struct

from celeriac.django.foreign_tables import model_of
from celeriac.django.models import Schedule
from celeriac.django.schedule_code import fields_of
from celeriac.django.schedule_rules import CRON_FIELDS, aware
from celeriac.schedule import FromCode

_PREFIX = "django_celery_beat_"
_TEXT, _NUMBER, _MOMENT = models.TextField, models.BigIntegerField, models.DateTimeField
#: The tables that hold something, with the columns that are read.
_TABLES: dict[str, dict[str, type[Any]]] = {
    "intervalschedule": {"every": _NUMBER, "period": _TEXT},
    "crontabschedule": {**dict.fromkeys(CRON_FIELDS, _TEXT), "timezone": _TEXT},
    "solarschedule": {"event": _TEXT, "latitude": models.FloatField, "longitude": models.FloatField},
    "clockedschedule": {"clocked_time": _MOMENT},
    "periodictask": {
        **dict.fromkeys(
            "name task args kwargs headers queue exchange routing_key description".split(), _TEXT
        ),
        **dict.fromkeys("interval_id crontab_id solar_id clocked_id".split(), _NUMBER),
        **dict.fromkeys("priority expire_seconds total_run_count".split(), _NUMBER),
        **dict.fromkeys("expires start_time last_run_at".split(), _MOMENT),
        "enabled": models.BooleanField,
        "one_off": models.BooleanField,
    },
}
_SAME = ("name", "task", "enabled", "one_off", "start_time", "priority")
_TEXTS = ("queue", "exchange", "routing_key", "description")
_JSON: tuple[tuple[str, type], ...] = (("args", list), ("kwargs", dict), ("headers", dict))
#: Its clean-up of results, which is none of the project's.
_ITS_OWN = "celery.backend_cleanup"

Row = Mapping[str, Any]


class Taken(Struct):
    """What has become, or would become, of an entry, and why.

    Its fate is "new", "updated", "there", "in code", "not needed" or "left out".
    """

    name: str
    fate: str
    why: str = ""


class NoTables(Exception):
    """The database has no tables of django-celery-beat."""


def take(
    in_code: Sequence[FromCode], *, update: bool, dry_run: bool, alias: str | None = None
) -> list[Taken]:
    """Take over all entries, or only say what would come of it; raises NoTables.

    An entry that is there stays as it is unless `update` is given. Those of `in_code` stay in code: of them the last
    run is taken, and whether they are switched off.
    """
    alias = alias or router.db_for_read(Schedule)
    code = {entry.name: entry for entry in in_code}
    there = {row.name: row for row in Schedule.objects.all()}
    taken = []
    with transaction.atomic(router.db_for_write(Schedule)):
        for row, when in _rows(alias):
            name = row["name"]
            known = there.get(name)
            if row["task"] == _ITS_OWN:
                taken.append(Taken(name, "not needed", "old results are deleted without it"))
            elif known is not None and not update and (known.last_run_at is not None or not known.from_code):
                taken.append(Taken(name, "there"))
            else:
                taken.append(_take(row, when, known, code.get(name), dry_run=dry_run))
    return taken


def _take(row: Row, when: Row, known: Schedule | None, code: FromCode | None, *, dry_run: bool) -> Taken:
    name = row["name"]
    try:
        fields = {**_fields(row), **_when(row, when)} if code is None else fields_of(code)
    except ValueError as error:
        return Taken(name, "left out", str(error))
    made = known or Schedule(name=name)
    for field, value in {**fields, **_runs(row)}.items():
        setattr(made, field, value)
    made.from_code = "" if code is None else code.where
    if code is None and made.problem:
        return Taken(name, "left out", made.problem)
    if not dry_run:
        counts_from = made.counts_from
        made.save()
        # Which is not when it was taken over.
        Schedule.objects.filter(pk=made.pk).update(counts_from=counts_from)
    return Taken(name, "in code" if code is not None else "new" if known is None else "updated")


def _runs(row: Row) -> dict[str, Any]:
    """What has been: due times count from the last run on, as for a beat of Celery's that starts again."""
    last = aware(row.get("last_run_at"))
    over = row["one_off"] and row["total_run_count"]
    found = {"total_run_count": row["total_run_count"], "enabled": row["enabled"] and not over}
    return found if last is None else {**found, "last_run_at": last, "last_slot": last, "counts_from": last}


def _fields(row: Row) -> dict[str, Any]:
    fields = {name: row[name] for name in _SAME}
    fields |= {name: row.get(name) or "" for name in _TEXTS}
    for name, kind in _JSON:
        try:
            fields[name] = json.loads(row.get(name) or "null") or kind()
        except ValueError as error:
            raise ValueError(f"its {name} are no JSON: {error}") from None
        if not isinstance(fields[name], kind):
            raise ValueError(f"its {name} are not what they have to be: {row[name]}")
    # A moment is both there: the end of the schedule, and when its last tasks expire.
    fields["end_time"] = fields["expires"] = row.get("expires")
    fields["expires_after"] = row.get("expire_seconds")
    return fields


def _when(row: Row, when: Row) -> dict[str, Any]:
    """Return the fields that say when, of the table that the entry points to."""
    if not when:
        raise ValueError("it has no schedule")
    if row["interval_id"]:
        started = row["start_time"] is not None and row["start_time"] <= timezone.now()
        fields = {"kind": "interval", "every": float(when["every"]), "unit": when["period"]}
        if when["period"] == "microseconds":
            fields |= {"every": when["every"] / 1e6, "unit": "seconds"}
        # It goes on from its last run; ours would count from the start.
        return fields | ({"start_time": None} if started else {})
    if row["crontab_id"]:
        fields = {name: str(when[name] or "*").replace(" ", "") for name in CRON_FIELDS}
        return {"kind": "crontab", "timezone": when.get("timezone") or "", **fields}
    if row["solar_id"]:
        return {"kind": "solar", **{name: when[name] for name in ("event", "latitude", "longitude")}}
    return {"kind": "clocked", "clocked_time": when["clocked_time"]}


def _rows(alias: str) -> Iterator[tuple[Row, Row]]:
    """Yield each entry with the row that says when it is due."""
    tables = _read(alias)
    if tables["periodictask"] is None:
        raise NoTables(f"The database {alias!r} has no tables of django-celery-beat.")
    kinds = ("interval", "crontab", "solar", "clocked")
    schedules = {kind: {row["id"]: row for row in tables[f"{kind}schedule"] or ()} for kind in kinds}
    for row in sorted(tables["periodictask"], key=lambda row: str(row["name"])):
        full = {**dict.fromkeys(_TABLES["periodictask"]), "one_off": False, **row}
        found = (schedules[kind].get(full[f"{kind}_id"], {}) for kind in kinds)
        yield full, next((each for each in found if each), {})


def _read(alias: str) -> dict[str, list[Row] | None]:
    """Return the rows of all tables; None for one that is not there."""
    found: dict[str, list[Row] | None] = {}
    for name, fields in _TABLES.items():
        model = model_of(alias, _PREFIX + name, fields)
        found[name] = None if model is None else list(model._base_manager.using(alias).values())
    return found
