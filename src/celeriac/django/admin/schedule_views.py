"""What the pages of schedules ask for, and the button that pauses all: views of `schedules.ScheduleAdmin`."""

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.forms import modelform_factory
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from celeriac import registry
from celeriac.django.admin import preview
from celeriac.django.admin.call_field import CallForm, rendered
from celeriac.django.admin.schedule_form import ErrorsElsewhere, unknown_task
from celeriac.django.models import Schedule, SchedulePause
from celeriac.django.schedule_rules import FIELDS_OF
from celeriac.django.schedule_source import DatabaseSchedule
from celeriac.errors import CeleriacError

logger = logging.getLogger("celeriac.django")

_WHEN = (
    "kind",
    *(name for names in FIELDS_OF.values() for name in names),
    "timezone",
    "start_time",
    "end_time",
    "one_off",
)


def known_tasks(admin: ModelAdmin, request: HttpRequest) -> Mapping[str, Any]:
    """Return the tasks of this project by name; tell where they cannot be loaded."""
    app = registry.current_app()
    try:
        app.load_tasks()
    except CeleriacError as error:
        admin.message_user(request, str(error), messages.ERROR)
    tasks: Mapping[str, Any] = app.tasks
    return tasks


def is_paused() -> bool:
    """Return whether the whole schedule is paused."""
    return SchedulePause.objects.filter(paused=True).exists()


def pause_view(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Pause the whole schedule, or have it go on, as the button that was pressed says."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not admin.has_change_permission(request):
        raise PermissionDenied
    paused = request.POST.get("paused") == "yes"
    source = DatabaseSchedule()
    try:
        (source.pause if paused else source.resume)(None)
    except CeleriacError as error:
        admin.message_user(request, str(error), messages.ERROR)
    else:
        logger.info("%s: the whole schedule %s.", request.user, "is paused" if paused else "goes on")
        text = _("The whole schedule is paused.") if paused else _("The schedule goes on.")
        admin.message_user(request, text, messages.SUCCESS)
    return HttpResponseRedirect(reverse(f"{admin.admin_site.name}:celeriac_schedule_changelist"))


def preview_view(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Tell as JSON when the schedule that the form describes is due."""
    if not admin.has_view_permission(request) and not admin.has_add_permission(request):
        raise PermissionDenied
    form_class = modelform_factory(
        Schedule,
        form=ErrorsElsewhere,
        fields=_WHEN,
        formfield_callback=lambda field, **options: admin.formfield_for_dbfield(field, request, **options),
    )
    form = form_class(request.GET, instance=Schedule(name="-", task="-"))
    errors = [
        f"{form.fields[name].label}: {text}" if name in form.fields else str(text)
        for name, texts in form.errors.items()
        for text in texts
    ]
    return JsonResponse(preview.preview(form.instance, errors))


def arguments_view(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Give the fields for the arguments of a task as HTML, and say whether there is such a task."""
    if not admin.has_change_permission(request) and not admin.has_add_permission(request):
        raise PermissionDenied
    name = request.GET.get("task", "").strip()
    tasks = known_tasks(admin, request)
    form = CallForm(tasks.get(name), None, "call")
    unknown = "" if not name or name in tasks else unknown_task(name, tasks)
    return JsonResponse({"html": rendered(form, name), "unknown": unknown, "json": form.is_json})
