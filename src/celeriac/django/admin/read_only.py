"""What the admin's lists have in common: nothing to press, a bounded count, filters that are applied together.

Parents of the classes beside it. A list shows the newest first; beyond the last page that is counted, "Older" goes on.
"""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import router
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from celeriac.django.admin import looks, paging
from celeriac.django.broker import DatabaseBroker
from celeriac.django.store import DatabaseStore
from celeriac.errors import CeleriacError


class ReadOnlyAdmin(admin.ModelAdmin):
    """Lists and pages to look at."""

    actions = None
    ordering = ("-id",)
    list_per_page = 50
    empty_value_display = looks.NOTHING
    show_full_result_count = False
    # Counting each filter's rows is what this list was made to avoid.
    show_facets = admin.ShowFacets.NEVER
    paginator = paging.CappedPaginator
    change_list_template = "admin/celeriac/list.html"
    change_form_template = "admin/celeriac/read_only.html"

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["celeriac/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    # -- for children

    def list_rows(self, request: HttpRequest, rows: QuerySet) -> tuple[QuerySet, bool]:
        """Return what the list shows of `rows`, and whether only the newest were looked at."""
        return rows, False

    def find_values(self, alias: str) -> dict[str, list[str]]:
        """Return the values that the filters offer, by column, in the database `alias`."""
        return {}

    def keeper(self) -> Any:
        """Return the broker or store that the rows are of; None if there is none. May raise CeleriacError."""
        return None

    def remarks(self, request: HttpRequest, rows: ChangeList) -> list[str]:
        """Return sentences to stand above the list."""
        return []

    # -- for the admin

    def wanted(self, request: HttpRequest, *names: str) -> dict[str, str]:
        """Return the values that filters were set to."""
        return {name: request.GET[name] for name in names if request.GET.get(name)}

    def values(self, request: HttpRequest) -> dict[str, list[str]]:
        """Return the values that filters offer, found once for each request."""
        found: dict[str, list[str]] | None = getattr(request, "_celeriac_values", None)
        if found is None:
            found = self.find_values(self._place()[0] or router.db_for_read(self.model))
            request._celeriac_values = found  # type: ignore[attr-defined]
        return found

    def _place(self) -> tuple[str | None, str]:
        """Return the database that the rows are in, and a sentence if they are somewhere else."""
        try:
            keeper = self.keeper()
        except CeleriacError as error:
            return None, str(error)
        if isinstance(keeper, DatabaseBroker | DatabaseStore):
            return keeper.alias, ""
        if keeper is None:
            return None, ""
        where = getattr(keeper, "safe_url", "") or type(keeper).__name__
        return None, f"{capfirst(self.opts.verbose_name_plural)} are kept by {where}, not in this database."

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        alias, request._celeriac_note = self._place()  # type: ignore[attr-defined]
        rows = super().get_queryset(request).using(alias)
        if request.resolver_match is None or not str(request.resolver_match.url_name).endswith("_changelist"):
            return rows
        rows, partly = self.list_rows(request, rows)
        request._celeriac_partly = partly  # type: ignore[attr-defined]
        before = request.GET.get(Before.parameter_name, "")
        return rows.filter(id__lt=int(before)) if before.isdecimal() else rows

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        context: dict[str, Any] | None = getattr(response, "context_data", None)
        if context is not None and "cl" in context:
            notes = [getattr(request, "_celeriac_note", "")]
            if getattr(request, "_celeriac_partly", False):
                notes.append(f"For these filters together, only the newest {paging.WINDOW:,} were looked at.")
            notes += self.remarks(request, context["cl"])
            context["title"] = capfirst(self.opts.verbose_name_plural)
            context["notes"] = [note for note in notes if note]
            context["older"] = _older(context["cl"])
        return response


def _older(rows: ChangeList) -> str:
    """Return the query that leads beyond the last page that was counted, "" elsewhere."""
    if not isinstance(rows.result_count, paging.Many) or rows.page_num < rows.paginator.num_pages:
        return ""
    shown = list(rows.result_list)
    return rows.get_query_string({Before.parameter_name: shown[-1].pk}, ["p"]) if shown else ""


class Before(admin.SimpleListFilter):
    """Only rows before a number: where "Older" leads. Never seen among the filters."""

    title = "before"
    parameter_name = "before"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset


class ValueFilter(admin.SimpleListFilter):
    """A column's value. What is chosen is applied by `ReadOnlyAdmin.list_rows`, all filters together."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        values = model_admin.values(request)[self.parameter_name]
        chosen = request.GET.get(str(self.parameter_name))
        if chosen and chosen not in values:
            values = [chosen, *values]
        return [(value, self.shown(value)) for value in values]

    def shown(self, value: str) -> str:
        """Return a value as people call it."""
        return value

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset
