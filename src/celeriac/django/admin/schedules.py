"""Schedules in the admin: a list with what is next and what came of the last run, and one form for all kinds.

Registered by `celeriac.django.admin`. Entries that stand in code are rows too: they can be paused, and taken over,
after which the row says what holds. The change log is Django's own.
"""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from celeriac import registry
from celeriac.django.admin import (
    arguments,
    code_entries,
    last_runs,
    looks,
    preview,
    schedule_actions,
    schedule_views,
)
from celeriac.django.admin.schedule_form import ScheduleForm, SwitchForm
from celeriac.django.models import Schedule
from celeriac.django.schedule import Kind
from celeriac.django.schedule_rules import CRON_FIELDS, project_zone


class RunFilter(admin.SimpleListFilter):
    """How the last run went."""

    title = gettext_lazy("last run")
    parameter_name = "last"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("failed", _("failed")), ("never", _("never ran"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "never":
            return queryset.filter(last_run_at__isnull=True)
        if self.value() != "failed":
            return queryset
        return queryset.filter(pk__in=last_runs.failing(queryset))


class ScheduleAdmin(admin.ModelAdmin):
    """What is sent when."""

    form = ScheduleForm
    list_display = ("shown_name", "enabled", "shown_words", "shown_next", "shown_last", "total_run_count")
    list_display_links = ("shown_name",)
    list_editable = ("enabled",)
    list_filter = ("enabled", RunFilter, "task")
    list_per_page = 50
    search_fields = ("name", "task")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ("name",)
    save_on_top = False
    empty_value_display = looks.NOTHING
    actions = ("run_now", "enable", "disable", "duplicate")
    change_list_template = "admin/celeriac/schedules.html"
    change_form_template = "admin/celeriac/schedule.html"
    fieldsets = (
        (None, {"fields": ("name", "task", "elsewhere", "call", "enabled", "description")}),
        (
            gettext_lazy("When"),
            {
                "fields": (
                    "kind",
                    ("every", "unit"),
                    *CRON_FIELDS,
                    "clocked_time",
                    "event",
                    ("latitude", "longitude"),
                    "timezone",
                    "shown_preview",
                )
            },
        ),
        (
            gettext_lazy("Limits"),
            {
                "fields": ("start_time", "end_time", "one_off", "missed", "missed_limit", "overlap"),
                "classes": ("collapse",),
            },
        ),
        (
            gettext_lazy("How it is sent"),
            {
                "fields": (
                    "queue",
                    "exchange",
                    "routing_key",
                    "priority",
                    "headers",
                    "expires_after",
                    "expires",
                ),
                "classes": ("collapse",),
            },
        ),
    )
    code_fieldsets = (
        (None, {"fields": ("name", "task", "shown_call", "enabled", "from_code", "description")}),
        (gettext_lazy("When"), {"fields": ("shown_preview",)}),
    )
    run_fieldset = (gettext_lazy("Runs"), {"fields": ("shown_last", "total_run_count")})

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["celeriac/admin.css"]}
        js = ("celeriac/schedule.js",)

    # -- pages

    def get_urls(self) -> list[URLPattern]:
        views = {"preview": self.preview, "arguments": self.arguments, "pause": self.pause}
        own = [
            path(f"{name}/", self.admin_site.admin_view(view), name=f"celeriac_schedule_{name}")
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """Tell when what the form says is due."""
        return schedule_views.preview_view(self, request)

    def arguments(self, request: HttpRequest) -> HttpResponse:
        """Give the fields for the arguments of a task."""
        return schedule_views.arguments_view(self, request)

    def pause(self, request: HttpRequest) -> HttpResponse:
        """Pause the whole schedule, or end that."""
        return schedule_views.pause_view(self, request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        request._celeriac_paused = schedule_views.is_paused()  # type: ignore[attr-defined]
        context = {
            "paused": request._celeriac_paused,  # type: ignore[attr-defined]
            "may_pause": self.has_change_permission(request),
            "pause_url": reverse(f"{self.admin_site.name}:celeriac_schedule_pause"),
            **({} if request.GET else self._unlisted(request)),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def _unlisted(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the template shows of entries in code that no beat has taken up yet."""
        rows, beat_has_run = code_entries.unlisted()
        some = rows[: self.list_per_page]
        self._note(request, some)
        shown = [(self.shown_name(row), self.shown_words(row), self.shown_next(row)) for row in some]
        return {"unlisted": shown, "unlisted_more": len(rows) - len(some), "beat_has_run": beat_has_run}

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        self._note(request, list(changes.result_list))
        return changes

    # -- the form

    def get_fieldsets(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        if obj is None:
            return self.fieldsets
        if obj.from_code:
            return (*self.code_fieldsets, self.run_fieldset)
        if self.has_change_permission(request, obj):
            return (*self.fieldsets, self.run_fieldset)
        shown = ("name", "task", "shown_call", "enabled", "description")
        return ((None, {"fields": shown}), *self.fieldsets[1:], self.run_fieldset)

    def get_readonly_fields(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        shown = ("shown_preview", "shown_call", "from_code", "shown_last", "total_run_count")
        if obj is not None and obj.from_code:
            return (*shown, "name", "task", "description")
        return shown

    def get_form(
        self, request: HttpRequest, obj: Schedule | None = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm]:
        if obj is not None and obj.from_code:
            return super().get_form(request, obj, change, form=SwitchForm, **kwargs)
        made: Any = super().get_form(request, obj, change, **kwargs)
        made.tasks = schedule_views.known_tasks(self, request)
        return made  # type: ignore[no-any-return]

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> type[ModelForm]:
        return super().get_changelist_form(request, form=SwitchForm, **kwargs)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,
        obj: Schedule | None = None,
        **kwargs: Any,
    ) -> HttpResponse:
        context["may_run"] = obj is not None and self.has_change_permission(request, obj)
        context["from_code"] = obj is not None and bool(obj.from_code)
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def response_change(self, request: HttpRequest, obj: Schedule) -> HttpResponse:
        here = reverse(f"{self.admin_site.name}:celeriac_schedule_change", args=(quote(obj.pk),))
        if "_take_over" in request.POST and obj.from_code:
            schedule_actions.take_over(self, request, obj)
            return HttpResponseRedirect(here)
        if "_run" in request.POST:
            schedule_actions.run(self, request, [obj])
            return HttpResponseRedirect(here)
        return super().response_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Schedule | None = None) -> bool:
        # What stands in the code would be here again as soon as a beat starts.
        return not (obj is not None and obj.from_code) and super().has_delete_permission(request, obj)

    # -- actions

    @admin.action(permissions=["change"], description=gettext_lazy("Run now"))
    def run_now(self, request: HttpRequest, chosen: QuerySet) -> None:
        schedule_actions.run(self, request, list(chosen))

    @admin.action(permissions=["change"], description=gettext_lazy("Switch on"))
    def enable(self, request: HttpRequest, chosen: QuerySet) -> None:
        schedule_actions.switch(self, request, chosen, enabled=True)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch off"))
    def disable(self, request: HttpRequest, chosen: QuerySet) -> None:
        schedule_actions.switch(self, request, chosen, enabled=False)

    @admin.action(permissions=["add"], description=gettext_lazy("Duplicate"))
    def duplicate(self, request: HttpRequest, chosen: QuerySet) -> HttpResponse | None:
        return schedule_actions.duplicate(self, request, list(chosen))

    # -- columns

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def shown_name(self, row: Schedule) -> str:
        source = format_html('<span class="celeriac-id">{} {}</span>', _("from code:"), row.from_code)
        return format_html(
            '{}<span class="celeriac-id">{}</span>{}', row.name, row.task, source if row.from_code else ""
        )

    @admin.display(description=gettext_lazy("when"))
    def shown_words(self, row: Schedule) -> str:
        if row.problem and not row.from_code:
            return format_html('<span class="celeriac-error">{}</span>', row.problem)
        return row.words

    @admin.display(description=gettext_lazy("next run"))
    def shown_next(self, row: Schedule) -> str:
        if row.__dict__.get("_celeriac_paused"):
            return format_html('<span class="celeriac-quiet">{}</span>', _("paused"))
        entry = row.__dict__.get("_celeriac_entry")
        if entry is not None and row.enabled:
            runs = code_entries.next_runs(row, entry, 1, project_zone())
        else:
            runs = row.next_runs(1)
        return looks.moment(runs[0]) if runs else looks.NOTHING

    @admin.display(description=gettext_lazy("last runs"), ordering="last_run_at")
    def shown_last(self, row: Schedule) -> str:
        if row.pk is None or row.last_run_at is None:
            return looks.NOTHING
        if "_celeriac_runs" not in row.__dict__:
            self._note_runs([row])
        when = looks.moment(row.last_run_at)
        return last_runs.shown(row.__dict__["_celeriac_runs"], when, self.admin_site.name)

    def _note_runs(self, rows: list[Schedule]) -> None:
        runs = last_runs.of(rows)
        for row in rows:
            row.__dict__["_celeriac_runs"] = runs.get(row.pk, [])

    def _note(self, request: HttpRequest, rows: list[Schedule]) -> None:
        """Look up for a whole page what its columns show."""
        in_code = code_entries.of(rows)
        self._note_runs(rows)
        for row in rows:
            row.__dict__["_celeriac_entry"] = in_code.get(row.name) if row.kind == Kind.CODE else None
            row.__dict__["_celeriac_paused"] = row.enabled and getattr(request, "_celeriac_paused", False)

    @admin.display(description=gettext_lazy("arguments"))
    def shown_call(self, row: Schedule) -> str:
        task = registry.current_app().tasks.get(row.task)
        return (
            looks.code(looks.arguments(*arguments.covered(task, row.args, row.kwargs)), 4000) or looks.NOTHING
        )

    @admin.display(description=gettext_lazy("next runs"))
    def shown_preview(self, row: Schedule) -> str:
        url = reverse(f"{self.admin_site.name}:celeriac_schedule_preview")
        return preview.shown(preview.preview(row), url)
