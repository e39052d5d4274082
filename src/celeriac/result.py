"""What a caller holds of a task that it sent: `AsyncResult`, and `EagerResult` for one that ran at once.

Reads the result store through the app; never touches the broker.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Generic, Literal, Protocol, overload

from celeriac import registry, states
from celeriac.config import Settings
from celeriac.context import current
from celeriac.errors import (
    ImproperlyConfigured,
    StoreError,
    TaskRevokedError,
    TaskTimeout,
    WaitInTask,
    WaitInTransaction,
)
from celeriac.failure import rebuild_exception
from celeriac.generics import R
from celeriac.message.serializers import json_loads
from celeriac.store import Record, ResultStore


class HasStore(Protocol):
    """What a result needs of an app."""

    @property
    def conf(self) -> Settings:
        """The settings."""

    @property
    def store(self) -> ResultStore | None:
        """The result store, None where results are disabled."""

    def awaited(self, task_id: str, queue: str | None) -> None:
        """Note that somebody waits for a task, which was sent to `queue` if that is known."""


_SLICE = 0.5
_joins_allowed: ContextVar[bool] = ContextVar("celeriac_joins_allowed", default=False)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Let tasks wait for others inside the block: for those who know that other workers run them."""
    token = _joins_allowed.set(True)
    try:
        yield
    finally:
        _joins_allowed.reset(token)


class AsyncResult(Generic[R]):
    """A handle on one task, by id. Equal to another with the same id; `str()` is the id.

    Without `app` the result is looked for where the current app keeps its results.
    """

    __slots__ = ("_record", "_sent_to", "_unpublished", "app", "id", "ignored")

    def __init__(
        self,
        task_id: str,
        app: HasStore | None = None,
        sent_to: str | None = None,
        *,
        unpublished: Callable[[], bool] | None = None,
        ignored: bool = False,
    ) -> None:
        self.id = task_id
        self.app: HasStore = registry.current_app() if app is None else app
        #: Whether the task was sent with `ignore_result`: then there is nothing to wait for.
        self.ignored = ignored
        self._record: Record | None = None
        # The queue, for who has sent it.
        self._sent_to = sent_to
        # Set where the task is published by a commit or at a batch's end: tells whether that is still to come.
        self._unpublished = unpublished

    @property
    def task_id(self) -> str:
        """The id, under its other name."""
        return self.id

    def _store(self) -> ResultStore:
        store = self.app.store
        if store is None:
            raise ImproperlyConfigured(
                "Results are not stored: result_backend is not set. Set it (django-db, redis://..., cache), or use "
                "ignore_result=True where nobody reads them."
            )
        return store

    def _fetch(self) -> Record | None:
        if self._record is None or not self._record.ready:
            self._record = self._store().fetch([self.id]).get(self.id)
        return self._record

    @property
    def state(self) -> str:
        """The task's state; PENDING where nothing is stored for the id."""
        record = self._fetch()
        return states.PENDING if record is None else record.state

    status = state

    @property
    def result(self) -> Any:
        """The return value, the exception of a failed task, the meta of a custom state, or None."""
        record = self._fetch()
        if record is None:
            return None
        if record.state in states.EXCEPTION_STATES:
            return rebuild_exception(record.result, self.app.conf.result_exceptions)
        return json_loads(record.result)

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failed or retried task, as text."""
        record = self._fetch()
        return None if record is None else record.traceback

    @property
    def date_done(self) -> datetime | None:
        """When the task ended, in UTC."""
        record = self._fetch()
        return (
            None
            if record is None or record.finished is None
            else datetime.fromtimestamp(record.finished, UTC)
        )

    @property
    def name(self) -> str | None:
        """The task's name."""
        return self._stored("name")

    @property
    def args(self) -> str | None:
        """The positional arguments as text, shortened: values are not kept beside the message."""
        return self._stored("args")

    @property
    def kwargs(self) -> str | None:
        """The keyword arguments as text, shortened."""
        return self._stored("kwargs")

    @property
    def worker(self) -> str | None:
        """Name of the worker that ran it last."""
        return self._stored("worker")

    @property
    def queue(self) -> str | None:
        """The queue that it came from."""
        return self._stored("queue")

    @property
    def retries(self) -> int | None:
        """How often it was tried again."""
        record = self._fetch()
        return None if record is None else record.retries

    def _stored(self, field: str) -> str | None:
        return getattr(self._fetch(), field, None) or None

    @property
    def record(self) -> Record | None:
        """All that is stored of the task, None if nothing is."""
        return self._fetch()

    def ready(self) -> bool:
        """Return whether the task has ended: SUCCESS, FAILURE or REVOKED."""
        return self.state in states.READY_STATES

    def successful(self) -> bool:
        """Return whether the task ended in SUCCESS."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Return whether the task ended in FAILURE."""
        return self.state == states.FAILURE

    def exists(self) -> bool:
        """Return whether anything is stored for the id."""
        return self._fetch() is not None

    @overload
    def get(
        self,
        timeout: float | None = None,
        propagate: Literal[True] = True,
        interval: float | None = None,
        disable_sync_subtasks: bool = True,
        **_celery: Any,
    ) -> R: ...
    @overload
    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        disable_sync_subtasks: bool = True,
        **_celery: Any,
    ) -> Any: ...
    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        disable_sync_subtasks: bool = True,
        **_celery: Any,
    ) -> Any:
        """Wait for the end of the task and return its value.

        `timeout` is in seconds, None waits for ever. A failed task's exception is raised, or returned with
        `propagate=False`. `interval` and Celery's other options are accepted and not needed. Of a task sent with
        `ignore_result` it is None, at once. Raises TaskTimeout when the time is over (the task goes on), WaitInTask
        inside a task (unless `disable_sync_subtasks=False` says that others will run it, or `allow_join_result`),
        WaitInTransaction where the task is only published by a commit, or a batch's end, that comes after.
        """
        if self.ignored:
            return None
        self._refuse_endless_wait(inside_task=not disable_sync_subtasks)
        # What ends soon is nobody's worry.
        first = _SLICE if timeout is None else min(_SLICE, timeout)
        ended = self._wait(first)
        if not ended and (timeout is None or timeout > first):
            self.app.awaited(self.id, self._sent_to)
            ended = self._wait(None if timeout is None else timeout - first)
        if not ended:
            raise self._late(timeout)
        return self._conclude(propagate)

    wait = get

    @overload
    async def aget(self, timeout: float | None = None, propagate: Literal[True] = True) -> R: ...  # noqa: ASYNC109
    @overload
    async def aget(self, timeout: float | None = None, propagate: bool = True) -> Any: ...  # noqa: ASYNC109
    async def aget(self, timeout: float | None = None, propagate: bool = True) -> Any:  # noqa: ASYNC109 - as in get()
        """`get` for coroutines: the store is waited for on another thread."""
        import asyncio  # noqa: PLC0415 - slow to import, and whoever awaits has it already

        if self.ignored:
            return None
        self._refuse_endless_wait()
        deadline = None if timeout is None else time.monotonic() + timeout
        told = False
        while True:
            # In slices, so that the thread of a wait that was cancelled ends soon.
            left = _SLICE if deadline is None else min(_SLICE, max(0.0, deadline - time.monotonic()))
            if await asyncio.to_thread(self._wait, left):
                return self._conclude(propagate)
            if deadline is not None and time.monotonic() >= deadline:
                raise await asyncio.to_thread(self._late, timeout)
            if not told:
                self.app.awaited(self.id, self._sent_to)
                told = True

    def _refuse_endless_wait(self, *, inside_task: bool = False) -> None:
        if current.get() is not None and not (inside_task or _joins_allowed.get()):
            raise WaitInTask(
                f"Task {self.id} is waited for inside a task: with all slots waiting, nothing could run. "
                "Let the first task send the second, or return and look at the result later. If other workers run it: "
                "get(disable_sync_subtasks=False)."
            )
        if self._unpublished is not None and self._unpublished():
            raise WaitInTransaction(
                f"Task {self.id} is published when the open transaction commits or the batch ends, so that waiting for "
                "it here would never end. Call get() after the block. If that was undone, the task was not sent."
            )

    def _late(self, timeout: float | None) -> TaskTimeout:
        """Return what to raise when the time is over."""
        text = f"Task {self.id} has not ended within {timeout or 0:g} s."
        try:
            known = self._fetch() is not None
        except StoreError:
            known = True  # it cannot be asked
        if known:
            return TaskTimeout(f"{text} It goes on.")
        if self._sent_to is not None:
            return TaskTimeout(f'{text} It still waits in its queue, "{self._sent_to}", or runs.')
        kept = self.app.conf.result_expires
        days = f" (results are kept for {kept / 86400:g} days)" if kept else ""
        return TaskTimeout(
            f"{text} Nothing is stored of it: it was never queued here, still waits or runs, or its result was "
            f"deleted{days}. (celeriac help E116)"
        )

    def _wait(self, timeout: float | None) -> bool:
        """Return whether the task has ended within `timeout` seconds."""
        if self._record is None or not self._record.ready:
            self._record = self._store().wait(self.id, timeout)
        return self._record is not None

    def _conclude(self, propagate: bool) -> Any:
        record = self._record
        if record is not None and record.state == states.SUCCESS:
            return json_loads(record.result)
        error = self.result
        if propagate:
            raise error
        return error

    def maybe_throw(self, propagate: bool = True) -> Any:
        """Raise the exception of a task that has failed; else return what there is of a result, without waiting."""
        result = self.result
        if propagate and self.state in states.PROPAGATE_STATES:
            raise result
        return result

    throw = maybe_throw

    def forget(self) -> None:
        """Delete what is stored of the task; its state is PENDING again."""
        self._store().forget([self.id])
        self._record = None

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.id}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return self.id == other.id
        return isinstance(other, str) and self.id == other

    def __hash__(self) -> int:
        return hash(self.id)


class EagerResult(AsyncResult[R]):
    """The result of a task that ran in the caller's process."""

    __slots__ = ("_error",)

    def __init__(self, record: Record, app: HasStore, error: BaseException | None) -> None:
        super().__init__(record.id, app)
        record.finished = record.finished or time.time()
        self._record = record
        self._error = error

    def _fetch(self) -> Record | None:
        return self._record

    @property
    def result(self) -> Any:
        """The return value, or the exception itself of a run that failed."""
        return super().result if self._error is None else self._error

    info = result

    def ready(self) -> bool:
        """Return True: the run is over, also where it was ignored or rejected."""
        return True

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        disable_sync_subtasks: bool = True,
        **_celery: Any,
    ) -> Any:
        """Return the value, or raise (or return) the exception of the run; refused in a task, as a worker would."""
        self._refuse_endless_wait(inside_task=not disable_sync_subtasks)
        if self._error is None and self.state == states.REVOKED:
            self._error = TaskRevokedError("revoked")
        if self._error is None:
            return self.result
        if propagate:
            raise self._error
        return self._error

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> Any:  # noqa: ASYNC109 - as in get()
        """Return the value, or raise (or return) the exception of the run."""
        return self.get(timeout, propagate)

    def forget(self) -> None:
        """Delete what is stored of the task, if anything is; this object keeps what it knows."""
        if self.app.store is not None:
            self.app.store.forget([self.id])
