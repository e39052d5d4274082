"""How far the background work of a row is: looks up the ids in its `jobs` among the task results. Views call it.

A list of 25 orders asks for 75 tasks, so they are fetched together; for a single one `AsyncResult(id).state` says the
same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from celeriac.django.models import TaskResult
from celeriac.states import READY_STATES


class HasJobs(Protocol):
    jobs: Mapping[str, str]


Row = TypeVar("Row", bound=HasJobs)


@dataclass(frozen=True, slots=True)
class Job:
    label: str
    task_id: str
    state: str
    retries: int
    error: str

    @property
    def look(self) -> tuple[str, str, str]:
        """The badge: its class, its sign, its word."""
        return {
            "SUCCESS": ("ok", "✓", "done"),
            "FAILURE": ("bad", "✕", "failed"),
            "RETRY": ("warn", "↻", "trying again"),
            "STARTED": ("run", "●", "running"),
        }.get(self.state, ("wait", "◷", "waiting"))

    @property
    def ended(self) -> bool:
        return self.state in READY_STATES


def jobs_of(row: HasJobs) -> list[Job]:
    """The jobs of one row."""
    return with_jobs([row])[0][1]


def with_jobs(rows: Iterable[Row]) -> list[tuple[Row, list[Job]]]:
    """Each row with its jobs, for one query in all."""
    rows = list(rows)
    ids = [task_id for row in rows for task_id in row.jobs.values()]
    found = {result.task_id: result for result in TaskResult.objects.filter(task_id__in=ids)}
    return [
        (row, [_job(label, task_id, found.get(task_id)) for label, task_id in row.jobs.items()])
        for row in rows
    ]


def _job(label: str, task_id: str, result: TaskResult | None) -> Job:
    if result is None:
        return Job(label, task_id, "PENDING", 0, "")
    return Job(label, task_id, result.state, result.retries, error_of(result))


def error_of(result: TaskResult) -> str:
    """The line that tells what went wrong, which is the last one of the traceback; empty if nothing did."""
    lines = (result.traceback or "").strip().splitlines()
    return lines[-1] if lines else ""
