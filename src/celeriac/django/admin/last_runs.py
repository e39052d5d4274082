"""What came of the last runs of schedules: the results of the tasks that were sent for them.

The ids of those tasks stand in the schedule's row, so that one query has the results of a whole page, and storing a
result costs nothing for it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from msgspec import Struct

from celeriac import registry, states
from celeriac.beat import calls
from celeriac.django.admin import looks
from celeriac.django.models import Schedule, TaskResult
from celeriac.django.store import DatabaseStore
from celeriac.errors import CeleriacError
from celeriac.schedule import RECENT

#: Of how many schedules, those that ran last, it is looked up whether they failed.
MOST = 2_000


class Run(Struct):
    """How a task ended, or how far it is: an empty state where nothing is stored.

    `pk` is the row in the admin, None where results are somewhere else.
    """

    state: str = ""
    ran: float | None = None
    sent: datetime | None = None
    pk: int | None = None


def tasks_of(row: Schedule) -> list[str]:
    """Return the ids of the tasks that were sent last, the newest first."""
    if row.recent or row.last_slot is None:
        return row.recent
    return [calls.task_id(str(row.name), row.last_slot.timestamp())]


def of(rows: Sequence[Schedule], most: int = RECENT) -> dict[int, list[Run]]:
    """Return what is known of the last runs, the newest first, by the keys of the schedules.

    Of several schedules whose results are not in a database it is the last run alone: there it takes whole results.
    """
    try:
        store = registry.current_app().store
        in_database = isinstance(store, DatabaseStore)
        if not in_database and len(rows) > 1:
            most = 1
        ids = {row.pk: tasks_of(row)[:most] for row in rows}
        wanted = [task_id for each in ids.values() for task_id in each]
        if not wanted:
            return {}
        runs = _in_database(store.alias, wanted) if in_database else _in_store(store, wanted)
    except CeleriacError:
        return {}  # the list of results says that they cannot be reached
    return {pk: [runs.get(task_id, Run()) for task_id in each] for pk, each in ids.items()}


def _in_database(alias: str, ids: Collection[str]) -> Mapping[str, Run]:
    rows = TaskResult.objects.using(alias).filter(task_id__in=ids)
    found = rows.only("task_id", "state", "enqueued_at", "started_at", "finished_at")
    return {row.task_id: Run(row.state, row.ran, row.enqueued_at, row.pk) for row in found}


def _in_store(store: Any, ids: list[str]) -> Mapping[str, Run]:
    if store is None:
        return {}
    return {
        record.id: Run(
            record.state,
            None if record.started is None or record.finished is None else record.finished - record.started,
            None if record.enqueued is None else datetime.fromtimestamp(record.enqueued, UTC),
        )
        for record in store.fetch(ids).values()
    }


def failing(rows: Any) -> list[int]:
    """Return the keys of those of `rows` whose last run failed; of those that ran last."""
    latest = rows.filter(last_slot__isnull=False).order_by("-last_run_at")
    runs = of(list(latest.only("name", "last_slot", "recent_runs")[:MOST]), most=1)
    return [pk for pk, (run, *_) in runs.items() if run.state in states.EXCEPTION_STATES]


def shown(runs: Sequence[Run], when: str, site: str) -> str:
    """Return how the last run went and when, and below it all of them in a row, the oldest first, with links."""
    if not any(run.state for run in runs):
        return when
    last = runs[0]
    how = format_html("{} {}", looks.badge(last.state), looks.duration(last.ran)) if last.state else ""
    strip = looks.strip([(run.state, _told(run), _page(run, site)) for run in reversed(runs)])
    return format_html(
        '{} <span class="celeriac-id">{}</span>{}', looks.linked(how, _page(last, site)), when, strip
    )


def _told(run: Run) -> str:
    if not run.state:
        return _("Nothing is stored: it waits, or its result is not kept")
    parts = [looks.word(run.state)]
    if run.ran is not None:
        parts.append(looks.duration(run.ran))
    if run.sent is not None:
        parts.append(timezone.localtime(run.sent).strftime("%Y-%m-%d %H:%M:%S %Z"))
    return ", ".join(parts)


def _page(run: Run, site: str) -> str:
    return "" if run.pk is None else reverse(f"{site}:celeriac_taskresult_change", args=(run.pk,))
