"""Dead letters in the admin, on whatever broker the project has: to look at, to put back, to drop.

Registered by `celeriac.django.admin`. The list asks the broker, not a table. Who may change dead letters may put them
back, who may delete them may drop them.
"""

import datetime as dt
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from celeriac import dead_letters, registry
from celeriac.broker import DeadLetter as Letter
from celeriac.dead_letters import Found
from celeriac.django.admin import looks
from celeriac.django.admin.amending import amend_view
from celeriac.django.admin.messages import UNREADABLE, call_of
from celeriac.django.admin.read_only import ReadOnlyAdmin
from celeriac.errors import CeleriacError, MessageError
from celeriac.message import protocol

logger = logging.getLogger("celeriac.django")

LETTERS_PER_PAGE = 50


class DeadLetterAdmin(ReadOnlyAdmin):
    """What was set aside."""

    def get_urls(self) -> list[URLPattern]:
        amend = path(
            "<path:key>/amend/", self.admin_site.admin_view(self.amend), name="celeriac_deadletter_amend"
        )
        return [amend, *super().get_urls()]

    def amend(self, request: HttpRequest, key: str) -> HttpResponse:
        """Put one back with other arguments."""
        if not admin.ModelAdmin.has_change_permission(self, request):
            raise PermissionDenied
        return amend_view(self, request, key)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        page, problem = _letters(request.GET.get("p", "1"))
        asked: list[Letter] = []
        if request.method == "POST" and page is not None:
            chosen = [letter for letter in page.object_list if letter.key in request.POST.getlist("key")]
            if request.POST.get("action") == "discard" and chosen and "sure" not in request.POST:
                asked = chosen
            else:
                return self._act(request, page, chosen)
        context = {
            **self.admin_site.each_context(request),
            "title": "Dead letters",
            "opts": self.opts,
            "media": self.media,
            "page": page,
            "letters": [_row(letter) for letter in asked or page.object_list] if page is not None else [],
            "problem": problem,
            "asked": bool(asked),
            "may_retry": admin.ModelAdmin.has_change_permission(self, request),
            "may_discard": admin.ModelAdmin.has_delete_permission(self, request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/celeriac/dead_letters.html", context)

    def _act(self, request: HttpRequest, page: Page, chosen: list[Letter]) -> HttpResponse:
        """Put the chosen letters back, or drop them, and tell how many that were."""
        action = request.POST.get("action")
        act: Callable[..., int]
        if action == "retry":
            act, done = partial(dead_letters.put_back, codec=registry.current_app().codec), "put back"
            allowed = admin.ModelAdmin.has_change_permission(self, request)
        elif action == "discard":
            act, done = dead_letters.drop, "dropped"
            allowed = admin.ModelAdmin.has_delete_permission(self, request)
        else:
            raise BadRequest("There is no such action.")
        if not allowed:
            raise PermissionDenied
        app = registry.current_app()
        found = [dead_letters.read(letter, app.codec) for letter in reversed(chosen)]
        try:
            count = act(app.broker, found)
        except CeleriacError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self._tell(request, done, count, found)
        return HttpResponseRedirect(f"?p={page.number}")

    def _tell(self, request: HttpRequest, done: str, count: int, found: list[Found]) -> None:
        asked = len(request.POST.getlist("key"))
        text = f"{count} dead letter{'' if count == 1 else 's'} {done}."
        if count < asked:
            text += (
                f" {asked - count} could not be: they were gone, on another page by now, cannot be read, or are not "
                "signed by this project."
            )
        if not asked:
            text = "Nothing was chosen."
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
        if count:
            names = ", ".join(sorted({each.task for each in found if each.task}))
            logger.info("%s: %d dead letters %s (%s).", request.user, count, done, names)


class _Letters:
    """The broker's dead letters, for a paginator: it asks for a page, not for all."""

    ordered = True

    def __init__(self, broker: Any) -> None:
        self._broker = broker

    def count(self) -> int:
        number: int = self._broker.count_dead_letters()
        return number

    def __len__(self) -> int:
        return self.count()

    def __getitem__(self, part: slice) -> list[Letter]:
        letters: list[Letter] = self._broker.dead_letters(part.stop - part.start, part.start)
        return letters


def _letters(page: str) -> tuple[Any, str]:
    try:
        letters: Any = _Letters(registry.current_app().broker)
        return Paginator(letters, LETTERS_PER_PAGE).get_page(page), ""
    except CeleriacError as error:
        return None, str(error)


def _row(letter: Letter) -> dict[str, Any]:
    """Return what the template shows of a dead letter."""
    row: dict[str, Any] = {
        "key": letter.key,
        "reason": letter.reason or "no reason given",
        "died": looks.moment(dt.datetime.fromtimestamp(letter.died, dt.UTC)),
        "queue": letter.queue,
        "size": f"{len(letter.payload):,}",
        "task": "",
        "task_id": "",
    }
    try:
        message = protocol.decode(letter.payload)
    except MessageError:
        row["text"] = looks.raw_text(letter.payload, UNREADABLE)
        row["cut"] = len(letter.payload) > UNREADABLE
    else:
        row |= {"task": message.headers.task, "task_id": message.headers.id}
        row["text"] = looks.cut(call_of(letter.payload), looks.PAGE_TEXT)
        row["cut"] = len(row["text"]) >= looks.PAGE_TEXT
    return row
