"""The page on which a dead letter is put back with other arguments, or into another queue.

A view of `dead_letters.DeadLetterAdmin`, for those who may put dead letters back. The log says who did it, never what
the arguments are.
"""

import logging
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from celeriac import dead_letters, registry
from celeriac.dead_letters import Amendment, Found, Wanted
from celeriac.errors import BrokerError, CallError, CeleriacError, MessageError
from celeriac.message import serializers
from celeriac.message.reprs import REPR_LIMIT

logger = logging.getLogger("celeriac.django")

_AS_IT_IS = "Left empty, they stay as they are."


class AmendForm(forms.Form):
    """Arguments as JSON, and a queue."""

    args = forms.CharField(
        label="Arguments",
        required=False,
        widget=forms.Textarea({"rows": 4, "cols": 80, "spellcheck": "false"}),
    )
    kwargs = forms.CharField(
        label="Arguments by name",
        required=False,
        widget=forms.Textarea({"rows": 4, "cols": 80, "spellcheck": "false"}),
    )
    queue = forms.CharField(label="Queue", max_length=255)

    def __init__(self, found: Found, app: Any, data: Any = None) -> None:
        super().__init__(data, initial=_initial(found, app))
        self._found = found
        self._app = app
        #: The letter as it is to be put back, once the form is valid.
        self.amended: Found | None = None
        self.fields["args"].help_text = f'A JSON list, such as [4711, "pdf"]. {_AS_IT_IS}'
        self.fields["kwargs"].help_text = f'A JSON object, such as {{"order": 4711}}. {_AS_IT_IS}'

    def clean_args(self) -> str:
        return self._checked("args", lambda text: Amendment.read(text, None, None))

    def clean_kwargs(self) -> str:
        return self._checked("kwargs", lambda text: Amendment.read(None, text, None))

    def _checked(self, name: str, read: Any) -> str:
        text: str = self.cleaned_data[name]
        try:
            read(text)
        except CallError as error:
            raise forms.ValidationError(str(error)) from None
        return text

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = self.cleaned_data
        if not self.errors:
            queue = None if given["queue"] == self._found.letter.queue else given["queue"]
            amendment = Amendment.read(given["args"], given["kwargs"], queue)
            try:
                self.amended = dead_letters.amend(self._found, amendment, self._app.tasks, self._app.conf)
            except CeleriacError as error:
                raise forms.ValidationError(str(error)) from None
        return given


def _initial(found: Found, app: Any) -> dict[str, str]:
    """Return what the fields begin with: the call as it is, unless something of it is not to be shown."""
    initial = {"queue": found.letter.queue}
    if found.message is None:
        return initial
    headers = found.message.headers
    try:
        args, kwargs = dead_letters.call_in(found.message, app.conf)
        for name, value, shown in (
            ("args", args, headers.argsrepr),
            ("kwargs", kwargs, headers.kwargsrepr),
        ):
            plain = repr(tuple(value) if name == "args" else value)
            if value and shown == plain and len(plain) < REPR_LIMIT:
                initial[name] = serializers.json_dumps(value).decode()
    except (MessageError, CeleriacError):
        return {"queue": found.letter.queue}
    return initial


def amend_view(admin: ModelAdmin, request: HttpRequest, key: str) -> HttpResponse:
    """Show the form, or put the dead letter back as the form says. The caller has looked at permissions."""
    back = reverse(f"{admin.admin_site.name}:celeriac_deadletter_changelist")
    app = registry.current_app()
    try:
        app.load_tasks()  # which say what arguments they take
        wanted = Wanted(ids=frozenset([key]))
        found = next(dead_letters.find(app.broker, wanted, app.codec), None)
    except CeleriacError as error:
        admin.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(back)
    if found is None or found.message is None:
        admin.message_user(request, "It is gone, or cannot be read.", messages.WARNING)
        return HttpResponseRedirect(back)
    if not found.genuine:
        text = "It is not signed by this project. To run it all the same: celeriac deadletter retry --sign"
        admin.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(back)
    form = AmendForm(found, app, request.POST if request.method == "POST" else None)
    if form.is_valid() and form.amended is not None and _put_back(admin, request, app, form.amended):
        return HttpResponseRedirect(back)
    context = {
        **admin.admin_site.each_context(request),
        "title": "Put back with other arguments",
        "opts": admin.opts,
        "media": admin.media + form.media,
        "form": form,
        "found": found,
        "back": back,
    }
    return TemplateResponse(request, "admin/celeriac/amend.html", context)


def _put_back(admin: ModelAdmin, request: HttpRequest, app: Any, amended: Found) -> bool:
    """Put it back and tell of that; return False where the broker could not be reached, to be tried again."""
    try:
        count = dead_letters.put_back(app.broker, [amended], app.codec)
    except BrokerError as error:
        admin.message_user(request, str(error), messages.ERROR)
        return False
    if not count:
        admin.message_user(request, "It was gone by then.", messages.WARNING)
        return True
    admin.message_user(request, "1 dead letter put back, as you have changed it.", messages.SUCCESS)
    logger.info(
        "%s: a dead letter changed and put back into %s (%s[%s]).",
        request.user, amended.letter.queue, amended.task, amended.id,
    )  # fmt: skip
    return True
