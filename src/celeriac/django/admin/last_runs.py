"""What came of the last run of each schedule: the result of the task that was sent for the last due time.

The id of that task follows from the schedule's name and the due time, so that one query, or one look into a store
that is somewhere else, has the results of a whole page.
"""

from collections.abc import Collection, Iterable
from typing import Any

from msgspec import Struct

from celeriac import registry, states
from celeriac.beat import calls
from celeriac.django.models import Schedule, TaskResult
from celeriac.django.store import DatabaseStore
from celeriac.errors import CeleriacError

#: Of how many schedules, those that ran last, it is looked up whether they failed.
MOST = 2_000


class Run(Struct):
    """How a task ended, or how far it is. `pk` is the row in the admin, None where results are somewhere else."""

    state: str
    ran: float | None
    pk: int | None


def task_of(row: Schedule) -> str | None:
    """Return the id of the task that was sent last, None where none was."""
    return None if row.last_slot is None else calls.task_id(str(row.name), row.last_slot.timestamp())


def of(rows: Iterable[Schedule]) -> dict[int, Run]:
    """Return what is known of the tasks that were sent last, by the keys of the schedules."""
    ids = {row.pk: task_id for row in rows if (task_id := task_of(row)) is not None}
    if not ids:
        return {}
    try:
        store = registry.current_app().store
        wanted = list(ids.values())
        runs = (
            _in_database(store.alias, wanted)
            if isinstance(store, DatabaseStore)
            else _in_store(store, wanted)
        )
    except CeleriacError:
        return {}  # the list of results says that they cannot be reached
    return {pk: runs[task_id] for pk, task_id in ids.items() if task_id in runs}


def _in_database(alias: str, ids: Collection[str]) -> dict[str, Run]:
    rows = TaskResult.objects.using(alias).filter(task_id__in=ids)
    found = rows.only("task_id", "state", "started_at", "finished_at")
    return {row.task_id: Run(row.state, row.ran, row.pk) for row in found}


def _in_store(store: Any, ids: list[str]) -> dict[str, Run]:
    if store is None:
        return {}
    return {
        record.id: Run(
            record.state,
            None if record.started is None or record.finished is None else record.finished - record.started,
            None,
        )
        for record in store.fetch(ids).values()
    }


def failing(rows: Any) -> dict[int, Run]:
    """Return the runs of those of `rows` whose last one failed, by their keys; of those that ran last."""
    latest = list(
        rows.filter(last_slot__isnull=False).order_by("-last_run_at").only("name", "last_slot")[:MOST]
    )
    return {pk: run for pk, run in of(latest).items() if run.state in states.EXCEPTION_STATES}
