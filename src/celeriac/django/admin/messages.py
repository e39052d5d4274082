"""What waits in the database, in the admin, and how messages are shown there.

Registered by `celeriac.django.admin`. Messages are decoded to be shown, never run; one that cannot be read is shown as
it came.
"""

from typing import Any

import msgspec
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from celeriac import registry
from celeriac.django.admin import looks, paging
from celeriac.django.admin.read_only import Before, ReadOnlyAdmin, ValueFilter
from celeriac.django.broker import DatabaseBroker
from celeriac.django.models import Message, State
from celeriac.errors import CeleriacError, MessageError
from celeriac.message import compression, protocol, serializers

#: How much of a message that cannot be read is shown.
UNREADABLE = 2048

_BADGES = {
    State.READY: ("waiting", "…", "Waiting"),
    State.SCHEDULED: ("retry", "◷", "Scheduled"),
    State.IN_FLIGHT: ("running", "●", "In flight"),
}


class StateFilter(ValueFilter):
    title = "state"
    parameter_name = "state"

    def shown(self, value: str) -> str:
        return next((text for state, (_, _, text) in _BADGES.items() if str(int(state)) == value), value)


class QueueFilter(ValueFilter):
    title = "queue"
    parameter_name = "queue"


class MessageAdmin(ReadOnlyAdmin):
    """What waits for a worker, for its time, or for its end, where the database is the broker."""

    list_display = ("badge", "task", "queue", "priority", "sent", "due", "consumer")
    list_display_links = ("task",)
    list_select_related = ("body",)
    list_filter = (StateFilter, QueueFilter, Before)
    fieldsets = (
        (None, {"fields": ("badge", "name", "task_id", "queue", "priority", "sent", "due", "consumer")}),
        ("Message", {"fields": ("call", "headers")}),
    )
    readonly_fields = tuple(name for _, part in fieldsets for name in part["fields"])

    def list_rows(self, request: HttpRequest, rows: QuerySet) -> tuple[QuerySet, bool]:
        rows = rows.exclude(state=State.DEAD).defer("body__payload", "body__reason")
        wanted = self.wanted(request, "state", "queue")
        if wanted.get("state", "0") not in {str(int(state)) for state in _BADGES}:
            return rows.none(), False
        state = wanted.pop("state", None)
        if state is not None:
            # A number, written out: only so can the partial index of that state be used.
            rows = rows.filter(state=int(state))
        return paging.narrow(rows, (), wanted)

    def keeper(self) -> Any:
        return registry.current_app().broker

    def find_values(self, alias: str) -> dict[str, list[str]]:
        found = paging.values_of(Message, alias, (), ("queue",))
        return {"state": [str(int(state)) for state in _BADGES], **found}

    def remarks(self, request: HttpRequest, rows: ChangeList) -> list[str]:
        try:
            broker = self.keeper()
            readers = broker.readers() if isinstance(broker, DatabaseBroker) else None
        except CeleriacError as error:
            return [str(error)]
        queues = self.values(request)["queue"]
        if readers is None or not queues:
            return []
        read = {queue for each in readers.values() for queue in each}
        if not read:
            return ["No worker is running (E101)."]
        unread = [queue for queue in queues if queue not in read]
        return [f"No worker reads {', '.join(unread)} (E107)."] if unread else []

    @admin.display(description="state")
    def badge(self, row: Any) -> str:
        return looks.mark(*_BADGES.get(State(row.state), ("off", "⊘", "Set aside")))

    @admin.display(description="task")
    def task(self, row: Any) -> str:
        return format_html('{}<span class="celeriac-id">{}</span>', row.body.task, row.body.task_id)

    @admin.display(description="name")
    def name(self, row: Any) -> str:
        return str(row.body.task)

    @admin.display(description="id")
    def task_id(self, row: Any) -> str:
        return str(row.body.task_id)

    @admin.display(description="sent")
    def sent(self, row: Any) -> str:
        return looks.moment(row.body.created)

    @admin.display(description="due")
    def due(self, row: Any) -> str:
        return looks.moment(row.moment) if row.state == State.SCHEDULED else looks.NOTHING

    @admin.display(description="call")
    def call(self, row: Any) -> str:
        return looks.box(call_of(bytes(row.body.payload)))

    @admin.display(description="headers")
    def headers(self, row: Any) -> str:
        return looks.box(_headers_of(bytes(row.body.payload)))


def call_of(payload: bytes) -> str:
    """Return the arguments in a message as text."""
    try:
        message = protocol.decode(payload)
    except MessageError as error:
        return f"{error}\n\n{looks.raw_text(payload, UNREADABLE)}"
    if message.content_type != serializers.JSON.content_type:
        return f"{message.content_type}: not shown"
    try:
        if message.compression is not None:
            message.body = compression.decompress(message.body, message.compression, protocol.MAX_BYTES)
        args, kwargs, *_ = serializers.json_loads(message.body)
        return looks.as_data({"args": args, "kwargs": kwargs})
    except (MessageError, ValueError, TypeError):
        return looks.raw_text(message.body, UNREADABLE)


def _headers_of(payload: bytes) -> str:
    try:
        message = protocol.decode(payload)
    except MessageError:
        return looks.NOTHING
    # The call itself is shown beside it, with what is secret masked.
    hidden = ("argsrepr", "kwargsrepr")
    headers = {
        name: value
        for name, value in msgspec.to_builtins(message.headers).items()
        if name not in hidden and value not in (None, {}, [])
    }
    return looks.as_data(headers | protocol.custom_headers(message))
