"""Queues and workers in the admin, on whatever broker the project has: what waits for how long, and who reads it.

Registered by `celeriac.django.admin`. The page asks the broker, not a table, and nothing on it can be pressed.
"""

from collections import defaultdict
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from celeriac import registry
from celeriac.broker import Broker, QueueDepth
from celeriac.django.admin import looks
from celeriac.django.admin.read_only import ReadOnlyAdmin
from celeriac.errors import CeleriacError
from celeriac.queue_age import ages


class QueueAdmin(ReadOnlyAdmin):
    """All queues that hold anything or are read, and all workers."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        try:
            context |= _page(registry.current_app().broker)
        except CeleriacError as error:
            context["problem"] = str(error)
        return TemplateResponse(
            request,
            "admin/celeriac/queues.html",
            {**context, "title": "Queues and workers", **(extra_context or {})},
        )


def _page(broker: Broker) -> dict[str, Any]:
    """Return what the template shows; raises BrokerError."""
    depths, oldest, readers = broker.depths(), ages(broker), broker.readers()
    workers: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for consumer, queues in (readers or {}).items():
        workers[consumer.rpartition("/")[0]].append(queues)
    read_by = {
        name: sorted({queue for queues in processes for queue in queues})
        for name, processes in workers.items()
    }
    names = depths.keys() | {queue for queues in read_by.values() for queue in queues}
    return {
        "queues": [
            {
                "name": name,
                "depth": depths.get(name, QueueDepth()),
                "oldest": looks.duration(oldest.get(name)),
                "workers": sum(name in queues for queues in read_by.values()),
                "unread": readers is not None and not any(name in queues for queues in read_by.values()),
            }
            for name in sorted(names)
        ],
        "workers": [
            {"name": name, "processes": len(workers[name]), "queues": ", ".join(read_by[name])}
            for name in sorted(workers)
        ],
        "told": readers is not None,
        "dead": broker.count_dead_letters(),
    }
