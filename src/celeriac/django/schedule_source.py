"""The schedule in Django's database, as beat and the command line see it: the keeper of `celeriac.schedule`.

Whatever the broker is, it is the database of the model `Schedule`. Rows are read again only where their stamps have
changed. Never raises a driver's exception.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured as DjangoImproperlyConfigured
from django.db import Error as DjangoError
from django.db import connections, router, transaction
from django.db.models import Count, Sum

from celeriac.django import deadline
from celeriac.django.failures import one_line
from celeriac.django.installed import missing_migrations
from celeriac.django.models import Schedule, SchedulePause
from celeriac.django.schedule import now
from celeriac.django.schedule_code import show
from celeriac.django.schedule_rules import WRONG
from celeriac.django.storable import name as as_name
from celeriac.errors import StoreError
from celeriac.schedule import RECENT, FromCode, Kept, Plan, Run

#: How long a database that falls silent may keep beat waiting.
_PATIENCE = 2.0
_CHUNK = 500
#: The id of the only row of `SchedulePause`.
_ALL = 1
#: How many characters are kept of the ids of the last tasks, each a UUID on a line.
_ROOM = 37 * RECENT
#: What is written of a run. What the broker counted is added since it was last written down; where it counts less than
#: that, it has begun anew.
_NOTE = """
UPDATE celeriac_schedule SET
    last_run_at = %s,
    last_slot = %s,
    total_run_count = total_run_count + %s + CASE WHEN fired_count <= %s THEN %s - fired_count ELSE %s END,
    fired_count = %s,
    recent_runs = SUBSTR({recent}, 1, {room}),
    enabled = CASE WHEN (one_off OR kind = 'clocked') AND from_code = '' AND counts_from <= %s
        THEN FALSE ELSE enabled END
WHERE name = %s
"""


class DatabaseSchedule:
    """Entries in the table of `Schedule`."""

    def __init__(self) -> None:
        self._seen: Any = None
        self._rows: dict[int, tuple[int, Kept]] = {}

    # -- what is kept

    def changed(self) -> bool:
        with self._errors():
            seen: bool = self._look() != self._seen
            return seen

    def read(self) -> Plan:
        with self._errors():
            # First: what changes meanwhile is read once more.
            self._seen = self._look()
            stamps = dict(Schedule.objects.values_list("pk", "stamp"))
            known = {pk: self._rows[pk] for pk in stamps if pk in self._rows}
            stale = [pk for pk, stamp in stamps.items() if pk not in known or known[pk][0] != stamp]
            for start in range(0, len(stale), _CHUNK):
                for row in Schedule.objects.filter(pk__in=stale[start : start + _CHUNK]).defer("recent_runs"):
                    known[row.pk] = (row.stamp, _kept(row))
            self._rows = known
            pause = SchedulePause.objects.filter(pk=_ALL).first()
        return Plan(
            {kept.name: kept for _, kept in known.values()},
            paused=pause is not None and pause.paused,
            since=0.0 if pause is None or pause.paused else pause.counts_from.timestamp(),
        )

    def _look(self) -> Any:
        """Return what is another one after each change: of rows, their count and the sum of their stamps."""
        rows = Schedule.objects.aggregate(count=Count("pk"), sum=Sum("stamp"))
        return rows, list(SchedulePause.objects.values_list("paused", "counts_from"))

    # -- what beat has to say

    def note(self, runs: Sequence[Run]) -> None:
        alias = self._alias()
        parameters = [
            (run.at, run.slot, run.uncounted, *(run.count,) * 4, _lines(run), run.at, as_name(run.entry))
            for run in runs
        ]
        recent = "CONCAT(%s, recent_runs)" if connections[alias].vendor == "mysql" else "%s || recent_runs"
        statement = _NOTE.format(recent=recent, room=_ROOM)
        with self._errors(), transaction.atomic(alias), connections[alias].cursor() as cursor:
            cursor.executemany(statement, parameters)

    def show(self, entries: Sequence[FromCode]) -> None:
        with self._errors(), transaction.atomic(self._alias()):
            show(entries)

    # -- pauses

    def pause(self, name: str | None) -> None:
        self._switch(name, enabled=False)

    def resume(self, name: str | None) -> None:
        self._switch(name, enabled=True)

    def _switch(self, name: str | None, *, enabled: bool) -> None:
        moment = now()
        with self._errors(), transaction.atomic(self._alias()):
            if name is not None:
                found = Schedule.objects.filter(name=as_name(name))
                if not found.update(enabled=enabled) and not enabled:
                    Schedule(name=as_name(name), kind="code", from_code="code", enabled=False).save()
                return
            row = SchedulePause.objects.filter(pk=_ALL).first() or SchedulePause(pk=_ALL)
            if row.paused == enabled:
                row.paused, row.counts_from = not enabled, moment
                row.save()

    def close(self) -> None:
        connections[self._alias()].close()

    # -- the database

    def _alias(self) -> str:
        return str(router.db_for_write(Schedule))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        connection: Any = connections[self._alias()]
        try:
            if connection.vendor != "postgresql":
                yield
                return
            with deadline.connecting(connection, _PATIENCE):
                connection.ensure_connection()
            if not hasattr(connection.connection, "pgconn"):  # psycopg 2 knows no deadlines
                yield
                return
            with deadline.answering(connection.connection, _PATIENCE):
                yield
        except (DjangoError, DjangoImproperlyConfigured) as error:
            if not connection.in_atomic_block:
                connection.close()  # it may be of no more use
            where = f"The schedule in the database {connection.alias!r} cannot be used"
            raise StoreError(f"{where}: {_reason(connection, error)}.") from error


def _kept(row: Schedule) -> Kept:
    kept = Kept(
        row.name,
        None,
        row.enabled,
        since=row.since,
        slot=_seconds(row.last_slot),
        count=row.fired_count,
        last=_seconds(row.last_run_at),
        runs=row.total_run_count,
    )
    if row.from_code:
        return kept
    try:
        kept.given = row.given
    except WRONG as error:
        kept.problem = str(error)
    return kept


def _lines(run: Run) -> str:
    return "".join(f"{as_name(task_id)}\n" for task_id in reversed(run.sent))


def _reason(connection: Any, error: Exception) -> str:
    """Return what is wrong, and what to do where tables are missing."""
    if isinstance(error, DjangoError) and not connection.in_atomic_block:
        with suppress(DjangoError):
            lacking = missing_migrations(connection.alias)
            if lacking is not None:
                return one_line(lacking)
    return one_line(error)


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()
