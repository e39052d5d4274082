"""Tells what becomes of a run: the task's own handlers and the signals, in Celery's order.

`celeriac.execute` calls it where somebody wants to know. A handler or receiver that fails is logged and changes
nothing, except `before_start`, which is part of the run. The result is stored after the handlers have run.
"""

import logging
from typing import Any

from celeriac import signals, states
from celeriac.context import Request
from celeriac.errors import Retry
from celeriac.failure import ExceptionInfo
from celeriac.message.message import Message
from celeriac.task import Task

logger = logging.getLogger("celeriac")


def wanted(task: Task) -> bool:
    """Return whether anybody wants to know of runs of this task."""
    return task.has_handlers or bool(signals.around_tasks)


def begins(task: Task, request: Request) -> None:
    """A run begins; raises what `before_start` raises."""
    signals.task_prerun.send(task, task_id=request.id, task=task, args=request.args, kwargs=request.kwargs)
    task.before_start(request.id, request.args, request.kwargs)


def succeeded(task: Task, request: Request, value: Any, runtime: float) -> None:
    """A run has returned `value` after `runtime` seconds."""
    _handle(task, "on_success", value, request.id, request.args, request.kwargs)
    signals.task_success.send(task, result=value, runtime=runtime)
    over(task, request, states.SUCCESS, value)


def retried(task: Task, request: Request, reason: Retry, error: BaseException, traceback: str | None) -> None:
    """A run has ended with Retry, for the cause `error`, and the task runs again."""
    _tell_retry(task, request, reason, ExceptionInfo(error, traceback))
    over(task, request, states.RETRY, reason)


def failed(task: Task, request: Request, error: BaseException, traceback: str | None) -> None:
    """A run has failed, and the task with it."""
    _tell_failure(task, request, error, ExceptionInfo(error, traceback))
    over(task, request, states.FAILURE, error)


def over(task: Task, request: Request, state: str, retval: Any) -> None:
    """A run is over, however it ended; `retval` is the value or the exception."""
    if state in states.READY_STATES:
        _handle(task, "after_return", state, retval, request.id, request.args, request.kwargs, None)
    signals.task_postrun.send(
        task,
        task_id=request.id,
        task=task,
        args=request.args,
        kwargs=request.kwargs,
        retval=retval,
        state=state,
    )


def ended(task: Task, request: Request, error: BaseException, retry: Retry | None) -> None:
    """A run was ended with its process: the task has failed with `error`, or runs again for that cause.

    As in Celery without `task_postrun`, which the process would have sent.
    """
    if retry is not None:
        _tell_retry(task, request, retry, ExceptionInfo(error))
        return
    _tell_failure(task, request, error, ExceptionInfo(error))
    _handle(task, "after_return", states.FAILURE, error, request.id, request.args, request.kwargs, None)


def _tell_retry(task: Task, request: Request, reason: Retry, info: ExceptionInfo) -> None:
    _handle(task, "on_retry", reason.exc, request.id, request.args, request.kwargs, info)
    signals.task_retry.send(task, request=request, reason=reason, einfo=info)


def _tell_failure(task: Task, request: Request, error: BaseException, info: ExceptionInfo) -> None:
    _handle(task, "on_failure", error, request.id, request.args, request.kwargs, info)
    signals.task_failure.send(
        task,
        task_id=request.id,
        exception=error,
        args=request.args,
        kwargs=request.kwargs,
        traceback=info.tb,
        einfo=info,
    )


def _handle(task: Task, name: str, *args: Any) -> None:
    try:
        getattr(task, name)(*args)
    except Exception:
        logger.exception("%s of %s failed; what came of the task stays as it is.", name, task.name)


# -- what ends before the function is called


def received(task: Task | None, request: Request) -> None:
    """A worker has taken a call up."""
    signals.task_received.send(task, request=request)


def revoked(task: Task, request: Request, *, signum: int | None = None, expired: bool = False) -> None:
    """A call is not run: it was revoked, or too late. With `signum` its run was ended by that signal."""
    signals.task_revoked.send(
        task, request=request, terminated=signum is not None, signum=signum, expired=expired
    )


def unknown(message: Message, error: BaseException) -> None:
    """A message names a task that is not known here."""
    headers = message.headers
    signals.task_unknown.send(None, message=message, exc=error, name=headers.task, id=headers.id)


def rejected(message: Message, error: BaseException) -> None:
    """A message was set aside, for it cannot be run."""
    signals.task_rejected.send(None, message=message, exc=error)


def inconclusive(task: Task | None, request: Request | None, error: BaseException) -> None:
    """What a run came to could not be worked out."""
    if task is None or request is None:
        return
    info = ExceptionInfo(error)
    signals.task_internal_error.send(
        task,
        task_id=request.id,
        args=request.args,
        kwargs=request.kwargs,
        request=request,
        exception=error,
        traceback=info.tb,
        einfo=info,
    )
