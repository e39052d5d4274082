"""`Task`: a function that can be sent, with its options.

Made by `@app.task` and `@shared_task` (`celeriac.decorator`); sends through its app (`celeriac.app.App.send`). A class
given as `base=` is a subclass of Task; its instance is the task.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, Unpack

from celeriac import options as option_table
from celeriac import registry, states
from celeriac.arguments import Arity, caller_place
from celeriac.canvas import Signature
from celeriac.context import Request, current
from celeriac.errors import CallError, MaxRetriesExceededError, Retry
from celeriac.failure import ExceptionInfo, failure_json
from celeriac.generics import P, R
from celeriac.message.message import Headers, Message, Properties, details_of
from celeriac.message.serializers import json_dumps
from celeriac.options import KeywordOptions
from celeriac.result import AsyncResult
from celeriac.retry import backoff
from celeriac.sensitive import Sensitive
from celeriac.store import Record, ResultStore


class Sends(Protocol):
    """What a task needs of its app."""

    @property
    def store(self) -> ResultStore | None:
        """The result store, None where results are disabled."""

    def send(
        self, task: "Task", args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> AsyncResult:
        """Send a call of `task`."""

    def send_on_commit(
        self, task: "Task", args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> AsyncResult:
        """Send a call of `task` when the open transaction commits."""

    def apply(
        self, task: "Task", args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> AsyncResult:
        """Run a call of `task` here and now."""

    def AsyncResult(self, task_id: str) -> AsyncResult:  # noqa: N802 - Celery's name
        """Return the handle of a task."""


class Task(Generic[P, R]):
    """A task of a function that takes `P` and returns `R`.

    The options below are class attributes, so that a `base` class can set its own defaults.
    """

    name: str = ""
    typing: bool = True
    max_retries: int | None = 3
    default_retry_delay: float = 180.0
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True
    throws: tuple[type[BaseException], ...] = ()
    ignore_result: bool | None = None
    store_errors_even_if_ignored: bool | None = None
    track_started: bool | None = None
    acks_late: bool | None = None
    reject_on_worker_lost: bool | None = None
    retry_on_worker_lost: bool | None = None
    acks_on_failure: bool | None = None
    acks_on_timeout: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    expires: float | datetime | str | None = None
    priority: int | None = None
    queue: str | option_table.Named | None = None
    exchange: str | option_table.Named | None = None
    routing_key: str | None = None
    serializer: str | None = None
    compression: str | None = None
    store_eager_result: bool | None = None
    sensitive: bool | Collection[str] | None = None
    trail: bool = True

    pydantic: bool = False
    pydantic_strict: bool = False
    pydantic_context: Mapping[str, Any] | None = None
    pydantic_dump_kwargs: Mapping[str, Any] | None = None

    # Worked out when the task is bound to its function.
    arity: Arity | None = None
    dump_arguments: Callable[..., tuple[Sequence[Any], Mapping[str, Any]]] | None = None
    is_async: bool = False
    call: Callable[..., Any]
    ignored_options: tuple[str, ...] = ()
    has_handlers: bool = False
    has_shadow_name: bool = False
    sends_itself: bool = False
    covers: Sensitive | None = None

    _app: Sends | None = None

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The task's body. Subclasses override it; of a function it is the function."""
        raise NotImplementedError("A task class needs a run() method.")

    @property
    def app(self) -> Sends:
        """The app that the task is sent through: its own, or for a shared task the current one."""
        app = self._app
        if app is None:
            current_app: Sends = registry.current_app()
            return current_app
        return app

    # -- sending

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send the task with these arguments and return its handle.

        Raises CallError if they do not fit the function, EncodeError if they cannot be serialised, BrokerDown if
        the broker cannot be reached within `task_publish_timeout` seconds.
        """
        return (self._app or registry.current_app()).send(self, args, kwargs, _NO_OPTIONS)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Unpack[KeywordOptions],
    ) -> AsyncResult[R]:
        """Send the task with options and return its handle.

        `countdown` (seconds) or `eta` (datetime or ISO text) say when, `expires` (seconds, datetime or ISO text) until
        when; `queue`, `priority` (0 to 9, higher first), `task_id`, `headers`, `ignore_result`, `serializer`, `shadow`.
        Raises as `delay` does, and UnknownOption for an option that there is not.
        """
        check_call(args, kwargs, options)
        given = options if task_id is None else {**options, "task_id": task_id}
        return self.app.send(self, args or (), kwargs or {}, given)

    def _delay_through_apply_async(self, *args: Any, **kwargs: Any) -> AsyncResult[R]:
        """`delay` of a class that overrides `apply_async`."""
        return self.apply_async(args, kwargs)

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send the task when the open transaction commits; at once where none is open.

        Unlike Celery's, it returns the handle, whose id is known before the commit. On the database broker, and
        elsewhere as long as `task_publish_on_commit` is on, `delay` does the same.
        """
        return self.app.send_on_commit(self, args, kwargs, _NO_OPTIONS)

    def apply_async_on_commit(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Unpack[KeywordOptions],
    ) -> AsyncResult[R]:
        """`apply_async` when the open transaction commits; see `delay_on_commit`."""
        check_call(args, kwargs, options)
        given = options if task_id is None else {**options, "task_id": task_id}
        return self.app.send_on_commit(self, args or (), kwargs or {}, given)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """`delay` for coroutines: the broker is talked to on another thread."""
        return await _in_thread(self.delay, *args, **kwargs)

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Unpack[KeywordOptions],
    ) -> AsyncResult[R]:
        """`apply_async` for coroutines: the broker is talked to on another thread."""
        return await _in_thread(self.apply_async, args, kwargs, task_id, **options)

    def apply(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[R]:
        """Run the task in this process, through the worker's execution path, and return its result.

        `throw=True` raises what the task raises (default: `task_eager_propagates`). With `retries` the run is taken
        for one that was retried so often.
        """
        given = {name: options[name] for name in options if name not in option_table.APPLY}
        check_call(args, kwargs, given, "apply()")
        return self.app.apply(self, args or (), kwargs or {}, options)

    def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """Write a call down, to be sent later, in a batch, or when another task has ended; it may lack arguments."""
        return Signature(self, args, kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """Write a call down that takes no more arguments: what the task before it returned is left aside."""
        return Signature(self, args, kwargs, immutable=True)

    def signature(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Signature[R]:
        """Write a call down with options of `apply_async`; `immutable=True` for one that takes no more arguments."""
        return Signature(self, args, kwargs, **options)

    subtask = signature

    def AsyncResult(self, task_id: str) -> AsyncResult[R]:  # noqa: N802 - Celery's name
        """Return the handle of a call of this task."""
        return self.app.AsyncResult(task_id)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, here, as any other."""
        value: R = self.run(*args, **kwargs)
        return value

    # -- for subclasses to override

    def on_bound(self, app: Any) -> None:
        """Called once for each app that the task is used by, before it is first sent or run; may be a class method."""

    def shadow_name(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> str | None:
        """Return the name to show in logs instead of the task's, where the call says none; None for no other."""

    # -- handlers, for subclasses to override; what they return is not looked at

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called before the function; what it raises is the task's failure."""

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called when the function has returned `retval`."""

    def on_retry(
        self,
        exc: BaseException | None,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo,
    ) -> None:
        """Called when the task is to run again."""

    def on_failure(
        self,
        exc: BaseException,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo,
    ) -> None:
        """Called when the task has failed for good."""

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: None,
    ) -> None:
        """Called at last, with the state and the value or exception, unless the task runs again or is ignored."""

    # -- inside a run

    @property
    def request(self) -> Request:
        """The running call; outside of a worker one with `called_directly` set."""
        request = current.get()
        if request is None:
            request = Request(Message(Headers(self.name, ""), Properties(), b""), "", "")
            request.called_directly = True
        return request

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **_celery: Any
    ) -> None:
        """Store a state of the running task, with what there is to tell: `state="PROGRESS", meta={"done": 3}`.

        Any name will do for the state; whoever asks gets `meta` as `AsyncResult.info`. Inside a worker it is stored
        in a moment and costs the task nothing. Of another task than the running one with `task_id`. Raises
        CallError without a task, EncodeError for a meta that JSON cannot hold.
        """
        request = current.get()
        if task_id is None and (request is None or not request.id):
            raise CallError("update_state() is called outside of a run: pass task_id.")
        record = self._progress(request, task_id, state or states.PENDING, meta)
        if request is not None and request.note is not None and record.id == request.id:
            request.note(record)
        elif self.app.store is not None:
            self.app.store.store([record])

    def _progress(self, request: Request | None, task_id: str | None, state: str, meta: Any) -> Record:
        told = isinstance(meta, BaseException)
        result = failure_json(meta) if told else json_dumps(meta)
        if request is None or task_id not in (None, request.id):
            return Record(task_id or "", state, result)
        headers, properties = request.message.headers, request.message.properties
        return Record(
            headers.id,
            state,
            result,
            None,
            headers.task,
            headers.argsrepr or "",
            headers.kwargsrepr or "",
            request.queue,
            request.hostname,
            request.retries,
            request.losses,
            properties.timestamp,
            request.started or None,
            None,
            headers.root_id,
            headers.parent_id,
            headers.group,
            details=details_of(request.message),
        )

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """End this run and run the task again later: `raise self.retry(exc=error, countdown=60)`.

        After `countdown` seconds, at `eta`, or after `default_retry_delay`. `max_retries` and `args`/`kwargs` replace
        the task's own for this time, as do `queue` and `priority`. Raises Retry (returns it with `throw=False`);
        after the last allowed retry it raises `exc` or MaxRetriesExceededError. Called outside of a run it raises
        `exc` or Retry.
        """
        if options:
            known, others = option_table.RETRY, option_table.CALL | option_table.CALL_NOT_YET
            option_table.refuse_unknown(options, known, others, "retry()", caller_place)
            if hasattr(options.get("queue"), "name"):
                options["queue"] = options["queue"].name
        request = self.request
        limit = self.max_retries if max_retries is None else max_retries
        if countdown is None and eta is None:
            countdown = self.default_retry_delay
        retry = Retry(exc=exc, when=countdown if countdown is not None else eta, call=(args, kwargs, options))
        if request.called_directly:
            raise exc if exc is not None else retry
        if limit is not None and request.retries + 1 > limit:
            if exc is not None:
                raise exc
            covers = self.covers
            args_shown, kwargs_shown = (
                (request.args, request.kwargs)
                if covers is None
                else covers.cover(request.args, request.kwargs)
            )
            raise MaxRetriesExceededError(
                f"Can't retry {self.name}[{request.id}] args:{args_shown} kwargs:{kwargs_shown}"
            )
        if throw:
            raise retry from exc
        request.retrying = retry
        return retry

    def autoretry(self, retries: int, error: BaseException) -> None:
        """Raise Retry for an exception that `autoretry_for` names, or the exception itself after the last one."""
        keywords = dict(self.retry_kwargs)
        if self.retry_backoff:
            factor = float(self.retry_backoff)
            keywords["countdown"] = backoff(retries, factor, self.retry_backoff_max, self.retry_jitter)
        limit = keywords.pop("max_retries", self.max_retries)
        keywords.setdefault("countdown", None if keywords.get("eta") else self.default_retry_delay)
        if limit is not None and retries + 1 > limit:
            raise error
        when = keywords["countdown"] if keywords["countdown"] is not None else keywords["eta"]
        raise Retry(exc=error, when=when)

    def __repr__(self) -> str:
        return f"<@task: {self.name}>"

    def __reduce__(self) -> Any:
        return (_by_name, (self.name,))


_NO_OPTIONS: Mapping[str, Any] = {}


def check_call(args: Any, kwargs: Any, options: Mapping[str, Any], what: str = "apply_async()") -> None:
    """Raise TypeError or UnknownOption for what no call can have; `what` is the method that was called."""
    if args is not None and not isinstance(args, list | tuple):
        raise TypeError(f"args must be a list or tuple, not {type(args).__name__}: args=[...]")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs must be a dict, not {type(kwargs).__name__}")
    if options:
        # What overrides apply_async() hands on Celery's parameters, used or not.
        said = [name for name, value in options.items() if value or name not in option_table.CALL_NOT_YET]
        option_table.refuse_unknown(said, option_table.CALL, option_table.CALL_NOT_YET, what, caller_place)


async def _in_thread(function: Callable[..., AsyncResult], *args: Any, **kwargs: Any) -> AsyncResult:
    import asyncio  # noqa: PLC0415 - slow to import, and whoever awaits has it already

    return await asyncio.to_thread(function, *args, **kwargs)


def _by_name(name: str) -> Any:
    return registry.current_app().tasks[name]


class AsyncTask(Task[P, R]):
    """A task of a coroutine function whose result is `R`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """Call the function, here, as any other: await what it returns."""
        coroutine: Coroutine[Any, Any, R] = self.run(*args, **kwargs)
        return coroutine
