"""An action for other models' admins that sends a task for each chosen object: `actions = [task_action(send)]`."""

import logging
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from celeriac import registry
from celeriac.errors import CeleriacError

logger = logging.getLogger("celeriac.django")

#: How many are published in one batch.
_CHUNK = 1_000

Action = Callable[[Any, HttpRequest, QuerySet], None]


def task_action(
    task: Any,
    arg: str | None = None,
    *,
    description: Any = "",
    permissions: Sequence[str] = ("change",),
    **options: Any,
) -> Action:
    """Return an action for `ModelAdmin.actions` that sends `task` once for each chosen object.

    The task gets the object's primary key: as the argument `arg`, or as its first. `options` are those of
    `apply_async`. The action is called `description`, or as the task is, and those may run it who have one of
    `permissions` for the model, which are named as in Django's own actions.
    """
    title = description or task.name.rpartition(".")[2].replace("_", " ").capitalize()

    def send(model_admin: ModelAdmin, request: HttpRequest, chosen: QuerySet) -> None:
        keys = chosen.values_list("pk", flat=True).iterator()
        count = 0
        try:
            while chunk := list(islice(keys, _CHUNK)):
                with registry.current_app().batch():
                    for key in chunk:
                        args, kwargs = ((key,), {}) if arg is None else ((), {arg: key})
                        task.apply_async(args, kwargs, **options)
                count += len(chunk)
        except CeleriacError as error:
            model_admin.message_user(request, str(error), messages.ERROR)
        if count:
            logger.info("%s: %s was sent for %d objects.", request.user, task.name, count)
            model_admin.message_user(request, _told(model_admin, task, title, count), messages.SUCCESS)

    # By its name Django tells one action from another.
    send.__name__ = slugify(f"{task.name.replace('.', '_')} {description}").replace("-", "_")
    action: Action = admin.action(description=title, permissions=permissions)(send)
    return action


def _told(model_admin: ModelAdmin, task: Any, title: str, count: int) -> str:
    """Return what to tell of tasks that were sent, with a link to where they are seen."""
    text = ngettext("%(title)s: %(count)d task was sent.", "%(title)s: %(count)d tasks were sent.", count)
    text %= {"title": title, "count": count}
    try:
        url = reverse(f"{model_admin.admin_site.name}:celeriac_taskresult_changelist")
    except NoReverseMatch:  # a site of the project's own, without our pages
        return text
    return format_html('{} <a href="{}?q={}">{}</a>', text, url, task.name, _("What came of it"))
