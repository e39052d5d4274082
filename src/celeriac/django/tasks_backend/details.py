"""What is known of a call of a Django task: written into its message, kept with its record, read as a TaskResult.

The message's header `celeriac_details` holds what a message does not say otherwise, and what came of earlier
attempts; a record has it too, and of the last attempt what records have.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.conf import settings
from django.utils import timezone
from msgspec import Struct, field

from celeriac import states
from celeriac.context import Request
from celeriac.django.tasks_backend import api
from celeriac.execute import OWN_FRAMES
from celeriac.failure import failure_json, format_traceback
from celeriac.message import result_format
from celeriac.message.message import DETAILS
from celeriac.sensitive import COVERED, Sensitive
from celeriac.store import Record

#: Stands for a worker of which no word was left, as its process was killed.
LOST = "lost"
_STATUS = {
    states.PENDING: "READY",
    states.RECEIVED: "READY",
    states.RETRY: "READY",
    states.SUCCESS: "SUCCESSFUL",
    states.FAILURE: "FAILED",
    states.REVOKED: "FAILED",
}


class Attempt(Struct):
    """A run that was followed by another: by whom, when, and the class and traceback of what it raised."""

    worker: str
    started: float
    error: str
    traceback: str


class Details(Struct):
    """What the header holds. Times are unix seconds, `run_after` as ISO 8601."""

    backend: str
    enqueued: float
    priority: int = 0
    queue_name: str = "default"
    run_after: str | None = None
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)


def of_call(result: Any, enqueued: float, covers: Sensitive | None) -> Details:
    """Return the details of a call that is being enqueued, without the values that `covers` hides."""
    task, args, kwargs = result.task, result.args, result.kwargs
    if covers is not None:
        shown, named = covers.cover(args, kwargs)
        args = [_plain(value) for value in shown]
        kwargs = {name: _plain(value) for name, value in named.items()}
    run_after = None if task.run_after is None else task.run_after.isoformat()
    return Details(result.backend, enqueued, task.priority, task.queue_name, run_after, args, kwargs)


def _plain(value: Any) -> Any:
    return "********" if value is COVERED else value


def read(kept: Any) -> Details | None:
    """Return the details in a header or a record, None where there are none that can be read."""
    try:
        return msgspec.convert(kept, Details)
    except (msgspec.ValidationError, TypeError):
        return None


def of_request(request: Request, task: Any) -> Details:
    """Return the details of a running call; of one that was sent by its name, from what the message says."""
    found = read((request.message.custom or {}).get(DETAILS))
    if found is None:
        stamp = request.message.properties.timestamp or request.started
        found = Details(
            task.backend,
            stamp,
            task.priority,
            task.queue_name,
            None,
            list(request.args),
            dict(request.kwargs),
        )
        keep(request, found)
    return found


def keep(request: Request, details: Details) -> None:
    """Have the message of a running call, its next try and its record say this."""
    request.message.custom = {**(request.message.custom or {}), DETAILS: written(details)}


def written(details: Details) -> dict[str, Any]:
    """Return details as they stand in the header."""
    kept: dict[str, Any] = msgspec.to_builtins(details)
    return kept


def note_attempt(request: Request, details: Details, error: BaseException) -> None:
    """Note that the run has ended with `error`, and that another follows."""
    details.attempts += _lost(details, request.retries + request.losses)
    trace = format_traceback(error, OWN_FRAMES)
    details.attempts.append(Attempt(request.hostname, request.started, path_of(type(error)), trace))
    keep(request, details)


def path_of(cls: type) -> str:
    """Return the dotted name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _lost(details: Details, before: int) -> list[Attempt]:
    """Return attempts that left no word, to make them `before` in all."""
    return [Attempt(LOST, 0.0, "", "")] * (before - len(details.attempts))


# -- as Django has it


def running(request: Request, task: Any, details: Details) -> Any:
    """Return the TaskResult of a call that runs now."""
    record = Record(request.id, states.STARTED, worker=request.hostname, retries=request.retries)
    record.losses, record.started = request.losses, request.started
    return _with_arguments(result(record, task, details), request)


def ended(request: Request, task: Any, details: Details, state: str, value: Any) -> Any:
    """Return the TaskResult of a call that has just returned `value`, or failed with that."""
    failed = isinstance(value, BaseException)
    record = Record(request.id, state, failure_json(value) if failed else b"null", worker=request.hostname)
    record.retries, record.losses = request.retries, request.losses
    record.started, record.finished = request.started, time.time()
    record.traceback = format_traceback(value, OWN_FRAMES) if failed else None
    made = _with_arguments(result(record, task, details), request)
    if not failed:
        object.__setattr__(made, "_return_value", value)
    return made


def _with_arguments(made: Any, request: Request) -> Any:
    """Put the arguments themselves in; what is kept may lack secrets."""
    object.__setattr__(made, "args", list(request.args))
    object.__setattr__(made, "kwargs", dict(request.kwargs))
    return made


def result(record: Record, task: Any, details: Details, conf: Any = None) -> Any:
    """Return the TaskResult of what is stored; `conf` are the settings that say how values are read."""
    attempts = [*details.attempts, *_lost(details, record.retries + record.losses)]
    workers = [attempt.worker for attempt in attempts]
    status = api.TaskResultStatus(_STATUS.get(record.state, "RUNNING"))
    if (
        record.started is not None
        and len(attempts) <= record.retries + record.losses
        and not _dropped(record)
    ):
        workers.append(record.worker)
    ended = record.state in states.READY_STATES
    starts = [attempt.started for attempt in attempts if attempt.started]
    starts += [record.started] if record.started is not None else []
    made = api.TaskResult(
        task=_as_enqueued(task, details),
        id=record.id,
        status=status,
        enqueued_at=moment(details.enqueued),
        started_at=moment(starts[0]) if starts else None,
        last_attempted_at=moment(starts[-1]) if starts else None,
        finished_at=moment(record.finished) if ended and record.finished is not None else None,
        args=details.args,
        kwargs=details.kwargs,
        backend=details.backend,
        errors=[
            api.TaskError(exception_class_path=attempt.error, traceback=attempt.traceback)
            for attempt in attempts
            if attempt.error
        ],
        worker_ids=workers,
    )
    if record.state in (states.FAILURE, states.REVOKED):
        made.errors.append(_stored_error(record))
    elif record.state == states.SUCCESS and conf is not None:
        object.__setattr__(made, "_return_value", result_format.read(record.result, conf))
    return made


def _as_enqueued(task: Any, details: Details) -> Any:
    """Return the task with the queue, priority and time of a call; as it is defined where these are refused now."""
    run_after = None if details.run_after is None else datetime.fromisoformat(details.run_after)
    said = (details.priority, details.queue_name, details.backend, run_after)
    if said == (task.priority, task.queue_name, task.backend, task.run_after):
        return task
    try:
        return task.using(
            priority=details.priority,
            queue_name=details.queue_name,
            backend=details.backend,
            run_after=run_after,
        )
    except (api.InvalidTask, api.InvalidTaskBackend):
        return task


def _dropped(record: Record) -> bool:
    """Return whether a call was not started, as it had been revoked or come too late."""
    return record.state == states.REVOKED and _told(record).get("exc_message") in (["revoked"], ["expired"])


def _told(record: Record) -> Mapping[str, Any]:
    try:
        told: Mapping[str, Any] = msgspec.json.decode(record.result, type=dict[str, Any])
    except msgspec.DecodeError:
        told = {}
    return told


def _stored_error(record: Record) -> Any:
    told = _told(record)
    path = f"{told.get('exc_module') or 'builtins'}.{told.get('exc_type') or 'Exception'}"
    text = record.traceback or f"{path}: {told.get('exc_message')}"
    return api.TaskError(exception_class_path=path, traceback=text)


def moment(stamp: float) -> datetime:
    """Return a unix time as Django's `timezone.now()` has times: aware as USE_TZ says."""
    return datetime.fromtimestamp(stamp, UTC if settings.USE_TZ else None)


def due(task: Any) -> datetime | None:
    """Return the `run_after` of a task with its time zone, None if it has none."""
    run_after: datetime | None = task.run_after
    if run_after is None or timezone.is_aware(run_after):
        return run_after
    aware: datetime = timezone.make_aware(run_after)
    return aware
