"""Task results in the admin: a read-only list that stays quick at a million rows, and a page for each task.

Registered by `celeriac.django.admin`. Reads the table alone: no broker is asked and no task imported.
"""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.db.models.functions import Substr
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from celeriac import registry, states
from celeriac.django.admin import looks, paging
from celeriac.django.admin.read_only import Before, ReadOnlyAdmin, ValueFilter
from celeriac.django.models import TaskResult
from celeriac.message import result_format

INDEXED = ("name", "state")
RECENT = ("queue", "worker")


class StateFilter(ValueFilter):
    title = "state"
    parameter_name = "state"

    def shown(self, value: str) -> str:
        return looks.word(value)


class NameFilter(ValueFilter):
    title = "name"
    parameter_name = "name"


class QueueFilter(ValueFilter):
    title = "queue"
    parameter_name = "queue"


class WorkerFilter(ValueFilter):
    title = "worker"
    parameter_name = "worker"


class TaskResultAdmin(ReadOnlyAdmin):
    """What ran, how it went, and how long it took."""

    list_display = ("badge", "task", "arguments", "queue", "worker", "waited", "ran", "tries", "finished")
    list_display_links = ("task",)
    list_filter = (StateFilter, NameFilter, QueueFilter, WorkerFilter, Before)
    search_fields = ("task_id",)
    search_help_text = "A task id, or a part of a task's name."
    fieldsets = (
        (None, {"fields": ("badge", "name", "task_id", "arguments_in_full", "queue", "worker", "tries")}),
        ("When", {"fields": ("enqueued", "started", "ended", "waited", "ran")}),
        ("What came of it", {"fields": ("shown_result", "shown_traceback")}),
        ("Belongs to", {"fields": ("root", "parent", "group_id")}),
    )
    readonly_fields = tuple(name for _, part in fieldsets for name in part["fields"])

    # -- which rows

    def list_rows(self, request: HttpRequest, rows: QuerySet) -> tuple[QuerySet, bool]:
        # Results may be large; a list needs the first words of an error.
        rows = rows.defer("result", "traceback", "children", "details").annotate(
            head=Substr("result", 1, 600)
        )
        wanted = self.wanted(request, *INDEXED, *RECENT)
        # A state other than SUCCESS is rare as a rule, and then the better index.
        rare = wanted.get("state") not in (None, states.SUCCESS)
        return paging.narrow(rows, ("state", "name") if rare else INDEXED, wanted)

    def keeper(self) -> Any:
        return registry.current_app().store

    def find_values(self, alias: str) -> dict[str, list[str]]:
        return paging.values_of(TaskResult, alias, INDEXED, RECENT)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        known = self.values(request)["name"]
        names = [name for name in known if term.lower() in name.lower()]
        if term in known:
            return queryset.filter(name=term), False
        if not names:
            return queryset.filter(task_id=term), False
        return paging.newest_of_names(queryset, names[: paging.CHOICES // 4]), False

    def remarks(self, request: HttpRequest, rows: ChangeList) -> list[str]:
        elsewhere = getattr(request, "_celeriac_note", "")
        if rows.result_count or not rows.query or elsewhere or self.wanted(request, *INDEXED, *RECENT):
            return []
        text = (
            f"Nothing is stored of “{rows.query}”. If it is an id: the task was never queued here, still waits (see "
            "Waiting tasks), or its result was deleted or is not kept. No task has it in its name either."
        )
        return [text]

    # -- columns

    @admin.display(description="state", ordering="state")
    def badge(self, row: TaskResult) -> str:
        return looks.badge(row.state)

    @admin.display(description="task")
    def task(self, row: TaskResult) -> str:
        failed = row.state in states.EXCEPTION_STATES
        line = looks.error_line(row.head) if failed else ""  # type: ignore[attr-defined]
        if not line:
            return str(row.name or row.task_id)
        return format_html('{}<span class="celeriac-error">{}</span>', row.name or row.task_id, line)

    @admin.display(description="arguments")
    def arguments(self, row: TaskResult) -> str:
        return looks.code(looks.arguments(row.args, row.kwargs))

    @admin.display(description="waited")
    def waited(self, row: TaskResult) -> str:
        return looks.duration(row.waited)

    @admin.display(description="ran")
    def ran(self, row: TaskResult) -> str:
        return looks.duration(row.ran)

    @admin.display(description="tries")
    def tries(self, row: TaskResult) -> str:
        tries = str(row.retries + row.losses + 1)
        if not row.losses:
            return tries
        return format_html('{} <span class="celeriac-quiet">({} lost)</span>', tries, row.losses)

    @admin.display(description="finished")
    def finished(self, row: TaskResult) -> str:
        return looks.moment(_end(row))

    # -- the page

    @admin.display(description="arguments")
    def arguments_in_full(self, row: TaskResult) -> str:
        return looks.code(looks.arguments(row.args, row.kwargs), 4000) or looks.NOTHING

    @admin.display(description="sent")
    def enqueued(self, row: TaskResult) -> str:
        return looks.exact(row.enqueued_at)

    @admin.display(description="started")
    def started(self, row: TaskResult) -> str:
        return looks.exact(row.started_at)

    @admin.display(description="finished")
    def ended(self, row: TaskResult) -> str:
        return looks.exact(_end(row))

    @admin.display(description="result")
    def shown_result(self, row: TaskResult) -> str:
        if row.state in states.EXCEPTION_STATES:
            line = looks.error_line(row.result)
            if line:
                return format_html('<strong class="celeriac-error">{}</strong>', line)
        other = result_format.described(row.result.encode())
        return looks.box(other) if other else looks.pretty_json(row.result)

    @admin.display(description="traceback")
    def shown_traceback(self, row: TaskResult) -> str:
        return looks.traceback(row.traceback) if row.traceback else looks.NOTHING

    @admin.display(description="started by")
    def parent(self, row: TaskResult) -> str:
        return looks.NOTHING if row.parent_id == row.task_id else _link(row.parent_id)

    @admin.display(description="first task")
    def root(self, row: TaskResult) -> str:
        return looks.NOTHING if row.root_id == row.task_id else _link(row.root_id)


def _link(task_id: str | None) -> str:
    if not task_id:
        return looks.NOTHING
    url = reverse("admin:celeriac_taskresult_changelist")
    return format_html('<a href="{}?{}">{}</a>', url, urlencode({"q": task_id}), task_id)


def _end(row: TaskResult) -> Any:
    """Return when a task ended; of one that waits the row says when it is to begin."""
    return None if row.state == states.PENDING else row.finished_at
