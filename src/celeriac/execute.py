"""One run of one task, from message to outcome: the only place where users' functions are called.

`Executor.execute` is a straight line: prepare, **the user's function**, conclude. Every pool, the eager mode and the
tests go through it; a coroutine task takes `aexecute`, which differs in the middle step only. It returns
data (`Outcome`); who settles it with the broker is the caller's business, `settlement` says how.
"""

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from celeriac import states
from celeriac.arguments import bounded_repr
from celeriac.broker import Action, Publication, Settlement
from celeriac.config import Settings
from celeriac.context import Request, current
from celeriac.errors import (
    EncodeError,
    Ignore,
    MessageError,
    NotRegistered,
    Reject,
    Retry,
    TaskRevokedError,
)
from celeriac.hooks import Hooks
from celeriac.message import compression, protocol, serializers
from celeriac.message.message import Message
from celeriac.store import Record
from celeriac.task import Task

logger = logging.getLogger("celeriac")


class Runs(Protocol):
    """What an executor needs of an app."""

    @property
    def conf(self) -> Settings:
        """The settings."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Tasks by name."""

    @property
    def hooks(self) -> Hooks:
        """What runs around each task."""


class Run(Struct):
    """One delivery on its way through a worker. `void` is set when it must not start any more."""

    tag: int
    queue: str
    message: Message
    task: Task | None
    request: Request | None = None
    started: float = 0.0
    void: bool = False


_Parts = tuple[list[Any], dict[str, Any], dict[str, Any] | None]
_decode_body = msgspec.json.Decoder(_Parts).decode


class Outcome(Struct):
    """What came of a run.

    `state` is one of `celeriac.states` (IGNORED: nothing is stored). `result` is encoded as in `Record`. `retry` is
    the message to publish for the next run. `dead` is the reason to set the message aside, `requeue` asks
    for it to go back. `error` is the exception itself, for this process only.
    """

    state: str
    result: bytes = b"null"
    traceback: str | None = None
    error: BaseException | None = None
    retry: Publication | None = None
    dead: str | None = None
    requeue: bool = False
    finished: float = 0.0


class Executor:
    """Runs deliveries of one app in this process. `hostname` is the worker's name."""

    def __init__(self, app: Runs, hostname: str) -> None:
        conf = app.conf
        self.hostname = hostname
        self.tasks = app.tasks
        self.accept = serializers.content_types(conf.accept_content)
        self.accepts_json = "application/json" in self.accept
        self.max_bytes = conf.worker_max_message_bytes
        self.decode = decoder(conf)
        self.encode = protocol.encode if conf.task_protocol == 2 else protocol.encode_protocol_1
        self.max_losses = conf.task_max_deliveries
        self.ignore_result = conf.task_ignore_result
        self.store_errors = conf.task_store_errors_even_if_ignored
        self.track_started = conf.task_track_started
        self.acks_early = conf.task_acks_late is False
        self.before = app.hooks.before_task
        self.after = app.hooks.after_task

    def execute(self, run: Run) -> Outcome:
        """Run a task and return what came of it. Raises nothing, whatever the task does."""
        outcome = self.prepare(run)
        if outcome is None:
            request: Request = run.request  # type: ignore[assignment]
            token = current.set(request)
            try:
                try:
                    for hook in self.before:
                        hook(request)
                    value = run.task.call(*request.args, **request.kwargs)  # type: ignore[union-attr]
                except BaseException as error:
                    outcome = self.failed(run, error)
                else:
                    outcome = self.succeeded(run, value)
            except Exception as error:
                outcome = _inconclusive(error)
            try:
                for hook in self.after:
                    hook(request)
            except Exception:
                logger.exception("What follows each task failed after %s[%s].", request.task, request.id)
            current.reset(token)
        outcome.finished = time.time()
        return outcome

    async def aexecute(self, run: Run) -> Outcome:
        """`execute` for a coroutine task, on a running event loop."""
        outcome = self.prepare(run)
        if outcome is None:
            request: Request = run.request  # type: ignore[assignment]
            token = current.set(request)
            try:
                try:
                    value = await run.task.call(*request.args, **request.kwargs)  # type: ignore[union-attr]
                except BaseException as error:
                    outcome = self.failed(run, error)
                else:
                    outcome = self.succeeded(run, value)
            except Exception as error:
                outcome = _inconclusive(error)
            current.reset(token)
        outcome.finished = time.time()
        return outcome

    # -- before

    def prepare(self, run: Run) -> Outcome | None:
        """Make the request of a run; return an outcome where it is not to be run at all."""
        message = run.message
        run.started = time.time()
        if run.task is None:
            return self._unknown(message.headers.task)
        expires = message.headers.expires
        if expires is not None and is_past(expires):
            return Outcome(
                states.REVOKED, failure_json(TaskRevokedError("expired")), error=TaskRevokedError("expired")
            )
        try:
            args, kwargs, embed = self._body(message)
            if embed and any(embed.values()):
                raise MessageError(_workflow_text(embed))
        except MessageError as error:
            return Outcome(states.FAILURE, failure_json(error), error=error, dead=str(error))
        run.request = Request(message, run.queue, self.hostname, args, kwargs, embed)
        return None

    def _body(self, message: Message) -> _Parts:
        body = message.body
        if message.compression is not None:
            body = compression.decompress(body, message.compression, self.max_bytes)
        if self.accepts_json and message.content_type == "application/json" and b'"__type__"' not in body:
            try:
                decoded: _Parts = _decode_body(body)
                return decoded
            except (ValueError, RecursionError):
                pass  # the slow way reads more, and says what is wrong
        parts = serializers.loads(body, message.content_type, self.accept)
        try:
            converted: _Parts = msgspec.convert(parts, _Parts)
            return converted
        except (ValueError, TypeError):
            raise MessageError("the body is not [args, kwargs, options]") from None

    def _unknown(self, name: str) -> Outcome:
        error = NotRegistered(
            f"Task {name!r} is not known to this worker. The message is kept as a dead letter. If the code is newer "
            "than the worker, restart it."
        )
        return Outcome(states.FAILURE, failure_json(error), error=error, dead=unknown_task(name))

    # -- after

    def succeeded(self, run: Run, value: Any) -> Outcome:
        """Return the outcome of a run that returned `value`."""
        request = run.request
        if request is not None and request.retrying is not None:
            return self._retry(run, request.retrying)
        if value is None:
            return Outcome(states.SUCCESS)
        if not self.stores(run):
            return Outcome(states.SUCCESS)
        try:
            return Outcome(states.SUCCESS, serializers.json_dumps(value))
        except EncodeError as error:
            name = run.message.headers.task
            told = EncodeError(
                f"{name} ran to its end but returned {type(value).__qualname__}, which cannot be stored: {error}. "
                "Return data that JSON can hold, or set ignore_result=True."
            )
            return Outcome(states.FAILURE, failure_json(told), error=told)

    def failed(self, run: Run, error: BaseException) -> Outcome:
        """Return the outcome of a run that raised `error`."""
        task: Task = run.task  # type: ignore[assignment]
        if isinstance(error, Retry):
            return self._retry(run, error)
        if isinstance(error, Ignore):
            return Outcome(states.IGNORED)
        if isinstance(error, Reject):
            if error.requeue:
                return Outcome(states.IGNORED, requeue=True)
            return Outcome(
                states.FAILURE, failure_json(error), error=error, dead=f"rejected: {safe_text(error.reason)}"
            )
        if (
            task.autoretry_for
            and isinstance(error, task.autoretry_for)
            and not isinstance(error, task.dont_autoretry_for)
        ):
            try:
                task.autoretry(run.message.headers.retries or 0, error)
            except Retry as retry:
                return self._retry(run, retry)
            except BaseException as final:
                error = final
        return Outcome(states.FAILURE, failure_json(error), format_traceback(error), error)

    def _retry(self, run: Run, retry: Retry) -> Outcome:
        message = run.message
        due = retry_time(retry.when)
        args, kwargs, options = retry.call or (None, None, {})
        headers = msgspec.structs.replace(
            message.headers,
            retries=(message.headers.retries or 0) + 1,
            eta=datetime.fromtimestamp(due, UTC).isoformat(),
            parent_id=message.headers.parent_id or message.headers.id,
        )
        body = message.body
        if args is not None or kwargs is not None:
            request: Request = run.request  # type: ignore[assignment]
            args = request.args if args is None else args
            kwargs = request.kwargs if kwargs is None else kwargs
            try:
                body = serializers.by_content_type[message.content_type].dumps(
                    [list(args), kwargs, request.embed]
                )
            except EncodeError as error:
                return Outcome(states.FAILURE, failure_json(error), format_traceback(error), error)
            headers.argsrepr = bounded_repr(tuple(args), len(body))
            headers.kwargsrepr = bounded_repr(kwargs, len(body))
            if message.compression is not None:
                body, _ = compression.compress(body, message.compression)
        queue = options.get("queue") or run.queue
        priority = options.get("priority", message.properties.priority) or 0
        properties = msgspec.structs.replace(
            message.properties,
            priority=priority,
            celeriac_losses=0,
            celeriac_suspect=False,
            timestamp=time.time(),
        )
        again = msgspec.structs.replace(message, headers=headers, properties=properties, body=body)
        payload = self.encode(again, queue)
        cause = retry.exc if retry.exc is not None else retry
        return Outcome(
            states.RETRY,
            failure_json(cause),
            format_traceback(cause if cause.__traceback__ is not None else retry),
            cause,
            retry=Publication(headers.id, headers.task, queue, payload, priority, due),
        )

    # -- what the caller does with it

    def stores(self, run: Run, state: str = states.SUCCESS) -> bool:
        """Return whether a record of `state` is to be stored for this run."""
        if state == states.IGNORED:
            return False
        task = run.task
        ignored = run.message.headers.ignore_result
        if ignored is None:
            ignored = task.ignore_result if task is not None else None
        if ignored is None:
            ignored = self.ignore_result
        if not ignored:
            return True
        errors = task.store_errors_even_if_ignored if task is not None else None
        return state == states.FAILURE and (self.store_errors if errors is None else errors)

    def settlement(self, run: Run, outcome: Outcome) -> Settlement:
        """Return how the delivery of a run ends, given its outcome."""
        state = outcome.state
        record = self.record(run, outcome) if self.stores(run, state) else None
        if state == states.SUCCESS:
            return Settlement(run.tag, record=record)
        if outcome.dead is not None:
            return Settlement(run.tag, Action.DEAD, reason=outcome.dead, record=record)
        if outcome.requeue:
            return Settlement(run.tag, Action.PUT_BACK)
        publish = () if outcome.retry is None else (outcome.retry,)
        return Settlement(run.tag, publish=publish, record=record)

    def record(self, run: Run, outcome: Outcome) -> Record:
        """Return what is to be stored of a run."""
        headers = run.message.headers
        properties = run.message.properties
        return Record(
            headers.id,
            outcome.state,
            outcome.result,
            outcome.traceback,
            headers.task,
            headers.argsrepr or "",
            headers.kwargsrepr or "",
            run.queue,
            self.hostname,
            headers.retries or 0,
            properties.celeriac_losses,
            properties.timestamp,
            run.started or None,
            outcome.finished or time.time(),
            headers.root_id,
            headers.parent_id,
            headers.group,
        )


def unknown_task(name: str) -> str:
    """Return the reason for which a message of a task that nobody knew is a dead letter."""
    return f"unknown task {name!r}"


def decoder(conf: Settings) -> Callable[[bytes], Message]:
    """Return what decodes messages under these settings; raises ImproperlyConfigured, NotInstalled."""
    accept = serializers.content_types(conf.accept_content)
    return partial(protocol.decode, accept=accept, limit=conf.worker_max_message_bytes)


def _workflow_text(embed: Mapping[str, Any]) -> str:
    """Why a message with something to follow is not run: what follows would be lost in silence."""
    parts = ", ".join(sorted(name for name, value in embed.items() if value))
    return (
        f"it carries {parts}, which this release of Celeriac does not send on; nothing was run. "
        "Route workflows to queues that only Celery workers read"
    )


def is_past(moment: str) -> bool:
    """Return whether an ISO 8601 time is over; one that cannot be read is not."""
    due = parse_time(moment)
    return due is not None and due <= time.time()


def parse_time(moment: str) -> float | None:
    """Return the unix time of an ISO 8601 text, None if it is none. Without an offset it counts as UTC."""
    try:
        when = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


def retry_time(when: float | datetime | None) -> float:
    """Return the unix time that a Retry names."""
    if isinstance(when, datetime):
        return when.timestamp()
    return time.time() + (when or 0.0)


def failure_json(error: BaseException) -> bytes:
    """Return an exception as Celery's stores keep it."""
    arguments: list[Any] = list(error.args)
    try:
        told = serializers.json_dumps(arguments)
    except EncodeError:
        told = serializers.json_dumps([safe_text(error)])
    cls = type(error)
    head = serializers.json_dumps({"exc_type": cls.__name__, "exc_module": cls.__module__})
    return head[:-1] + b',"exc_message":' + told + b"}"


def _inconclusive(error: Exception) -> Outcome:
    """What a run comes to whose end cannot be worked out: a retry in the year 40,000, say."""
    return Outcome(states.FAILURE, failure_json(error), format_traceback(error), error)


def safe_text(value: Any) -> str:
    """Return str(value) even where that raises, and as text that can be encoded."""
    try:
        return _encodable(str(value))
    except Exception:
        return f"<{type(value).__name__}>"


def _encodable(text: str) -> str:
    """Write lone surrogates, which names of files can bring along, as escapes."""
    return text.encode(errors="backslashreplace").decode()


def format_traceback(error: BaseException) -> str:
    """Return the traceback of `error`, from the user's function on."""
    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
            frames = frames.tb_next
        return _encodable("".join(traceback.format_exception(type(error), error, frames)))
    except Exception:
        return f"{type(error).__name__}: {safe_text(error)}"
