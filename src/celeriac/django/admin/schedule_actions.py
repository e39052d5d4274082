"""What can be done with schedules in the admin besides editing them: run now, switch on and off, duplicate, take over.

Called by `schedules.ScheduleAdmin`, which has looked at permissions. Each is written into Django's change log.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from celeriac import registry
from celeriac.beat import calls
from celeriac.beat.entries import Entry
from celeriac.django.admin import code_entries
from celeriac.django.models import Schedule
from celeriac.django.schedule_rules import WRONG

logger = logging.getLogger("celeriac.django")


def run(admin: ModelAdmin, request: HttpRequest, rows: Sequence[Schedule]) -> None:
    """Send the tasks of schedules now; when they are due next stays as it is."""
    app = registry.current_app()
    for row in rows:
        try:
            app.load_tasks()
            task_id = calls.run_now(app, _entry(row), time.time())
        except WRONG as error:
            admin.message_user(
                request,
                _("The task of “%(name)s” was not sent: %(why)s") % {"name": row.name, "why": error},
                messages.ERROR,
            )
            continue
        results = reverse(f"{admin.admin_site.name}:celeriac_taskresult_changelist")
        link = format_html('<a href="{}?q={}">{}</a>', results, task_id, task_id)
        admin.message_user(
            request, format_html(_("The task of “{}” was sent: {}"), row.name, link), messages.SUCCESS
        )
        admin.log_change(request, row, _("Sent by hand."))
        logger.info("%s: the task of the schedule %s was sent by hand (%s).", request.user, row.name, task_id)


def _entry(row: Schedule) -> Entry:
    """Return what beat would fire; for an entry in code what the code says, for a row cannot hold everything."""
    if not row.from_code:
        return row.entry
    found = code_entries.read().get(row.name)
    if found is None:
        raise ValueError(_("There is no such entry in the code of this process."))
    return found


def switch(admin: ModelAdmin, request: HttpRequest, chosen: QuerySet, *, enabled: bool) -> None:
    """Switch schedules on or off."""
    changed = list(chosen.exclude(enabled=enabled))
    chosen.model.objects.filter(pk__in=[row.pk for row in changed]).update(enabled=enabled)
    for row in changed:
        admin.log_change(request, row, _("Switched on.") if enabled else _("Switched off."))
    count = len(changed)
    if enabled:
        text = ngettext("%d schedule is on again.", "%d schedules are on again.", count) % count
    else:
        text = ngettext("%d schedule is off.", "%d schedules are off.", count) % count
    admin.message_user(request, text, messages.SUCCESS)


def duplicate(admin: ModelAdmin, request: HttpRequest, rows: Sequence[Schedule]) -> HttpResponse | None:
    """Copy schedules, switched off; of one alone show the copy."""
    made = []
    for row in rows:
        copy = Schedule(**_own_fields(row))
        copy.name, copy.enabled = _free_name(row.name), False
        if copy.kind == "code":
            text = _(
                "%(name)s stands in code that fields cannot say; the copy runs every day until you change it."
            )
            admin.message_user(request, text % {"name": row.name}, messages.WARNING)
            _give_a_kind(copy)
        copy.save()
        admin.log_addition(request, copy, _("Copied from %(name)s.") % {"name": row.name})
        made.append(copy)
    count = len(made)
    text = ngettext("%d copy was made, switched off.", "%d copies were made, switched off.", count) % count
    admin.message_user(request, text, messages.SUCCESS)
    if count != 1:
        return None
    return HttpResponseRedirect(
        reverse(f"{admin.admin_site.name}:celeriac_schedule_change", args=(made[0].pk,))
    )


def take_over(admin: ModelAdmin, request: HttpRequest, row: Schedule) -> None:
    """Let what the row says hold from now on, not what the code says."""
    row.from_code = ""
    # It goes on from its last run; what was due before somebody wanted it so is over.
    row.counts_from = row.last_slot or timezone.now()
    if row.kind == "code":
        _give_a_kind(row)
        row.enabled = False
        text = _("Fields cannot say what the code says. Say when it is due, and switch it on.")
        admin.message_user(request, text, messages.WARNING)
    row.save()
    admin.log_change(request, row, _("Taken over from code."))
    admin.message_user(
        request, _("From now on %(name)s is what you say here.") % {"name": row.name}, messages.SUCCESS
    )


def _give_a_kind(row: Schedule) -> None:
    row.kind, row.every, row.unit, row.code_words = "interval", 1, "days", ""


def _own_fields(row: Schedule) -> dict[str, Any]:
    """Return what somebody filled in, without what was written down about runs."""
    return {
        field.name: getattr(row, field.name)
        for field in row._meta.concrete_fields
        if field.editable and not field.primary_key
    }


def _free_name(name: str) -> str:
    number = 1
    while True:
        free = f"{name} ({_('copy')}{f' {number}' if number > 1 else ''})"
        if not Schedule.objects.filter(name=free).exists():
            return free
        number += 1
