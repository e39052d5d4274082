"""Celeriac: background work for Django in one package.

    from celeriac import shared_task

    @shared_task
    def send_invoice(order_id): ...

    send_invoice.delay(4711)

`Celery` is `Celeriac` under the name that code written for Celery expects.
"""

from celeriac.app import Celeriac
from celeriac.canvas import Signature, signature
from celeriac.errors import Ignore, Reject, Retry, SoftTimeLimitExceeded
from celeriac.registry import current_app
from celeriac.result import AsyncResult, GroupResult, ResultSet
from celeriac.shared import shared_task
from celeriac.task import Task

__version__ = "0.1.0"

Celery = Celeriac

__all__ = [
    "AsyncResult",
    "Celeriac",
    "Celery",
    "GroupResult",
    "Ignore",
    "Reject",
    "ResultSet",
    "Retry",
    "Signature",
    "SoftTimeLimitExceeded",
    "Task",
    "current_app",
    "shared_task",
    "signature",
]
