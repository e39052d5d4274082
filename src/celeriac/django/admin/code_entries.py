"""Entries in code as the code says them, for what rows cannot say: what is sent, when by schedules of one's own.

And those that have no row yet, since beat makes the rows.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from itertools import islice

from celeriac import registry
from celeriac.beat import due, entries
from celeriac.beat.entries import Entry
from celeriac.django.models import Schedule
from celeriac.django.schedule import Kind
from celeriac.django.schedule_code import fields_of
from celeriac.django.schedule_rules import project_zone
from celeriac.django.storable import name as as_name
from celeriac.errors import CeleriacError


def of(rows: Iterable[Schedule]) -> Mapping[str, Entry]:
    """Return the entries in code by name, if there are rows that cannot say when they are due."""
    if not any(row.kind == Kind.CODE for row in rows):
        return {}
    try:
        return read()
    except CeleriacError:
        return {}  # beat says it, and the system checks


def read() -> Mapping[str, Entry]:
    """Return the entries that stand in the code of this process; raises CeleriacError."""
    app = registry.current_app()
    app.load_tasks()
    return entries.read(app)


def unlisted() -> tuple[list[Schedule], bool]:
    """Return entries in the code of this process that have no row yet, as rows; and whether others have one."""
    try:
        found = read()
    except CeleriacError:
        return [], False
    there = set(Schedule.objects.filter(name__in=map(as_name, found)).values_list("name", flat=True))
    missing = [entry for name, entry in found.items() if as_name(name) not in there]
    rows = [
        Schedule(name=as_name(each.name), **fields_of(each))
        for each in entries.from_code(registry.current_app(), missing)
    ]
    return rows, bool(rows) and Schedule.objects.exclude(from_code="").exists()


def next_runs(row: Schedule, entry: Entry, count: int, zone: tzinfo) -> list[datetime]:
    """Return when an entry in code is due next, in a zone."""
    now = datetime.now(UTC).timestamp()
    over = now if row.last_slot is None else row.last_slot.timestamp()
    slots = due.upcoming(entry, over, now, project_zone())
    return [datetime.fromtimestamp(slot, zone) for slot in islice(slots, count)]
