"""What a message says is to follow its task: `link` and `link_error`, sent or called when the task has ended.

`celeriac.execute` asks for it. What is to be sent is published with the settlement of the run, so that it goes out
once, and only if the run counts. In the caller's own process (eager) there is no settlement: there it is sent at once.
"""

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from celeriac import options as option_table
from celeriac.broker import Publication
from celeriac.canvas import Signature
from celeriac.config import Settings
from celeriac.context import Request
from celeriac.errors import MessageError
from celeriac.result import AsyncResult
from celeriac.task import Task

logger = logging.getLogger("celeriac")

_LISTS = ("callbacks", "errbacks")


def check(embed: Mapping[str, Any]) -> None:
    """Raise MessageError for a message whose follow-ups are none, or are of a kind that would be lost in silence."""
    unknown = sorted(name for name, value in embed.items() if value and name not in _LISTS)
    for name in _LISTS:
        listed = embed.get(name) or []
        if not isinstance(listed, list) or not all(map(_is_signature, listed)):
            raise MessageError(f"what it has for {name} is not a list of signatures")
        for callback in listed:
            if callback.get("subtask_type"):
                unknown.append(f"a {callback['subtask_type']} in {name}")
    if unknown:
        raise MessageError(
            f"it carries {', '.join(unknown)}, which this release of Celeriac does not send on; nothing was run. "
            "Route workflows to queues that only Celery workers read"
        )


def _is_signature(callback: Any) -> bool:
    return (
        isinstance(callback, dict)
        and isinstance(callback.get("task"), str)
        and isinstance(callback.get("args") or (), list | tuple)
        and isinstance(callback.get("kwargs") or {}, Mapping)
        and isinstance(callback.get("options") or {}, Mapping)
    )


class Sends(Protocol):
    """What is needed of an app."""

    @property
    def conf(self) -> Settings:
        """The settings."""

    def publication(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Publication:
        """Return the message of a call by name."""

    def AsyncResult(self, task_id: str) -> AsyncResult:  # noqa: N802 - Celery's name
        """Return the handle of a task."""


class Callbacks:
    """Carries out the follow-ups of runs of one app, whose tasks are `tasks`."""

    def __init__(self, app: Sends, tasks: Mapping[str, Task]) -> None:
        self.app = app
        self.tasks = tasks

    def after_success(self, request: Request, value: Any) -> tuple[Publication, ...]:
        """Return what is to be sent as the task has returned `value`; raises EncodeError or CallError."""
        return self._send(request, request.callbacks or (), value, here=self.app.conf.task_always_eager)

    def after_failure(
        self, request: Request, error: BaseException, traceback: str | None
    ) -> tuple[Publication, ...]:
        """Call the errbacks that want the exception, and return what is to be sent of the others. Raises nothing."""
        sent: list[Publication] = []
        for callback in request.errbacks or ():
            try:
                signature = self._signature(callback)
                if self._wants_exception(signature):
                    signature(request, error, traceback)
                else:
                    here = request.is_eager or self.app.conf.task_always_eager
                    sent += self._send(request, [signature], request.id, here=here)
            except Exception:
                logger.exception(
                    "link_error of %s[%s] failed: %s", request.task, request.id, callback["task"]
                )
        return tuple(sent)

    def _signature(self, callback: dict[str, Any]) -> Signature[Any]:
        signature: Signature[Any] = Signature(callback, app=self.app, type=self.tasks.get(callback["task"]))
        # Celery's signatures carry options for its own use; those of a call count.
        for name in signature.options.keys() - option_table.CALL:
            del signature.options[name]
        return signature

    def _wants_exception(self, errback: Signature[Any]) -> bool:
        """Return whether an errback takes more than an id, as in Celery; one bound to its task is always sent."""
        task = self.tasks.get(errback.task)
        if task is None or task.is_async or inspect.ismethod(task.call):
            return False
        takes = inspect.getfullargspec(task.call)
        taken = 0 if errback.immutable else len(errback.args) + len(errback.kwargs)
        return takes.varargs is not None or len(takes.args) - taken > 1

    def _send(
        self, request: Request, callbacks: Sequence[dict[str, Any]], first: Any, *, here: bool
    ) -> tuple[Publication, ...]:
        made = []
        for callback in callbacks:
            signature = self._signature(callback)
            task = self.tasks.get(signature.task)
            if request.is_eager or here or (task is not None and task.sends_itself):
                child = (signature.apply if here and task is not None else signature.apply_async)((first,))
            else:
                args, kwargs, options = signature.merge((first,))
                made.append(self.app.publication(signature.task, args, kwargs, options))
                child = self.app.AsyncResult(made[-1].id)
                request.add_child(child)
        return tuple(made)
